"""What a vLLM API server takes where its command line leaves a setting out."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from kaito.domain.gpu import Gpu
from kaito.domain.quantity import GIB

DEFAULT_UTILIZATION: Final = Fraction(84, 100)
UTILIZATION: Final[Mapping[str, Fraction]] = {"NVIDIA A10": Fraction(82, 100)}
"""--gpu-memory-utilization where a GPU needs its own, by name; used here and on the command line.
Source: kaito-project/kaito@056b8280b pkg/model/interface.go (0.84, and 0.82 on A10)."""

KV_BLOCK_TOKENS: Final = 16  # vLLM's default --block-size
VLLM_LORA_RANK: Final = 16  # vLLM's default --max-lora-rank
_LARGE_CARD_BYTES: Final = 70 * GIB
_FREED_ONCE_SETTLED: Final = (0, 26)
"""First release that frees blocks outside a window only once the steps that read them are done, of
which another one runs meanwhile (vllm-project/vllm pull request 47728; issue 49878 has figures)."""
_VERSION: Final = re.compile(r"(\d+)\.(\d+)")


def gpu_memory_utilization(gpu: Gpu) -> Fraction:
    """Share of a GPU that vLLM may use: the value of --gpu-memory-utilization."""
    return UTILIZATION.get(gpu.name, DEFAULT_UTILIZATION)


def default_max_num_seqs(gpu: Gpu) -> int:
    """vLLM's default for concurrent sequences in its API server.

    Source: vllm-project/vllm vllm/engine/arg_utils.py, get_batch_defaults (1024 from 70 GiB up,
    A100 excepted).
    """
    return 1024 if _is_large(gpu) else 256


def max_num_batched_tokens(gpu: Gpu) -> int:
    """vLLM's default for tokens of one step in its API server.

    Source: vllm-project/vllm vllm/engine/arg_utils.py, get_batch_defaults (8192 from 70 GiB up,
    A100 excepted).
    """
    return 8192 if _is_large(gpu) else 2048


def in_flight_tokens(step_tokens: int, release: tuple[int, int], pipeline_parallel: int) -> int:
    """Tokens of a sequence that may be computed before blocks outside a window are freed, where a
    step has `step_tokens`.

    Source: vllm-project/vllm vllm/config/vllm.py, max_in_flight_tokens and max_concurrent_batches,
    with asynchronous scheduling as by default.
    """
    if release < _FREED_ONCE_SETTLED:
        return step_tokens
    return (pipeline_parallel + 1) * step_tokens


def _is_large(gpu: Gpu) -> bool:
    return gpu.usable_bytes >= _LARGE_CARD_BYTES and "A100" not in gpu.name.upper()


def release(version: str) -> tuple[int, int]:
    """Major and minor number of a version such as "0.19.0"; later than all where it has none."""
    found = _VERSION.search(version)
    return (int(found[1]), int(found[2])) if found else (1 << 16, 0)


def stage_layers(layers: int, stages: int) -> tuple[int, ...]:
    """Layers on each pipeline rank: what does not divide goes to the last ranks but one.

    Source: vllm-project/vllm vllm/distributed/utils.py, get_pp_indices.
    """
    share, rest = divmod(layers, stages)
    return tuple(share + (stages - 1 - rest <= rank < stages - 1) for rank in range(stages))
