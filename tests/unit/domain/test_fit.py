from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.adapters.files import load_catalogue
from kaito.domain.candidate import Layout
from kaito.domain.engine import EngineChoice, EngineName, NoEngine, choose_engine
from kaito.domain.errors import InvalidInput
from kaito.domain.fit import DoesNotFit, FitPlan, fit_inference, what_would_fit
from kaito.domain.gpu import InstanceType
from kaito.domain.known_error import Verdict
from kaito.domain.layouts import usual_layouts
from kaito.domain.memory import budget_bytes, inference_memory
from kaito.domain.model import Attention, ModelProfile
from kaito.domain.quantity import GIB
from kaito.domain.server_request import NOTHING_ASKED, ServerRequest
from kaito.domain.tuning_fit import TuningRequest
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
    assert "is 15559 of the model's 131072 tokens" in line
    assert (
        f"{plan.max_model_len} tokens are planned, which leaves free 1.54 GiB, the known error of "
        "memory"
    ) in plan.explanation
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
        ({"tuning": TuningRequest(method=TuningMethod.QLORA)}, A10),
        ({"tuning": TuningRequest(method=TuningMethod.LORA)}, A100),
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


machines = st.sampled_from(CATALOGUE.instance_types)
models = st.sampled_from(CATALOGUE.models)


def scaled(machine: str, memory_bytes: int) -> InstanceType:
    """The machine with other GPU memory."""
    real = CATALOGUE.instance_type(machine)
    gpu = replace(real.gpu, memory_bytes=memory_bytes, reported_bytes=memory_bytes)
    return replace(real, gpu=gpu)


def fit_or_none(model: ModelProfile, machine: InstanceType) -> FitPlan | None:
    choice = choose_engine(CATALOGUE.engines, machine.gpu, model)
    try:
        return fit_inference(model, machine, choice, node_limit=1)
    except DoesNotFit:
        return None


def is_usual(plan: FitPlan, model: ModelProfile, machine: InstanceType) -> bool:
    taken = Layout(
        tensor_parallel=plan.tensor_parallel,
        pipeline_parallel=plan.pipeline_parallel,
        data_parallel=plan.data_parallel,
        nodes=plan.nodes,
    )
    return taken in usual_layouts(model, machine, plan.engine.name, plan.nodes, NOTHING_ASKED)


@settings(deadline=None)
@given(
    machine=st.sampled_from([V100, A10, TWO_A10, FOUR_T4, FOUR_A100]),
    less=st.integers(min_value=6 * GIB, max_value=64 * GIB),
    extra=st.integers(min_value=0, max_value=16 * GIB),
)
def test_more_memory_never_shortens_the_context(machine: str, less: int, extra: int) -> None:
    model = CATALOGUE.model("phi-3-mini-128k-instruct")
    small = fit_or_none(model, scaled(machine, less))
    large = fit_or_none(model, scaled(machine, less + extra))
    if small is None:
        return
    assert large is not None
    if is_usual(small, model, scaled(machine, less)):
        assert large.max_model_len >= small.max_model_len
    else:  # the usual layout is faster, and taken as soon as it holds the model
        assert large.max_model_len >= 2048


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


def test_a_context_that_is_not_whole_leaves_the_known_error_free() -> None:
    plan = fit("phi-3-mini-128k-instruct", A10)
    assert plan.verdict is Verdict.FITS
    assert 0 <= plan.headroom_bytes - plan.error.size < 16 * 400 * 1024  # a block of 16 tokens
    asked = fit("phi-3-mini-128k-instruct", A10, max_model_len=plan.max_model_len + 1000)
    assert asked.max_model_len == plan.max_model_len + 1000
    assert asked.verdict is Verdict.TIGHT


def test_a_whole_context_is_kept_though_it_is_tight() -> None:
    plan = fit("phi-4", A10, node_limit=2)
    assert plan.max_model_len == 16_384
    assert plan.verdict is Verdict.TIGHT
    assert any("tight: the whole limit leaves less free" in line for line in plan.explanation)


def test_where_nothing_leaves_the_error_free_the_least_context_is_planned() -> None:
    plan = fit("phi-4", TWO_A10)
    assert plan.max_model_len == 2048
    assert plan.verdict is Verdict.TIGHT
    assert any("even the fewest of use leave less free" in line for line in plan.explanation)


def test_no_more_sequences_run_at_once_than_vllm_is_told() -> None:
    model, machine = CATALOGUE.model("phi-3-mini-4k-instruct"), CATALOGUE.instance_type(A100)
    choice = chosen(model.name, A100)
    few = fit_inference(model, machine, choice, asked=ServerRequest(max_num_seqs=3))
    assert few.kv_cache_tokens > 3 * few.max_model_len
    assert few.max_concurrency == 3
    short = fit_inference(model, machine, choice, max_model_len=16)
    assert short.kv_cache_tokens > 256 * 16
    assert short.max_concurrency == 256  # vLLM's own limit on an A100


def test_stages_hold_what_shards_do_not() -> None:
    """Shards need room for NCCL, which stages do not."""
    plan = fit("llama-3.3-70b-instruct", "Standard_NC16_A16", node_limit=7)
    assert sizes(plan) == (1, 14, 1, 7)
    with pytest.raises(DoesNotFit):
        fit("llama-3.3-70b-instruct", "Standard_NC16_A16", node_limit=6)


@settings(deadline=None)
@given(
    model=models,
    machine=st.sampled_from([one for one in CATALOGUE.instance_types if one.gpu_count > 1]),
    memory_gib=st.integers(4, 80),
    nodes=st.integers(1, 3),
)
def test_nothing_that_a_layout_holds_is_refused(
    model: ModelProfile, machine: InstanceType, memory_gib: int, nodes: int
) -> None:
    shape = scaled(machine.name, memory_gib * GIB)
    gpu = shape.gpu
    try:
        choice = choose_engine(CATALOGUE.engines, gpu, model)
    except NoEngine:
        return
    if choice.engine.name is not EngineName.VLLM:
        return
    least = min(model.token_limit, 2048)
    budget = budget_bytes(gpu, choice.engine.name)
    held = [
        layout
        for count in range(1, nodes + 1)
        for layout in every_layout(model, shape, count)
        if inference_memory(
            model,
            gpu,
            choice.engine,
            context_tokens=least,
            tensor_parallel=layout.tensor_parallel,
            pipeline_parallel=layout.pipeline_parallel,
        ).total
        <= budget
    ]
    try:
        plan = fit_inference(model, shape, choice, node_limit=nodes)
    except DoesNotFit:
        assert not held
    else:
        assert plan.max_model_len >= least
        assert held


def every_layout(model: ModelProfile, machine: InstanceType, nodes: int) -> Iterator[Layout]:
    """Sizes that use every GPU of so many machines; shards, and replicas, stay on one."""
    gpus = nodes * machine.gpu_count
    for shards in range(1, machine.gpu_count + 1):
        for stages in range(1, min(gpus, model.layers) + 1):
            replicas, left = divmod(gpus, shards * stages)
            if left or machine.gpu_count % shards or (nodes > 1 and replicas > 1):
                continue
            if model.attention.splits_into(shards):
                yield Layout(tensor_parallel=shards, pipeline_parallel=stages, nodes=nodes)
