"""Parallel sizes that a user chose: what vLLM can start with, and the words where it cannot."""

from hypothesis import given
from hypothesis import strategies as st

from kaito.domain.candidate import Layout
from kaito.domain.layouts import asked_layouts, layout_problems
from kaito.domain.server_request import NOTHING_ASKED, ServerRequest
from tests.unit.domain.builders import A10, CATALOGUE, FOUR_T4, MINI, TWO_A10

SIZES = st.none() | st.integers(1, 9)


def layouts(asked: ServerRequest, machine: str = FOUR_T4, nodes: int = 1) -> list[Layout]:
    model, where = CATALOGUE.model("phi-4"), CATALOGUE.instance_type(machine)
    return list(asked_layouts(model, where, asked, nodes))


def told(asked: ServerRequest, machine: str = FOUR_T4, node_limit: int = 8) -> list[str]:
    where = CATALOGUE.instance_type(machine)
    return [str(one) for one in layout_problems(CATALOGUE.model(MINI), where, asked, node_limit)]


def test_replicas_stay_on_one_machine() -> None:
    asked = ServerRequest(tensor_parallel=2)
    assert layouts(asked) == [
        Layout(tensor_parallel=2, data_parallel=2),
        Layout(tensor_parallel=2, pipeline_parallel=2),
    ]
    assert layouts(asked, nodes=2) == [Layout(tensor_parallel=2, pipeline_parallel=4, nodes=2)]
    assert layouts(ServerRequest(data_parallel=2), nodes=2) == []


def test_heads_that_do_not_split_are_not_tried() -> None:
    """phi-4 has 10 KV heads."""
    assert [one.tensor_parallel for one in layouts(ServerRequest(data_parallel=1))] == [2, 1]


def test_sizes_that_leave_gpus_idle() -> None:
    start = "inference.config[vllm.tensor-parallel-size]: tensor-parallel-size"
    both = ServerRequest(tensor_parallel=1, pipeline_parallel=1, data_parallel=1)
    assert told(both, TWO_A10) == [
        f"{start} 1 x pipeline-parallel-size 1 x data-parallel-size 1 cannot use every GPU of "
        "Standard_NV72ads_A10_v5, which has 2, or of up to 8 of them. Remove one of them: the fit "
        "lays the model out"
    ]
    pipeline = "inference.config[vllm.pipeline-parallel-size]: pipeline-parallel-size 2"
    assert told(ServerRequest(pipeline_parallel=2), A10, node_limit=1) == [
        f"{pipeline} cannot use every GPU of {A10}, which has 1. Remove it: the fit lays the model "
        "out"
    ]


def test_nothing_asked_is_no_problem() -> None:
    assert told(NOTHING_ASKED) == []


@given(st.sampled_from([A10, TWO_A10, FOUR_T4]), SIZES, SIZES, SIZES, st.integers(1, 4))
def test_a_problem_is_told_just_where_there_is_no_layout(
    machine: str, tensor: int | None, pipeline: int | None, data: int | None, limit: int
) -> None:
    asked = ServerRequest(tensor_parallel=tensor, pipeline_parallel=pipeline, data_parallel=data)
    model, where = CATALOGUE.model(MINI), CATALOGUE.instance_type(machine)
    found = [
        one for nodes in range(1, limit + 1) for one in asked_layouts(model, where, asked, nodes)
    ]
    problems = list(layout_problems(model, where, asked, limit))
    assert bool(problems) == (not found)
    for one in found:
        used = one.tensor_parallel * one.pipeline_parallel * one.data_parallel
        assert used == one.nodes * where.gpu_count
