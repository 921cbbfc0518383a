"""Published measurements of serving memory, and what of them can be judged."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

from kaito.domain.gpu import Gpu
from kaito.domain.hf_config import InvalidModel, profile_from_config
from kaito.domain.model import ModelProfile
from kaito.domain.quantity import GIB
from kaito.domain.vllm_defaults import release
from kaito.domain.weights import LayerWeights, WeightLayout

__all__ = ["MeasuredMemory", "SkipReason", "gpu_of", "profile_of", "skip_reason"]


class SkipReason(StrEnum):
    """Why a measurement is not judged; there are no others."""

    NOT_VLLM = "not vLLM"
    SHAPE_UNKNOWN = "shape unknown"
    NOT_MEASURED = "KV or utilisation not measured"
    OTHER_PROCESSES = "failure not caused by the inputs (other processes on the GPU)"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredMemory:
    """One start of an engine; sizes are GiB per GPU of the first rank, as logs print them.

    None is not stated. `kv_tokens` are of the whole replica. `started` is False where it failed,
    with its message in `failure`.
    """

    id: str
    model: str
    gpu: str
    engine: str = "vllm"
    version: str = ""
    gpu_total_gib: float | None = None
    gpu_free_gib: float | None = None
    tensor_parallel: int | None = 1
    pipeline_parallel: int = 1
    context_tokens: int | None = None
    utilization: Fraction | None = None
    dtype: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    started: bool = True
    failure: str = ""
    weights_gib: float | None = None
    outside_torch_gib: float | None = None
    graphs_gib: float | None = None
    kv_gib: float | None = None
    kv_tokens: int | None = None
    source: str = ""

    @property
    def old_engine(self) -> bool:
        """Whether it is vLLM's first engine (V0), which planned for fewer sequences."""
        return release(self.version) < (0, 8) or "V0" in self.version


_FREE_AT_START: Final = re.compile(r"Free memory on device \S+ \((\d+\.\d+)/(\d+\.\d+) GiB\)")
_OWN_SHARE: Final = 0.05
"""What vLLM itself takes of a card before it looks: a CUDA context and NCCL's, 0.5 to 2.1 of 79.19
GiB. More is somebody else's."""


def skip_reason(point: MeasuredMemory, profile: ModelProfile | None) -> SkipReason | None:
    """Why nothing of this point can be judged; None where something can."""
    if point.engine != "vllm":
        return SkipReason.NOT_VLLM
    free = _FREE_AT_START.search(point.failure)
    if free and 1 - float(free[1]) / float(free[2]) > _OWN_SHARE:
        return SkipReason.OTHER_PROCESSES
    if profile is None or point.tensor_parallel is None:
        return SkipReason.SHAPE_UNKNOWN
    judged = point.kv_gib is not None or point.kv_tokens is not None or not point.started
    if point.weights_gib is None and (point.utilization is None or not judged):
        return SkipReason.NOT_MEASURED
    return None


def profile_of(
    point: MeasuredMemory, configs: Mapping[str, Mapping[str, Any]]
) -> ModelProfile | None:
    """The model as this point served it, from its config alone; None where that is not known or
    cannot be read."""
    config = configs.get(point.model)
    if config is None:
        return None
    if point.quantization == "fp8" and "quantization_config" not in config:
        # --quantization fp8: linear layers become 8 bits while they load, lm_head does not.
        config = {
            **config,
            "quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic"},
        }
    try:
        profile = profile_from_config(config, name=point.model, source=point.source)
    except InvalidModel:
        return None
    if point.dtype == "float32" and profile.weights is not None:
        profile = replace(profile, dtype="float32", weights=_doubled(profile.weights))
    if point.kv_cache_dtype == "fp8":
        profile = replace(profile, kv_cache_dtype="fp8")
    return profile


def _doubled(layout: WeightLayout) -> WeightLayout:
    """The weights of a model in 16 bits, in 32."""
    return WeightLayout(
        embedding=2 * layout.embedding,
        lm_head=2 * layout.lm_head,
        layers=tuple(
            LayerWeights(
                sharded=2 * one.sharded, replicated=2 * one.replicated, experts=2 * one.experts
            )
            for one in layout.layers
        ),
        final_norm=2 * layout.final_norm,
        vision=2 * layout.vision,
        rotary=2 * layout.rotary,
    )


_CARD: Final = re.compile(r"RTX\d{4}|[A-Z]{1,2}\d{1,3}[A-Z]?(?![A-Z\d])")
_MARKED_GB: Final = re.compile(r"(\d+) ?GB")


def gpu_of(point: MeasuredMemory, gpus: Iterable[Gpu]) -> Gpu | None:
    """The card of a point, with the total that was measured; None where neither the catalogue nor
    the point tells how much memory it has."""
    text = _plain(point.gpu)
    marked = _MARKED_GB.search(text)
    size = point.gpu_total_gib or (float(marked[1]) if marked else 0.0)
    card = _CARD.search(text)
    alike = [one for one in gpus if card and _card_of(one) == card[0]]
    found = min(alike, key=lambda one: abs(one.usable_bytes / GIB - size), default=None)
    if point.gpu_total_gib is None:
        return found
    total = round(point.gpu_total_gib * GIB)
    if found is None:
        return Gpu(
            name=point.gpu,
            vendor="NVIDIA",
            memory_bytes=total,
            reported_bytes=total,
            compute_capability=None,
            memory_bandwidth_bytes_per_s=0,
            fp16_flops=0.0,
            source=point.source,
        )
    return replace(found, memory_bytes=max(total, found.memory_bytes), reported_bytes=total)


def _plain(text: str) -> str:
    return text.upper().replace("-", " ").replace("RTX ", "RTX")


def _card_of(gpu: Gpu) -> str:
    """ "H100" of "NVIDIA H100 SXM 80GB"."""
    found = _CARD.search(_plain(gpu.name))
    return found[0] if found else ""
