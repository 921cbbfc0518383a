from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.files import load_catalogue
from kaito.domain.accuracy import memory_accuracy
from kaito.domain.calibration import StartUp, fit_constants
from kaito.domain.engine_constants import MEASURED, EngineConstants
from kaito.domain.quantity import GIB
from tests.unit.domain.calibration_table import configs, points

OTHERWISE = EngineConstants(
    runtime_alone=1, runtime_tensor=2, graphs_base=3, graphs_per_layer=4, graphs_per_routing=5
)


def start_up(family: str = "A", **changes: object) -> StartUp:
    one = StartUp(
        family=family,
        release=(0, 19),
        layers=32,
        routings=0,
        tensor_parallel=1,
        pipeline_parallel=1,
    )
    return replace(one, **changes)  # type: ignore[arg-type]


def test_nothing_measured_changes_nothing() -> None:
    fitted = fit_constants([start_up()], OTHERWISE)
    assert fitted == replace(OTHERWISE, graphs_base=3, graphs_per_layer=4)


def test_every_family_has_one_vote() -> None:
    often = [start_up("A", outside_torch=0.2) for _ in range(9)]
    others = [start_up(name, outside_torch=0.4) for name in ("B", "C")]
    assert fit_constants([*often, *others], OTHERWISE).runtime_alone == round(0.4 * GIB)


def test_groups_are_told_from_single_cards_and_pipelines_from_both() -> None:
    fitted = fit_constants(
        [
            start_up(outside_torch=0.25),
            start_up(outside_torch=2.0, tensor_parallel=2),
            start_up(outside_torch=0.07, pipeline_parallel=2),
        ],
        OTHERWISE,
    )
    assert (fitted.runtime_alone, fitted.runtime_tensor) == (GIB // 4, 2 * GIB)


def test_old_releases_are_left_out() -> None:
    assert fit_constants([start_up(release=(0, 16), outside_torch=1.8)], OTHERWISE) == OTHERWISE


@given(
    base=st.floats(0.1, 1),
    slope=st.floats(0, 0.1),
    layers=st.lists(st.integers(1, 100), min_size=2, max_size=6, unique=True),
)
def test_graphs_on_a_line_give_the_line(base: float, slope: float, layers: list[int]) -> None:
    seen = [start_up(str(n), layers=n, graphs=base + slope * n) for n in layers]
    seen.append(start_up("moe", layers=10, routings=40, graphs=base + slope * 10 + 0.4))
    fitted = fit_constants(seen, OTHERWISE)
    assert fitted.graphs_base / GIB == pytest.approx(base, abs=1e-4)
    assert fitted.graphs_per_layer / GIB == pytest.approx(slope, abs=1e-4)
    assert fitted.graphs_per_routing / GIB == pytest.approx(0.01, abs=1e-3)


def test_graphs_of_one_depth_are_a_constant() -> None:
    fitted = fit_constants([start_up(graphs=0.8), start_up("B", graphs=1.0)], OTHERWISE)
    assert (fitted.graphs_base, fitted.graphs_per_layer) == (round(0.9 * GIB), 0)


def test_the_constants_in_use_are_those_that_the_table_gives() -> None:
    fitted = memory_accuracy(points(), configs(), load_catalogue().gpus).constants
    for name in EngineConstants.__slots__:
        assert getattr(MEASURED, name) == pytest.approx(getattr(fitted, name), rel=0.03), name
