"""What vLLM holds for some configs, as JSON; run by a Python that has vLLM.

Standard input is a list of {"name", "config", "lengths", "step_tokens", "tensor_parallel",
"pipeline_parallel", "cache_dtype"}: a config.json, tokens of a sequence, and flags. The answer goes
to the file that is named, since vLLM logs to standard output: {"version", "plans"}. Each model is
built as vLLM's worker builds it, without weights, on the first GPU of each pipeline rank; its
layers then say what they cache, and vLLM's own planner groups them and counts blocks.
"""

import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import vllm
from torch import distributed
from torch.testing._internal.distributed.fake_pg import FakeStore
from vllm.config import VllmConfig, set_current_vllm_config
from vllm.distributed.device_communicators.shm_broadcast import MessageQueue
from vllm.distributed.parallel_state import (
    destroy_distributed_environment,
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
    be_one_of_many_processes()
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


def be_one_of_many_processes() -> None:
    """Groups of processes of which only this one is there: nothing is ever sent."""
    new_group = distributed.new_group
    distributed.new_group = lambda ranks=None, **_: new_group(ranks, backend="fake")
    MessageQueue.create_from_process_group = staticmethod(lambda *_, **__: None)
    base = "vllm.distributed.device_communicators.base_device_communicator.DeviceCommunicatorBase"
    CpuPlatform.get_device_communicator_cls = classmethod(lambda _: base)


def plan(case: Json) -> Json:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(case["config"]), encoding="utf-8")
        config = EngineArgs(
            model=folder,
            skip_tokenizer_init=True,
            load_format="dummy",
            enforce_eager=True,
            enable_prefix_caching=True,
            kv_cache_dtype=case["cache_dtype"],
            max_num_batched_tokens=case["step_tokens"],
            max_model_len=max(case["lengths"]),
        ).create_engine_config(UsageContext.OPENAI_API_SERVER)
        # EngineArgs would ask for as many CPUs as there are ranks.
        parallel = config.parallel_config
        parallel.tensor_parallel_size = case["tensor_parallel"]
        parallel.pipeline_parallel_size = case["pipeline_parallel"]
        parallel.world_size = case["tensor_parallel"] * case["pipeline_parallel"]
        made = [make(config, rank) for rank in range(case["pipeline_parallel"])]
    return planned(config, case["lengths"], made)


def make(config: VllmConfig, pipeline_rank: int) -> tuple[int, Json]:
    """Bytes of the parameters of the first worker of a pipeline rank, and what its layers cache."""
    parallel = config.parallel_config
    parallel.rank = pipeline_rank * parallel.tensor_parallel_size
    config.compilation_config.static_forward_context.clear()
    with set_current_vllm_config(config):
        distributed.init_process_group(
            "fake", rank=parallel.rank, world_size=parallel.world_size, store=FakeStore()
        )
        init_distributed_environment(parallel.world_size, parallel.rank, local_rank=0)
        initialize_model_parallel(parallel.tensor_parallel_size, parallel.pipeline_parallel_size)
        try:
            with set_default_torch_dtype(config.model_config.dtype), torch.device("meta"):
                model = initialize_model(config)
            Platform.update_block_size_for_backend.__func__(CpuPlatform, config)
            worker = SimpleNamespace(vllm_config=config, shared_kv_cache_layers={})
            specs = GPUModelRunner.get_kv_cache_spec(worker)
        finally:
            destroy_model_parallel()
            destroy_distributed_environment()
    return sum(one.nbytes for one in model.parameters()), specs


def planned(config: VllmConfig, lengths: list[int], made: list[tuple[int, Json]]) -> Json:
    """What vLLM's engine plans once its workers have the model."""
    # On GPUs, vLLM schedules a step while another one runs, in a pipeline too; the CPU platform
    # turns that off, and has the older model runner.
    config.scheduler_config.async_scheduling = True
    kept = VllmConfig.use_v2_model_runner
    VllmConfig.use_v2_model_runner = property(lambda _: True)
    # What GPU backends prefer (vllm/v1/attention/backends/utils.py): layers one after the other.
    config.cache_config.kv_cache_layout = "LBHNC"
    together = {name: spec for _, specs in made for name, spec in specs.items()}
    groups = kv_cache_utils.get_kv_cache_groups(config, together)
    ranks = []
    for weights, specs in made:
        mine = kv_cache_utils._project_kv_cache_groups_to_worker(groups, specs)
        needs = {}
        for tokens in lengths:
            config.model_config.max_model_len = tokens
            needs[tokens] = kv_cache_utils._max_memory_usage_bytes_from_groups(config, mine)
        ranks.append(
            {
                "weights": weights,
                "block_bytes": kv_cache_utils._pool_bytes_per_block(config, mine),
                "bytes": needs,
            }
        )
    VllmConfig.use_v2_model_runner = kept
    return {"groups": len(groups), "ranks": ranks}


if __name__ == "__main__":
    main()
