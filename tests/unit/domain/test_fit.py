from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.adapters.files import load_catalogue
from kaito.domain.catalogue import Catalogue
from kaito.domain.engine import EngineChoice, EngineName, NoEngine, choose_engine
from kaito.domain.errors import InvalidInput
from kaito.domain.fit import DoesNotFit, FitPlan, fit_inference, fit_tuning, what_would_fit
from kaito.domain.memory import budget_bytes
from kaito.domain.model import Attention, TuningSupport
from kaito.domain.quantity import GIB
from kaito.domain.workspace import TuningMethod

CATALOGUE = load_catalogue()
V100, A10, TWO_A10 = "Standard_NC6s_v3", "Standard_NV36ads_A10_v5", "Standard_NV72ads_A10_v5"
FOUR_T4, A100, TWO_A100, FOUR_A100 = (
    "Standard_NC64as_T4_v3",
    "Standard_NC24ads_A100_v4",
    "Standard_NC48ads_A100_v4",
    "Standard_NC96ads_A100_v4",
)


def chosen(model: str, machine: str, engine: EngineName | None = None) -> EngineChoice:
    gpu = CATALOGUE.instance_type(machine).gpu
    return choose_engine(CATALOGUE.engines, gpu, CATALOGUE.model(model), engine)


def fit(
    model: str,
    machine: str,
    *,
    max_model_len: int | None = None,
    adapters: int = 0,
    node_limit: int = 1,
) -> FitPlan:
    return fit_inference(
        CATALOGUE.model(model),
        CATALOGUE.instance_type(machine),
        chosen(model, machine),
        max_model_len=max_model_len,
        adapters=adapters,
        node_limit=node_limit,
    )


def tune(model: str, machine: str, method: TuningMethod) -> FitPlan:
    return fit_tuning(
        CATALOGUE.model(model),
        CATALOGUE.instance_type(machine),
        method,
        chosen(model, machine, EngineName.TRANSFORMERS),
    )


def sizes(plan: FitPlan) -> tuple[int, int, int, int]:
    return plan.tensor_parallel, plan.pipeline_parallel, plan.data_parallel, plan.nodes


def test_the_whole_short_context_of_phi_3_mini_fits_a_v100() -> None:
    plan = fit("phi-3-mini-4k-instruct", V100)
    assert plan.max_model_len == 4096
    assert plan.engine.name is EngineName.TRANSFORMERS
    assert plan.dtype == "float16"
    assert plan.headroom_bytes > 0
    assert plan.max_concurrency == 1
    assert any("compute capability 7.0" in line for line in plan.explanation)
    assert any("whole limit of 4096 tokens" in line for line in plan.explanation)


def test_some_thousand_tokens_of_the_long_one_fit_a_v100() -> None:
    plan = fit("phi-3-mini-128k-instruct", V100)
    assert 8_000 < plan.max_model_len < 20_000
    line = next(line for line in plan.explanation if "longest context" in line)
    assert str(plan.max_model_len) in line
    assert "131072" in line
    assert any(line.startswith("assumed: CUDA context") for line in plan.explanation)


def test_phi_4_does_not_fit_a_v100_and_the_error_has_the_numbers() -> None:
    with pytest.raises(DoesNotFit) as caught:
        fit("phi-4", V100, node_limit=8)
    error = caught.value
    assert error.binds == "weights"
    assert error.requested_bytes > 27 * GIB > 15 * GIB > error.available_bytes
    assert "weights 27.31 GiB" in error.message
    assert "14.99 GiB" in error.message
    assert error.remedy in str(error)


def test_what_would_fit_names_the_cheapest_first() -> None:
    fitting = what_would_fit(
        CATALOGUE.model("phi-4"),
        CATALOGUE.instance_types,
        CATALOGUE.engines,
        cloud="azure",
        region="eastus",
    )
    names = [one.name for one in fitting]
    assert names[:2] == [A100, TWO_A10]
    assert names[-1] == "Standard_ND96isr_H200_v5"  # no known price in eastus
    assert V100 not in names
    legacy = what_would_fit(
        CATALOGUE.model("phi-4"),
        CATALOGUE.instance_types,
        CATALOGUE.engines,
        include_legacy=True,
    )
    assert {"Standard_NC12s_v3", FOUR_T4} <= {one.name for one in legacy}


@pytest.mark.parametrize(
    ("kwargs", "cheapest"),
    [
        ({"cloud": "gcp"}, None),
        ({"cloud": "aws"}, "g5.12xlarge"),  # prices are not known there, so by name
        ({"max_model_len": 16384}, A100),
        ({"tuning": TuningMethod.QLORA}, A10),
        ({"tuning": TuningMethod.LORA}, A100),
        ({"node_limit": 2}, A100),
        ({"requested": EngineName.TRANSFORMERS}, A100),
    ],
)
def test_what_would_fit_takes_the_wishes_into_account(
    kwargs: dict[str, object], cheapest: str | None
) -> None:
    fitting = what_would_fit(
        CATALOGUE.model("phi-4"),
        CATALOGUE.instance_types,
        CATALOGUE.engines,
        **kwargs,  # type: ignore[arg-type]
    )
    assert (fitting[0].name if fitting else None) == cheapest


def test_small_models_are_copied_large_ones_are_split() -> None:
    assert sizes(fit("phi-3-mini-4k-instruct", FOUR_A100)) == (1, 1, 4, 1)
    assert sizes(fit("phi-4", TWO_A10)) == (2, 1, 1, 1)
    # A copy per GPU would fit, but the longer context comes from a split.
    assert sizes(fit("phi-3-mini-128k-instruct", TWO_A10)) == (2, 1, 1, 1)
    assert sizes(fit("phi-3-mini-128k-instruct", TWO_A10, max_model_len=16384)) == (1, 1, 2, 1)


def test_heads_that_do_not_divide_leave_stages() -> None:
    plan = fit("phi-4", FOUR_T4)  # 10 KV heads do not split four ways
    assert sizes(plan) == (2, 2, 1, 1)
    assert any("do not split 4 ways" in line for line in plan.explanation)


def test_more_nodes_are_used_only_where_one_is_too_small() -> None:
    with pytest.raises(DoesNotFit):
        fit("phi-4", A10)
    plan = fit("phi-4", A10, node_limit=8)
    assert sizes(plan) == (1, 2, 1, 2)
    assert plan.max_model_len == 16384
    assert any("2 ways by layers" in line for line in plan.explanation)


def test_the_context_asked_for_is_planned_or_refused() -> None:
    plan = fit("phi-3-mini-128k-instruct", A10, max_model_len=20000)
    assert plan.max_model_len == 20000
    assert plan.kv_cache_tokens > 20000
    with pytest.raises(DoesNotFit, match="leaves room for 2") as caught:
        fit("phi-3-mini-128k-instruct", A10, max_model_len=100_000)
    assert caught.value.binds == "kv_cache"
    assert "shorter context" in caught.value.remedy


@pytest.mark.parametrize("asked", [0, 4097])
def test_a_context_that_the_model_does_not_have_is_an_input_error(asked: int) -> None:
    model, machine = CATALOGUE.model("phi-3-mini-4k-instruct"), CATALOGUE.instance_type(A100)
    with pytest.raises(InvalidInput, match=r"within 1\.\.4096"):
        fit_inference(model, machine, chosen(model.name, A100), max_model_len=asked)


def test_adapters_take_memory_from_the_cache() -> None:
    assert (
        fit("phi-3-mini-4k-instruct", A10, adapters=4).kv_cache_tokens
        < fit("phi-3-mini-4k-instruct", A10).kv_cache_tokens
    )


def test_tuning_copies_the_model_to_every_gpu() -> None:
    plan = tune("phi-4", TWO_A100, TuningMethod.LORA)
    assert sizes(plan) == (1, 1, 2, 1)
    assert plan.memory.optimizer > 0
    assert plan.headroom_bytes >= 0


def test_qlora_brings_phi_4_onto_a_v100_and_lora_does_not() -> None:
    assert tune("phi-4", V100, TuningMethod.QLORA).dtype == "float16"
    with pytest.raises(DoesNotFit) as caught:
        tune("phi-4", V100, TuningMethod.LORA)
    assert caught.value.binds == "weights"


def test_a_sequence_too_long_to_tune_binds_on_activations() -> None:
    model, machine = CATALOGUE.model("phi-4"), CATALOGUE.instance_type(V100)
    with pytest.raises(DoesNotFit) as caught:
        fit_tuning(
            model,
            machine,
            TuningMethod.QLORA,
            chosen("phi-4", V100, EngineName.TRANSFORMERS),
            sequence_tokens=16384,
        )
    assert caught.value.binds == "activations"


def test_tuning_needs_a_tunable_model_and_transformers() -> None:
    machine = CATALOGUE.instance_type(A100)
    frozen = replace(CATALOGUE.model("phi-4"), tuning=None)
    with pytest.raises(InvalidInput, match="phi-4 cannot be tuned"):
        fit_tuning(
            frozen, machine, TuningMethod.LORA, chosen("phi-4", A100, EngineName.TRANSFORMERS)
        )
    only_lora = replace(
        frozen, tuning=TuningSupport(methods=(TuningMethod.LORA,), target_modules=(), disk_bytes=0)
    )
    with pytest.raises(InvalidInput, match="cannot be tuned with qlora, but with lora"):
        fit_tuning(
            only_lora, machine, TuningMethod.QLORA, chosen("phi-4", A100, EngineName.TRANSFORMERS)
        )
    with pytest.raises(ValueError, match="tuning runs on transformers, not on vllm"):
        fit_tuning(frozen, machine, TuningMethod.LORA, chosen("phi-4", A100))


machines = st.sampled_from(CATALOGUE.instance_types)
models = st.sampled_from(CATALOGUE.models)


def scaled(catalogue: Catalogue, machine: str, memory_bytes: int) -> FitPlan | None:
    """phi-3-mini-128k on `machine` with other GPU memory; None where it does not fit."""
    real = catalogue.instance_type(machine)
    gpu = replace(real.gpu, memory_bytes=memory_bytes, reported_bytes=memory_bytes)
    model = catalogue.model("phi-3-mini-128k-instruct")
    choice = choose_engine(catalogue.engines, gpu, model)
    try:
        return fit_inference(model, replace(real, gpu=gpu), choice, node_limit=1)
    except DoesNotFit:
        return None


@settings(deadline=None)
@given(
    machine=st.sampled_from([V100, A10, TWO_A10, FOUR_T4, FOUR_A100]),
    less=st.integers(min_value=6 * GIB, max_value=64 * GIB),
    extra=st.integers(min_value=0, max_value=16 * GIB),
)
def test_more_memory_never_shortens_the_context(machine: str, less: int, extra: int) -> None:
    small, large = scaled(CATALOGUE, machine, less), scaled(CATALOGUE, machine, less + extra)
    if small is not None:
        assert large is not None
        assert large.max_model_len >= small.max_model_len


@settings(deadline=None)
@given(model=models, machine=machines, asked=st.none() | st.integers(1, 131072))
def test_a_plan_stays_within_budget_and_limit(
    model: object, machine: object, asked: int | None
) -> None:
    profile, shape = CATALOGUE.model(model.name), CATALOGUE.instance_type(machine.name)  # type: ignore[attr-defined]
    try:
        choice = choose_engine(CATALOGUE.engines, shape.gpu, profile)
        plan = fit_inference(profile, shape, choice, max_model_len=asked, node_limit=3)
    except (DoesNotFit, InvalidInput, NoEngine):
        return
    budget = budget_bytes(shape.gpu, plan.engine.name)
    assert plan.memory.total + plan.headroom_bytes == budget
    assert plan.headroom_bytes >= 0
    assert 1 <= plan.max_model_len <= profile.token_limit
    assert plan.max_model_len == (asked or plan.max_model_len)
    gpus = plan.tensor_parallel * plan.pipeline_parallel * plan.data_parallel
    assert gpus == plan.nodes * shape.gpu_count
    assert plan.max_concurrency >= 1
    again = fit_inference(profile, shape, choice, max_model_len=asked, node_limit=3)
    assert again == plan


def test_one_head_per_gpu_is_as_far_as_tensors_split() -> None:
    model = replace(
        CATALOGUE.model("phi-4"), attention=Attention(heads=3, kv_heads=3, head_dim=128)
    )
    plan = fit_inference(model, CATALOGUE.instance_type(TWO_A10), chosen("phi-4", TWO_A10))
    assert sizes(plan) == (1, 2, 1, 1)


def test_what_is_cached_of_mixed_layers_is_counted_in_whole_contexts() -> None:
    plan = fit("gpt-oss-20b", A100, max_model_len=8192)
    room = plan.headroom_bytes + plan.memory.kv_cache
    blocks = room // (12 * 16 * 2 * 8 * 64 * 2)  # of 12 layers and 16 tokens
    one = 8192 // 16 + (127 + 2048 + 15) // 16 + 1
    assert plan.kv_cache_tokens == blocks * 8192 // one
    longer = fit("gpt-oss-20b", A100, max_model_len=65536)
    assert longer.kv_cache_tokens > plan.kv_cache_tokens  # windows cost long sequences less
    assert plan.max_concurrency > longer.max_concurrency >= 1
