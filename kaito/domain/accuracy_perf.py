"""How far predicted latency is from what was measured, with every model judged by efficiencies that
were fitted without it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Final

from kaito.domain.calibrated_speed import Calibration
from kaito.domain.measured_latency import Measurement, Prediction, Predictor
from kaito.domain.measured_memory import SkipReason
from kaito.domain.speed_calibration import calibrate
from kaito.domain.step_time import Efficiency

__all__ = ["Judged", "Skipped", "judge", "perf_report", "report_lines"]

_ROOFLINE: Final = Efficiency(
    weight_read=1.0,
    cache_read=1.0,
    expert_read=1.0,
    gemm=1.0,
    expert_gemm=1.0,
    attention=1.0,
    all_reduce_s=0.0,
    layer_s=0.0,
    expert_layer_s=0.0,
    step_s=0.0,
    sequence_s=0.0,
    request_s=0.0,
    expert_passes=0.0,
    prompt_layer_s=0.0,
    eager_layer_s=0.0,
)
"""The data sheet alone: what a planner without calibration predicts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A row that is not judged, why, and what exactly is missing."""

    id: str
    reason: SkipReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One measurement with its prediction, made without the measured model's own rows; `prior`
    where none of the rows is from such a card."""

    point: Measurement
    predicted: Prediction
    saturated: bool
    prior: bool
    roofline: Prediction


def judge(
    points: Iterable[Measurement], table: Sequence[Measurement], known: Calibration
) -> list[Judged]:
    """Predict each point with efficiencies fitted to the rows of `table` whose model has another
    shape. `known` are those fitted to all rows: they serve for models that the table lacks."""
    shapes = {one.shape for one in table}
    fitted: dict[tuple[int, int, int], Calibration] = {}
    roofline = Predictor(_ROOFLINE)
    predictors: dict[int, Predictor] = {}
    judged = []
    for point in points:
        calibration = known
        if point.shape in shapes:
            if point.shape not in fitted:
                rest = [one for one in table if one.shape != point.shape]
                fitted[point.shape] = calibrate(rest, known.common)
            calibration = fitted[point.shape]
        efficiency = calibration.efficiency(point.gpu)
        predictor = predictors.setdefault(id(efficiency), Predictor(efficiency))
        predicted = predictor.predict(point)
        judged.append(
            Judged(
                point=point,
                predicted=predicted,
                saturated=predicted.saturated or point.waited,
                prior=calibration.is_prior(point.gpu),
                roofline=roofline.predict(point),
            )
        )
    return judged


def perf_report(judged: Sequence[Judged], skipped: Sequence[Skipped]) -> dict[str, Any]:
    """The figures as `kaito accuracy -o json` prints them: "perf" and "skipped".

    Errors are percent of what was measured, over is predicted too much. Medians are over rows,
    means over models, one vote each. Saturated rows, where requests waited for room in the cache,
    count in "saturated" alone.
    """
    free = [one for one in judged if not one.saturated]
    full = [one for one in judged if one.saturated]
    gpus = sorted({one.point.gpu_name for one in free})
    return {
        "perf": {
            "n": len(free),
            "models": len({one.point.model_name for one in free}),
            "tpot": _errors(free, _tpot),
            "ttft": _errors(free, _ttft),
            "by_gpu": {
                gpu: _both([one for one in free if one.point.gpu_name == gpu]) for gpu in gpus
            },
            "saturated": _both(full),
            "baselines": {
                "roofline": {
                    "tpot": _errors(free, _roofline_tpot),
                    "ttft": _errors(free, _roofline_ttft),
                }
            },
            "noise": _noise([one.point for one in free]),
            "points": [_row(one) for one in judged],
        },
        "skipped": [
            {"id": one.id, "reason": one.reason.value, "detail": one.detail} for one in skipped
        ],
    }


_Pair = tuple[float, float | None]  # predicted, measured


def _tpot(one: Judged) -> _Pair:
    return one.predicted.latency.tpot_s, one.point.tpot_s


def _ttft(one: Judged) -> _Pair:
    return one.predicted.latency.ttft_s, one.point.ttft_s


def _roofline_tpot(one: Judged) -> _Pair:
    return one.roofline.latency.tpot_s, one.point.tpot_s


def _roofline_ttft(one: Judged) -> _Pair:
    return one.roofline.latency.ttft_s, one.point.ttft_s


def _both(judged: Sequence[Judged]) -> dict[str, Any]:
    return {
        "n": len(judged),
        "prior": any(one.prior for one in judged),
        "tpot": _errors(judged, _tpot),
        "ttft": _errors(judged, _ttft),
    }


def _errors(judged: Sequence[Judged], pair: Callable[[Judged], _Pair]) -> dict[str, float | None]:
    by_model: dict[str, list[float]] = defaultdict(list)
    for one in judged:
        predicted, measured = pair(one)
        if measured is not None:
            by_model[one.point.model_name].append(100 * (predicted / measured - 1))
    every = [error for errors in by_model.values() for error in errors]
    if not every:
        return dict.fromkeys(("median_pct", "mean_pct", "worst_over_pct", "worst_under_pct"))
    means = [fmean(abs(error) for error in errors) for errors in by_model.values()]
    return {
        "median_pct": round(median(abs(error) for error in every), 2),
        "mean_pct": round(fmean(means), 2),
        "worst_over_pct": round(max(0.0, *every), 2),
        "worst_under_pct": round(max(0.0, *(-error for error in every)), 2),
    }


def _noise(points: Sequence[Measurement]) -> dict[str, Any]:
    """How far runs of one setting are from their median: no prediction can do better."""
    runs: dict[tuple[object, ...], list[Measurement]] = defaultdict(list)
    for one in points:
        setting = (one.model_name, one.model.quantization, one.gpu_name, one.layout, one.load)
        runs[(*setting, one.demand, one.concurrency, one.rate)].append(one)
    repeated = [group for group in runs.values() if len(group) > 1]
    return {
        "settings": len(repeated),
        "tpot_median_pct": _spread([[one.tpot_s for one in group] for group in repeated]),
        "ttft_median_pct": _spread(
            [[one.ttft_s for one in group if one.ttft_s is not None] for group in repeated]
        ),
    }


def _spread(groups: Iterable[Sequence[float]]) -> float | None:
    found = [
        100 * abs(value / median(group) - 1)
        for group in groups
        if len(group) > 1
        for value in group
    ]
    return round(median(found), 2) if found else None


def _row(one: Judged) -> Mapping[str, Any]:
    return {
        "id": one.point.id,
        "model": one.point.model_name,
        "gpu": one.point.gpu_name,
        "saturated": one.saturated,
        "predicted": {
            "ttft_ms": _ms(one.predicted.latency.ttft_s),
            "tpot_ms": _ms(one.predicted.latency.tpot_s),
        },
        "measured": {"ttft_ms": _ms(one.point.ttft_s), "tpot_ms": _ms(one.point.tpot_s)},
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 3)


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """The figures of `perf_report` for people: a Markdown table, and what it leaves out."""
    perf = report["perf"]
    rows = [(gpu, found) for gpu, found in perf["by_gpu"].items()]
    rows += [("all", perf), ("saturated, not gated", perf["saturated"])]
    lines = [
        "| GPU | rows | TPOT median | mean over models | TTFT median | mean over models |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in rows:
        label = f"{name} (not measured otherwise)" if found.get("prior") else name
        cells = (found["tpot"], found["ttft"])
        shown = [_percent(cell[key]) for cell in cells for key in ("median_pct", "mean_pct")]
        lines.append(f"| {label} | {found['n']} | {' | '.join(shown)} |")
    roofline, noise = perf["baselines"]["roofline"], perf["noise"]
    lines += [
        "",
        f"Data sheet alone (roofline): TPOT {_percent(roofline['tpot']['median_pct'])}, "
        f"TTFT {_percent(roofline['ttft']['median_pct'])}.",
        f"Noise: {noise['settings']} settings were run more than once; runs are "
        f"{_percent(noise['tpot_median_pct'])} (TPOT) and {_percent(noise['ttft_median_pct'])} "
        "(TTFT) from their median.",
        f"Skipped: {len(report['skipped'])} rows.",
    ]
    return lines


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"
