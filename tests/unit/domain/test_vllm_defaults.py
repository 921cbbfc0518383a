import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.domain.vllm_defaults import in_flight_tokens, release, stage_layers


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.19.0", (0, 19)),
        ("0.9/0.10 (2025-07-22)", (0, 9)),
        ("0.8.5.dev169 V0", (0, 8)),
        ("v1.0", (1, 0)),
    ],
)
def test_the_release_of_a_version(version: str, expected: tuple[int, int]) -> None:
    assert release(version) == expected


def test_a_version_without_a_number_is_the_newest() -> None:
    assert release("") == release("main") > (999, 0)


@pytest.mark.parametrize(
    ("version", "stages", "expected"),
    [("0.25.1", 1, 8192), ("0.25.1", 4, 8192), ("0.26.0", 1, 16384), ("0.32.0", 4, 40960)],
)
def test_tokens_whose_blocks_are_not_free_yet(version: str, stages: int, expected: int) -> None:
    assert in_flight_tokens(8192, release(version), stages) == expected


@pytest.mark.parametrize(
    ("layers", "stages", "expected"),
    [  # vllm-project/vllm tests/distributed/test_pipeline_partition.py
        (5, 3, (2, 2, 1)),
        (4, 3, (1, 2, 1)),
        (6, 4, (1, 2, 2, 1)),
        (7, 4, (2, 2, 2, 1)),
        (8, 2, (4, 4)),
    ],
)
def test_pipeline_ranks_get_layers_as_in_vllm(
    layers: int, stages: int, expected: tuple[int, ...]
) -> None:
    assert stage_layers(layers, stages) == expected


@given(layers=st.integers(1, 200), stages=st.integers(1, 64))
def test_every_layer_is_on_one_rank_and_ranks_differ_by_one(layers: int, stages: int) -> None:
    held = stage_layers(layers, stages)
    assert (len(held), sum(held)) == (stages, layers)
    assert max(held) - min(held) <= 1
    assert held[-1] == min(held)
