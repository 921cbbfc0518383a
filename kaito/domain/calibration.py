"""The constants of vLLM's memory that no formula gives, fitted on measured start-ups.

Every family of models has one vote, so that one which was measured often does not outweigh others.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from kaito.domain.engine_constants import EngineConstants
from kaito.domain.quantity import GIB

__all__ = ["StartUp", "fit_constants"]

_FIRST_RELEASE: Final = (0, 17)
"""Older ones sample differently, and count what grew outside of torch in other ways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartUp:
    """What one rank's log said, in GiB; None is not printed. `layers` are those of the
    rank, `routings` those of them with routed experts, times the experts per token.
    """

    family: str
    release: tuple[int, int]
    layers: int
    routings: int
    tensor_parallel: int
    pipeline_parallel: int
    outside_torch: float | None = None
    graphs: float | None = None


def fit_constants(start_ups: Iterable[StartUp], otherwise: EngineConstants) -> EngineConstants:
    """The constants that these start-ups give; what none of them tells is taken from `otherwise`.

    Runtimes are medians over families. CUDA graphs are a line over the layers of dense models, by
    least squares, and for experts the median of what lies above it; only ranks that share no layer
    count, as those of a tensor-parallel group have a little less.
    """
    known = [one for one in start_ups if one.release >= _FIRST_RELEASE]

    def runtime(fallback: int, chosen: Callable[[StartUp], bool]) -> int:
        found = _by_family(
            (one.family, one.outside_torch)
            for one in known
            if chosen(one) and one.outside_torch is not None
        )
        return _bytes(median(found)) if found else fallback

    base, slope = _graph_line(known, otherwise)
    above = _by_family(
        (one.family, (one.graphs - base - slope * one.layers) / one.routings)
        for one in known
        if one.graphs is not None and one.routings and one.tensor_parallel == 1
    )
    return EngineConstants(
        runtime_alone=runtime(
            otherwise.runtime_alone,
            lambda one: one.tensor_parallel == one.pipeline_parallel == 1,
        ),
        runtime_tensor=runtime(otherwise.runtime_tensor, lambda one: one.tensor_parallel > 1),
        graphs_base=_bytes(base),
        graphs_per_layer=_bytes(slope),
        graphs_per_routing=(
            _bytes(max(0.0, median(above))) if above else otherwise.graphs_per_routing
        ),
    )


def _by_family(values: Iterable[tuple[str, float]]) -> list[float]:
    """The mean of each family."""
    families: dict[str, list[float]] = defaultdict(list)
    for family, value in values:
        families[family].append(value)
    return [fmean(one) for one in families.values()]


def _graph_line(known: list[StartUp], otherwise: EngineConstants) -> tuple[float, float]:
    """GiB for no layer and for each, through the dense models' (layers, graphs); every family
    weighs 1."""
    dense = [
        (one.family, one.layers, one.graphs)
        for one in known
        if one.graphs is not None and not one.routings and one.tensor_parallel == 1
    ]
    count: dict[str, int] = defaultdict(int)
    for family, _, _ in dense:
        count[family] += 1
    weighted = [(1 / count[family], layers, graphs) for family, layers, graphs in dense]
    total = sum(weight for weight, _, _ in weighted)
    if not total:
        return otherwise.graphs_base / GIB, otherwise.graphs_per_layer / GIB
    mean_x = sum(weight * x for weight, x, _ in weighted) / total
    mean_y = sum(weight * y for weight, _, y in weighted) / total
    spread = sum(weight * (x - mean_x) ** 2 for weight, x, _ in weighted)
    if not spread:
        return mean_y, 0.0
    slope = sum(weight * (x - mean_x) * (y - mean_y) for weight, x, y in weighted) / spread
    return mean_y - slope * mean_x, slope


def _bytes(gib: float) -> int:
    return round(gib * GIB)
