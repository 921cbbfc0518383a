"""How far predicted memory is from what was measured, with every model family judged by constants
that were fitted without it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Final

from kaito.domain.calibration import StartUp, fit_constants
from kaito.domain.engine_constants import MEASURED, EngineConstants
from kaito.domain.gpu import Gpu
from kaito.domain.kaito_v0_12 import BASE_OVERHEAD_BYTES, OVERHEAD_WEIGHT_SHARE, WEIGHT_EXPANSION
from kaito.domain.measured_memory import (
    MeasuredMemory,
    SkipReason,
    gpu_of,
    profile_of,
    skip_reason,
)
from kaito.domain.memory import (
    Rank,
    ServerSettings,
    graphs_within_budget,
    kv_cache_tokens,
    outside_budget_bytes,
    routings,
    vllm_ranks,
)
from kaito.domain.model import ModelProfile
from kaito.domain.quantity import GIB
from kaito.domain.vllm_defaults import max_num_batched_tokens, release, stage_layers

__all__ = ["Figures", "MemoryAccuracy", "Prediction", "Verdicts", "memory_accuracy"]

_CONTEXT_BYTES: Final = int(0.51 * GIB)
"""A CUDA context on a card that is otherwise free: 79.19 - 78.68 GiB in the start-up logs of
llm-d-incubation/llm-d-planner pull request 205."""
_EARLY_V1: Final = (0, 8)
_EARLY_V1_SEQS: Final = 1024
"""vLLM 0.8 planned for 1024 sequences on every card until 0.8.4 (vllm-project/vllm pull request
16158); where the patch release is not told, the higher number is taken."""
_OLD_SEQS: Final = 256
_OLD_STEP: Final = 2048
_OLD_CHUNKED_FROM: Final = 32768
"""vLLM before 0.8: steps as long as the context up to here, and chunks of `_OLD_STEP` beyond
(vllm-project/vllm v0.6 vllm/engine/arg_utils.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """GiB per GPU on the first rank, as logs print them; `kv_tokens` of the replica."""

    weights_gib: float
    kv_gib: float | None = None  # None: the share of the card that the server had is not known
    kv_tokens: int | None = None
    fits: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One point with its prediction; `baselines` are KV cache in GiB by the name of the formula."""

    point: MeasuredMemory
    family: str
    predicted: Prediction
    baselines: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Errors of one quantity in percent of what was measured; over is predicted too much.

    Median and mean are over families, each the mean of its points' absolute errors. None: nothing
    was measured.
    """

    n: int
    median_pct: float | None
    mean_pct: float | None
    worst_over_pct: float | None
    worst_over_gib: float | None
    worst_under_pct: float | None

    def as_json(self) -> dict[str, float | int | None]:
        return {
            "n": self.n,
            "median_pct": _rounded(self.median_pct),
            "mean_pct": _rounded(self.mean_pct),
            "worst_over_pct": _rounded(self.worst_over_pct),
            "worst_over_gib": _rounded(self.worst_over_gib),
            "worst_under_pct": _rounded(self.worst_under_pct),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """Starts that were foretold: a false fit was said to start and failed."""

    true_fit: int = 0
    false_fit: int = 0
    true_no_fit: int = 0
    false_no_fit: int = 0

    def as_json(self) -> dict[str, int]:
        return {
            "true_fit": self.true_fit,
            "false_fit": self.false_fit,
            "true_no_fit": self.true_no_fit,
            "false_no_fit": self.false_no_fit,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryAccuracy:
    points: tuple[Judged, ...]
    skipped: tuple[tuple[str, SkipReason], ...]
    constants: EngineConstants  # fitted on all families together

    @property
    def families(self) -> tuple[str, ...]:
        return tuple(sorted({one.family for one in self.points}))

    @property
    def weights(self) -> Figures:
        return _figures(
            (one.family, one.predicted.weights_gib, one.point.weights_gib) for one in self.points
        )

    @property
    def kv_gib(self) -> Figures:
        return _figures((one.family, one.predicted.kv_gib, one.point.kv_gib) for one in self.points)

    @property
    def kv_tokens(self) -> Figures:
        return _figures(
            ((one.family, one.predicted.kv_tokens, one.point.kv_tokens) for one in self.points),
            in_gib=False,
        )

    @property
    def baselines(self) -> dict[str, Figures]:
        """KV cache by other formulas, on the same points."""
        names = dict.fromkeys(name for one in self.points for name in one.baselines)
        return {
            name: _figures(
                (one.family, one.baselines.get(name), one.point.kv_gib) for one in self.points
            )
            for name in names
        }

    @property
    def verdicts(self) -> Verdicts:
        count: dict[tuple[bool, bool], int] = defaultdict(int)
        for one in self.points:
            if one.predicted.fits is not None:
                count[one.predicted.fits, one.point.started] += 1
        return Verdicts(
            true_fit=count[True, True],
            false_fit=count[True, False],
            true_no_fit=count[False, False],
            false_no_fit=count[False, True],
        )

    def as_json(self) -> dict[str, Any]:
        """What `kaito accuracy -o json` prints under "memory"."""
        return {
            "n": len(self.points),
            "families": len(self.families),
            "weights": self.weights.as_json(),
            "kv_gib": self.kv_gib.as_json(),
            "kv_tokens": self.kv_tokens.as_json(),
            "verdicts": self.verdicts.as_json(),
            "baselines": {name: one.as_json() for name, one in self.baselines.items()},
            "points": [_point_json(one) for one in self.points],
        }

    def skipped_json(self) -> list[dict[str, str]]:
        return [{"id": name, "reason": reason.value} for name, reason in self.skipped]


def memory_accuracy(
    points: Iterable[MeasuredMemory],
    configs: Mapping[str, Mapping[str, Any]],
    gpus: Sequence[Gpu],
) -> MemoryAccuracy:
    """Judges each point by constants that were fitted on the other families.

    `configs` are config.json contents by the points' model names; `gpus` tell how much memory a
    card has where a point does not. A family is an architecture class.
    """
    known: list[tuple[MeasuredMemory, ModelProfile, Gpu | None]] = []
    skipped: list[tuple[str, SkipReason]] = []
    for point in points:
        profile = profile_of(point, configs)
        reason = skip_reason(point, profile)
        if reason is not None or profile is None:
            skipped.append((point.id, reason or SkipReason.SHAPE_UNKNOWN))
        else:
            known.append((point, profile, gpu_of(point, gpus)))
    start_ups = [_start_up(point, profile) for point, profile, _ in known]
    without = {
        family: fit_constants((one for one in start_ups if one.family != family), MEASURED)
        for family in {one.family for one in start_ups}
    }
    return MemoryAccuracy(
        points=tuple(_judged(*one, without[one[1].architecture]) for one in known),
        skipped=tuple(skipped),
        constants=fit_constants(start_ups, MEASURED),
    )


def _start_up(point: MeasuredMemory, profile: ModelProfile) -> StartUp:
    layers = stage_layers(profile.layers, point.pipeline_parallel)[0]
    return StartUp(
        family=profile.architecture,
        release=release(point.version),
        layers=layers,
        routings=routings(profile, layers),
        tensor_parallel=point.tensor_parallel or 1,
        pipeline_parallel=point.pipeline_parallel,
        outside_torch=point.outside_torch_gib,
        graphs=point.graphs_gib,
    )


def _judged(
    point: MeasuredMemory, profile: ModelProfile, gpu: Gpu | None, constants: EngineConstants
) -> Judged:
    card = gpu or _ANY_CARD
    ranks = vllm_ranks(profile, card, point.version, _settings(point, card), constants)
    weights = ranks[0].fixed.weights
    if gpu is None or point.utilization is None:
        predicted = Prediction(weights_gib=weights / GIB)
        return Judged(point=point, family=profile.architecture, predicted=predicted, baselines={})
    within = graphs_within_budget(point.version)
    budget = int(gpu.usable_bytes * point.utilization)
    context = point.context_tokens or profile.token_limit
    rooms = [rank.kv_room(budget, graphs_within=within) for rank in ranks]
    predicted = Prediction(
        weights_gib=weights / GIB,
        kv_gib=rooms[0] / GIB,
        kv_tokens=kv_cache_tokens(ranks, budget, context, graphs_within=within),
        fits=_fits(point, profile, gpu, ranks, rooms, budget, context),
    )
    shared = weights * WEIGHT_EXPANSION * (1 + OVERHEAD_WEIGHT_SHARE)
    return Judged(
        point=point,
        family=profile.architecture,
        predicted=predicted,
        baselines={
            "kaito_v0_12": (gpu.memory_bytes * float(point.utilization) - shared) / GIB
            - BASE_OVERHEAD_BYTES / GIB,
            "weights_only": (budget - weights) / GIB,
        },
    )


def _fits(
    point: MeasuredMemory,
    profile: ModelProfile,
    gpu: Gpu,
    ranks: tuple[Rank, ...],
    rooms: list[int],
    budget: int,
    context: int,
) -> bool:
    """Whether the server starts: its cache holds one sequence of the context, and the card has
    what it takes beyond its share."""
    held = all(
        rank.cache.bytes_of(context, rank.step_tokens) <= room
        for rank, room in zip(ranks, rooms, strict=True)
    )
    free = gpu.usable_bytes - _CONTEXT_BYTES
    if point.gpu_free_gib is not None:
        free = round(point.gpu_free_gib * GIB)
    beyond = max(outside_budget_bytes(profile, gpu, point.version, rank) for rank in ranks)
    return held and budget + beyond <= free


_ANY_CARD: Final = Gpu(
    name="any card",
    vendor="any",
    memory_bytes=GIB,
    reported_bytes=GIB,
    compute_capability=None,
    memory_bandwidth_bytes_per_s=0,
    fp16_flops=0.0,
    source="stands in where only weights are judged, which no card changes",
)


def _settings(point: MeasuredMemory, gpu: Gpu) -> ServerSettings:
    sequences, step = point.max_num_seqs, point.max_num_batched_tokens
    if point.old_engine:
        context = point.context_tokens or _OLD_STEP
        chunked = context > _OLD_CHUNKED_FROM
        sequences = sequences or _OLD_SEQS
        step = step or (_OLD_STEP if chunked else max(context, _OLD_STEP))
    elif release(point.version) == _EARLY_V1:
        sequences = sequences or _EARLY_V1_SEQS
    return ServerSettings(
        tensor_parallel=point.tensor_parallel or 1,
        pipeline_parallel=point.pipeline_parallel,
        max_num_seqs=sequences,
        max_num_batched_tokens=step or max_num_batched_tokens(gpu),
    )


def _figures(
    rows: Iterable[tuple[str, float | None, float | None]], *, in_gib: bool = True
) -> Figures:
    """Of rows (family, predicted, measured); those without a measured amount are left out."""
    found = [
        (family, predicted, measured)
        for family, predicted, measured in rows
        if predicted is not None and measured is not None and measured > 0
    ]
    if not found:
        return Figures(
            n=0,
            median_pct=None,
            mean_pct=None,
            worst_over_pct=None,
            worst_over_gib=None,
            worst_under_pct=None,
        )
    errors = [(family, 100 * (ours - theirs) / theirs) for family, ours, theirs in found]
    families: dict[str, list[float]] = defaultdict(list)
    for family, error in errors:
        families[family].append(abs(error))
    votes = [fmean(one) for one in families.values()]
    over = max(ours - theirs for _, ours, theirs in found)
    return Figures(
        n=len(found),
        median_pct=median(votes),
        mean_pct=fmean(votes),
        worst_over_pct=max(0.0, *(error for _, error in errors)),
        worst_over_gib=max(0.0, over) if in_gib else None,
        worst_under_pct=max(0.0, *(-error for _, error in errors)),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _point_json(one: Judged) -> dict[str, Any]:
    point, predicted = one.point, one.predicted
    return {
        "id": point.id,
        "model": point.model,
        "family": one.family,
        "predicted": {
            "weights_gib": _rounded(predicted.weights_gib),
            "kv_gib": _rounded(predicted.kv_gib),
            "kv_tokens": predicted.kv_tokens,
            "fits": predicted.fits,
        },
        "measured": {
            "weights_gib": point.weights_gib,
            "kv_gib": point.kv_gib,
            "kv_tokens": point.kv_tokens,
            "fits": point.started,
        },
    }
