"""inference_config.yaml: an engine that is told what it does not know does not start."""

from typing import Any

import pytest

from kaito.domain.engine import EngineName
from kaito.domain.engine_config import check_engine_config
from kaito.domain.errors import InvalidConfig
from tests.unit.domain.builders import A100, CATALOGUE, FOUR_T4, LONG, TWO_A10

ENGINES = {engine.name: engine for engine in CATALOGUE.engines}
VLLM = ENGINES[EngineName.VLLM]


def check(config: Any, instance_type: str = A100, engine: EngineName = EngineName.VLLM) -> None:
    machine = CATALOGUE.instance_type(instance_type)
    check_engine_config(config, ENGINES[engine], CATALOGUE.model(LONG), machine, node_limit=8)


def told(config: Any, instance_type: str = A100) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        check(config, instance_type)
    return [str(problem) for problem in caught.value.problems]


def test_the_flags_of_the_engine_and_the_removed_ones_are_apart() -> None:
    assert len(VLLM.flags) > 250
    assert not VLLM.flags & VLLM.removed_flags.keys()
    for flag in (*VLLM.flags, *VLLM.removed_flags):
        assert flag == flag.lower().strip("-")
        assert "_" not in flag
    for remedy in VLLM.removed_flags.values():
        names = [word.strip(":;,") for word in remedy.split() if "-" in word.strip("-")]
        assert {name for name in names if name.islower()} <= VLLM.flags, remedy


@pytest.mark.parametrize(
    "config",
    [
        None,
        {},
        {"vllm": None},
        {"vllm": {}, "max_probe_steps": 6, "kv_cache_cpu_memory_utilization": 0.5},
        {
            "vllm": {
                "max-model-len": 16384,
                "cpu-offload-gb": 0,
                "enable-chunked-prefill": True,
                "no-enable-prefix-caching": True,
                "gpu_memory_utilization": "0.95",
                "compilation-config.pass_config.fuse_allreduce_rms": False,
                "kv-transfer-config": '{"kv_connector": "NixlConnector"}',
                "tensor-parallel-size": "1",
            }
        },
        {"vllm": {"max-model-len": "auto"}},
    ],
)
def test_what_the_engine_takes(config: Any) -> None:
    check(config)


def test_an_engine_whose_flags_are_not_known_is_not_asked() -> None:
    check({"vllm": {"swap-space": 4}, "anything": 1}, engine=EngineName.TRANSFORMERS)


def test_every_problem_is_told_at_once() -> None:
    """The settings of KAITO's examples/inference/kaito_workspace_custom_config.yaml."""
    found = told(
        {
            "max_probe_steps": 6,
            "vllm": {
                "cpu-offload-gb": 0,
                "gpu-memory-utilization": 0.95,
                "swap-space": 4,
                "max-model-len": 131072,
                "tensor-parallel-size": 2,
                "max-seq-len-to-capture": 8192,
                "num-scheduler-steps": 1,
                "enable-chunked-prefill": True,
            },
        }
    )
    gone = "vllm 0.25.1 no longer has this flag and would not start"
    assert found == [
        f"inference.config[vllm.swap-space]: {gone}. Requests that do not fit are computed again "
        "and not swapped out; remove it",
        f"inference.config[vllm.max-seq-len-to-capture]: {gone}. Graphs are captured by batch "
        "size; use max-cudagraph-capture-size",
        f"inference.config[vllm.num-scheduler-steps]: {gone}. Steps are scheduled one by one; use "
        "async-scheduling",
        "inference.config[vllm.tensor-parallel-size]: must be a whole number from 1 to 1, the GPUs "
        "of Standard_NC24ads_A100_v4, got 2. Remove it: the fit lays the model out",
    ]


def test_a_context_that_is_no_number_is_told_with_the_rest() -> None:
    found = told({"vllm": {"max_model_len": "many", "swap-space": 4, "gpu-memory-utilization": 2}})
    assert [one.partition(":")[0] for one in found] == [
        "inference.config[vllm.swap-space]",
        "inference.config[vllm.gpu-memory-utilization]",
        "inference.config[vllm.max_model_len]",
    ]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"max-num-seq": 8}, "has no such flag and would not start. Did you mean max-num-seqs"),
        ({"no-such-flag": 8}, "has no such flag"),
        ({"swap_space": 4}, "no longer has this flag"),
        ({"served-model-name": "mine"}, "is set by kaito. Remove it"),
        ({"cudagraph-capture-sizes": [1, 2]}, "must be a single value, got [1, 2]"),
        ({"gpu-memory-utilization": "most"}, "above 0 and at most 1, got 'most'"),
        ({"gpu-memory-utilization": True}, "above 0 and at most 1, got True"),
        ({"gpu-memory-utilization": None}, "above 0 and at most 1, got None"),
        ({"gpu-memory-utilization": 0}, "above 0 and at most 1, got 0"),
        ({"data-parallel-size": 0}, "a whole number from 1, got 0"),
        ({"data-parallel-size": 0.5}, "a whole number from 1, got 0.5"),
        ({"data_parallel_size": 2}, "from 1 to 1, the GPUs of Standard_NC24ads_A100_v4, got 2"),
        ({"tensor-parallel-size": "two"}, "got 'two'"),
        ({"pipeline-parallel-size": 33}, "at most 32, the layers of phi-3-mini-128k"),
        ({"pipeline-parallel-size": 9}, "pipeline-parallel-size 9 cannot use every GPU of Stand"),
        ({"max-num-seqs": 0}, "a whole number from 1, got 0"),
        ({"max-num-seqs": 4096}, "which is 2048, vLLM's default on this GPU; got 4096"),
        ({"max-num-seqs": 64, "max_num_batched_tokens": 32}, "which is 32; got 64. Lower it"),
        ({"max-num-batched-tokens": "8k"}, "a whole number from 1, got '8k'"),
        ({"max-num-batched-tokens": "9" * 5000}, "a whole number from 1, got '999"),
        ({"kv-cache-dtype": "fp9"}, "must be auto, bfloat16, float16, fp8, "),
        ({"kv-cache-dtype": None}, "or another of vLLM's formats, got None"),
        ({"block-size": 24}, "a multiple of 16 tokens, got 24"),
        ({"block-size": "no"}, "a multiple of 16 tokens, got 'no'"),
        ({"enforce-eager": "maybe"}, "must be true or false, got 'maybe'"),
        ({"no-enable-lora": 1}, "must be true or false, got 1"),
        ({"max-loras": -1}, "a whole number from 1, got -1"),
        ({"max-lora-rank": 24}, "one of 1, 8, 16, 32, 64, 128, 256, 320, 512, got 24"),
        ({"cpu-offload-gb": -1}, "a number of GiB from 0, got -1"),
        ({"cpu-offload-gb": float("inf")}, "a number of GiB from 0, got inf"),
        ({"cpu-offload-gb": 10**400}, "a number of GiB from 0, got 1000"),
        ({"cpu-offload-gb": 300}, "takes 300.00 GiB of host memory over 1 GPUs, and Standard"),
        ({"max-model-len": 131073}, "must be within 1..131072 for phi-3-mini-128k-instruct"),
    ],
)
def test_what_the_engine_would_not_start_with(flags: dict[str, Any], text: str) -> None:
    (found,) = told({"vllm": flags})
    assert text in found


def test_a_section_is_a_mapping() -> None:
    (found,) = told({"vllm": "swap-space"})
    assert found.startswith("inference.config[vllm]: must be a mapping of flags to values")


def test_flags_stand_under_the_engine() -> None:
    (found,) = told({"max_probe_step": 6})
    assert found == (
        "inference.config[max_probe_step]: unknown key. Did you mean max_probe_steps? Flags of the "
        "engine stand under vllm"
    )


@pytest.mark.parametrize(("machine", "gpus"), [(TWO_A10, 2), (FOUR_T4, 4)])
def test_a_model_is_split_over_the_gpus_that_there_are(machine: str, gpus: int) -> None:
    check({"vllm": {"tensor-parallel-size": gpus}}, machine)
    (found,) = told({"vllm": {"tensor-parallel-size": gpus + 1}}, machine)
    assert f"from 1 to {gpus}" in found
