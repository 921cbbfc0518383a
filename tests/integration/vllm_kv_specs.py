"""The KV cache that vLLM plans for some configs, as JSON; run by a Python that has vLLM.

Standard input is a list of {"name", "config", "lengths", "step_tokens"}: a config.json, tokens of a
sequence, and --max-num-batched-tokens. The answer goes to the file that is named, since vLLM logs
to standard output: {"version", "plans"}. Each model is built as vLLM's worker builds it, without
weights; its layers then say what they cache, and vLLM's own planner groups them and counts blocks.
"""

import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import vllm
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed.parallel_state import (
    destroy_model_parallel,
    init_distributed_environment,
    initialize_model_parallel,
)
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.model_loader.utils import initialize_model
from vllm.model_executor.models import registry
from vllm.platforms.cpu import CpuPlatform
from vllm.platforms.interface import Platform
from vllm.usage.usage_lib import UsageContext
from vllm.utils.torch_utils import set_default_torch_dtype
from vllm.v1.attention.backend import AttentionBackend, MultipleOf
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend
from vllm.v1.attention.backends.mla.cpu_mla import CPUMLABackend
from vllm.v1.core import kv_cache_utils
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

Json = dict[str, Any]


def main() -> None:
    # vLLM asks a process of its own about every architecture, which takes most of the time.
    registry._run_in_subprocess = lambda ask: ask()
    plan_as_on_gpus()
    plans = {case["name"]: plan(case) for case in json.load(sys.stdin)}
    answer = {"version": vllm.__version__, "plans": plans}
    Path(sys.argv[1]).write_text(json.dumps(answer), encoding="utf-8")


def plan_as_on_gpus() -> None:
    """Where vLLM's plan would follow from this machine, let it be that for GPUs.

    Kernels take blocks of any multiple of 16 tokens, as FlashAttention's do. Sparse attention gets
    the kernels of dense one, which is not what its cache hangs on.
    """
    # Such CPUs keep states in other formats, and latent attention in larger blocks.
    torch.cpu._is_amx_tile_supported = lambda: False
    torch.cpu._is_avx512_bf16_supported = lambda: False
    choose = CpuPlatform.get_attn_backend_cls.__func__

    def backend(cls: type, selected: Any, attn_selector_config: Any, num_heads: int | None) -> Any:
        return choose(cls, selected, attn_selector_config._replace(use_sparse=False), num_heads)

    CpuPlatform.get_attn_backend_cls = classmethod(backend)
    for kernels in (CPUAttentionBackend, CPUMLABackend):
        kernels.get_supported_kernel_block_sizes = staticmethod(lambda _=None: [MultipleOf(16)])
        kernels.supports_block_size = classmethod(AttentionBackend.supports_block_size.__func__)


def plan(case: Json) -> Json:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(case["config"]), encoding="utf-8")
        config = EngineArgs(
            model=folder,
            skip_tokenizer_init=True,
            load_format="dummy",
            enforce_eager=True,
            enable_prefix_caching=True,
            max_num_batched_tokens=case["step_tokens"],
            max_model_len=max(case["lengths"]),
        ).create_engine_config(UsageContext.OPENAI_API_SERVER)
        with set_current_vllm_config(config):
            init_distributed_environment(1, 0, "tcp://127.0.0.1:0", 0, "gloo")
            initialize_model_parallel()
            try:
                with set_default_torch_dtype(config.model_config.dtype), torch.device("meta"):
                    initialize_model(config)
                return planned(config, case["lengths"])
            finally:
                destroy_model_parallel()


def planned(config: VllmConfig, lengths: list[int]) -> Json:
    """What vLLM's engine plans once its worker has the model."""
    # On GPUs, vLLM schedules a step while another one runs; the CPU platform turns that off.
    config.scheduler_config.async_scheduling = True
    Platform.update_block_size_for_backend.__func__(CpuPlatform, config)
    worker = SimpleNamespace(vllm_config=config, shared_kv_cache_layers={})
    specs = GPUModelRunner.get_kv_cache_spec(worker)
    # What GPU backends prefer (vllm/v1/attention/backends/utils.py): layers one after the other.
    config.cache_config.kv_cache_layout = "LBHNC"
    groups = kv_cache_utils.get_kv_cache_groups(config, specs)
    needs = {}
    for tokens in lengths:
        config.model_config.max_model_len = tokens
        needs[tokens] = kv_cache_utils._max_memory_usage_bytes_from_groups(config, groups)
    return {
        "block_bytes": kv_cache_utils._pool_bytes_per_block(config, groups),
        "layers_of_groups": [len(group.layer_names) for group in groups],
        "bytes": needs,
    }


if __name__ == "__main__":
    main()
