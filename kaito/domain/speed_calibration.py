"""Efficiencies from measurements: few constants, robust least squares, each drawn to a prior.

First one set for all GPUs, then for each compute capability with measurements a set that is drawn
to the common one. Every (model, GPU) pair counts the same, however many rows it has.
docs/throughput.md has the objective.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields
from math import exp, log, sqrt
from typing import Final

from kaito.domain.calibrated_speed import Calibration
from kaito.domain.measured_latency import Measurement, Predictor
from kaito.domain.step_time import Efficiency

__all__ = ["calibrate"]

_NAMES: Final = tuple(one.name for one in fields(Efficiency))
_PAIR_ROWS: Final = 50.0  # what the rows of one (model, GPU) count as together
_TTFT_WEIGHT: Final = 0.5  # a first token is noisier: its runs differ by twice as much
_COMMON_PULL: Final = 1.0
_CAPABILITY_PULL: Final = 2.0
_OUTLIER: Final = 0.3  # residuals (of logarithms) beyond this count in proportion, not squared
_ROUNDS: Final = 12
_DIFFERENCE: Final = 1e-3
_ENOUGH: Final = 1e-3  # a round that lowers the objective by a smaller share is the last
_DAMPING: Final = 1e-3
_TINY: Final = 1e-12

_Vector = list[float]


def calibrate(points: Sequence[Measurement], start: Efficiency | None = None) -> Calibration:
    """Fit efficiencies to measurements in which nothing waited for room.

    `start` is where the search begins (a good guess saves time, and changes nothing else).
    """
    assert points, "nothing to calibrate with"
    prior = Efficiency()
    common = _fit(points, prior, start or prior, _COMMON_PULL)
    groups: dict[tuple[int, int], list[Measurement]] = {}
    for one in points:
        if one.gpu.compute_capability is not None:
            groups.setdefault(one.gpu.compute_capability, []).append(one)
    return Calibration(
        common=common,
        by_capability={
            capability: _fit(group, common, common, _CAPABILITY_PULL)
            for capability, group in sorted(groups.items())
        },
    )


def _fit(
    points: Sequence[Measurement], prior: Efficiency, start: Efficiency, pull: float
) -> Efficiency:
    """Gauss and Newton's method, slightly damped, on the logarithms of the efficiencies.

    The objective: weighted squared logarithms of predicted over measured, outliers in proportion,
    plus `pull` squared times the squared logarithms of efficiency over prior.
    """
    rows = Counter((one.model_name, one.gpu_name) for one in points)
    weights = [sqrt(_PAIR_ROWS / rows[one.model_name, one.gpu_name]) for one in points]

    def residuals(logs: _Vector) -> _Vector:
        predictor = Predictor(_scaled(prior, logs))
        found: _Vector = []
        for one, weight in zip(points, weights, strict=True):
            latency = predictor.predict(one).latency
            first = one.ttft_s or latency.ttft_s  # what was not measured pulls nowhere
            found.append(log(latency.ttft_s / first) * weight * _TTFT_WEIGHT)
            found.append(log(latency.tpot_s / one.tpot_s) * weight)
        return found + [pull * one for one in logs]

    logs = [log(getattr(start, name) / getattr(prior, name)) for name in _NAMES]
    best = residuals(logs), logs
    gained, rounds = 1.0, 0
    while gained > _ENOUGH and rounds < _ROUNDS:
        now, logs = best
        step = _solve(*_normal_equations(residuals, logs, now))
        tried = [a + max(-1.0, min(1.0, b)) for a, b in zip(logs, step, strict=True)]
        best = min(best, (residuals(tried), tried), key=lambda pair: _objective(pair[0]))
        gained = 1 - _objective(best[0]) / max(_objective(now), _TINY)
        rounds += 1
    return _scaled(prior, best[1])


def _scaled(prior: Efficiency, logs: _Vector) -> Efficiency:
    return Efficiency(
        **{name: getattr(prior, name) * exp(x) for name, x in zip(_NAMES, logs, strict=True)}
    )


def _objective(residuals: _Vector) -> float:
    """Huber's loss."""
    return sum(
        x * x if abs(x) < _OUTLIER else 2 * _OUTLIER * abs(x) - _OUTLIER**2 for x in residuals
    )


def _normal_equations(
    residuals: Callable[[_Vector], _Vector], logs: _Vector, now: _Vector
) -> tuple[list[_Vector], _Vector]:
    """J'WJ, its diagonal a little enlarged, and -J'Wr; the Jacobian J is taken from differences."""
    columns: list[_Vector] = []
    for index in range(len(logs)):
        moved = list(logs)
        moved[index] += _DIFFERENCE
        columns.append([(b - a) / _DIFFERENCE for a, b in zip(now, residuals(moved), strict=True)])
    weight = [1.0 if abs(x) < _OUTLIER else _OUTLIER / abs(x) for x in now]
    weighted = [[w * x for w, x in zip(weight, column, strict=True)] for column in columns]
    matrix = [[_dot(a, b) for b in columns] for a in weighted]
    for index, row in enumerate(matrix):
        row[index] *= 1 + _DAMPING
    return matrix, [-_dot(a, now) for a in weighted]


def _dot(a: _Vector, b: _Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _solve(matrix: list[_Vector], vector: _Vector) -> _Vector:
    """Gauss's elimination; the matrix is symmetric and positive definite, so no pivot is sought."""
    rows = [[*row, x] for row, x in zip(matrix, vector, strict=True)]
    size = len(rows)
    for i, pivot in enumerate(rows):
        for row in rows[i + 1 :]:
            factor = row[i] / pivot[i]
            for j in range(i, size + 1):
                row[j] -= factor * pivot[j]
    found = [0.0] * size
    for i in reversed(range(size)):
        known = sum(rows[i][j] * found[j] for j in range(i + 1, size))
        found[i] = (rows[i][size] - known) / rows[i][i]
    return found
