"""How far off predictions are, kept from getting worse, and how errors are counted."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.accuracy import MemoryAccuracy, memory_accuracy
from kaito.domain.measured_memory import MeasuredMemory, SkipReason
from tests.unit.domain.calibration_table import configs, points

GPUS = load_catalogue().gpus
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
UNRECORDED = {
    "qwq-32b-bnb-4bit-unsloth-rtx5090-tp1-pp2-v0.8-50000-u0.85": "modules that stay in 16 bits",
}
"""Points whose config, as it is recorded, lacks what their weights need."""


@pytest.fixture(scope="module")
def result() -> MemoryAccuracy:
    return memory_accuracy(points(), configs(), GPUS)


def judged(*some: MeasuredMemory, known: Mapping[str, Any] | None = None) -> MemoryAccuracy:
    return memory_accuracy(some, configs() if known is None else known, GPUS)


def point(**changes: Any) -> MeasuredMemory:
    one = MeasuredMemory(
        id="one",
        model=LLAMA,
        gpu="H100-80GB",
        version="0.19.0",
        gpu_total_gib=79.19,
        context_tokens=8192,
        utilization=Fraction("0.95"),
        kv_gib=58.11,
        kv_tokens=476_000,
        weights_gib=14.99,
    )
    return replace(one, **changes)


def test_the_cache_is_within_a_percent_in_the_median(result: MemoryAccuracy) -> None:
    figures = result.kv_gib
    assert figures.n >= 44
    assert len(result.families) >= 10
    assert figures.median_pct is not None
    assert figures.mean_pct is not None
    assert figures.median_pct <= 0.25
    assert figures.mean_pct <= 1.05
    assert figures.worst_under_pct is not None
    assert figures.worst_under_pct <= 1.0


def test_too_much_is_promised_only_where_the_config_is_incomplete(result: MemoryAccuracy) -> None:
    """Above 3 % and 0.4 GiB per GPU."""
    beyond = {
        one.point.id
        for one in result.points
        if one.point.kv_gib
        and one.predicted.kv_gib is not None
        and one.predicted.kv_gib - one.point.kv_gib > max(0.4, 0.03 * one.point.kv_gib)
    }
    assert beyond == set(UNRECORDED)


def test_no_start_that_fails_is_called_a_fit(result: MemoryAccuracy) -> None:
    verdicts = result.verdicts
    started = verdicts.true_fit + verdicts.false_no_fit
    assert verdicts.false_fit == 0
    assert verdicts.true_no_fit >= 2
    assert verdicts.false_no_fit <= 0.05 * started


def test_nearly_every_point_is_judged(result: MemoryAccuracy) -> None:
    assert len(result.skipped) <= 0.1 * len(points())
    assert {reason for _, reason in result.skipped} <= set(SkipReason)


def test_it_is_nearer_than_other_formulas(result: MemoryAccuracy) -> None:
    ours = result.kv_gib.mean_pct
    assert ours is not None
    for name, figures in result.baselines.items():
        assert figures.mean_pct is not None
        assert figures.mean_pct > 4 * ours, name


def test_weights_from_the_config_alone(result: MemoryAccuracy) -> None:
    assert result.weights.median_pct is not None
    assert result.weights.median_pct <= 0.4


def test_a_family_is_judged_without_itself() -> None:
    """Its own runtime, wrong by 10 GiB, changes nothing; another family's does."""
    other = point(id="two", model="microsoft/phi-2", context_tokens=2048, kv_gib=69.0)
    plain = judged(point(), other)
    own = judged(point(outside_torch_gib=10.0), other)
    theirs = judged(point(), replace(other, outside_torch_gib=10.0))
    assert own.points[0].predicted == plain.points[0].predicted
    assert own.points[1].predicted != plain.points[1].predicted
    assert theirs.points[0].predicted != plain.points[0].predicted


def test_families_vote_once() -> None:
    many = [point(id=str(n)) for n in range(5)]
    lone = point(id="lone", model="microsoft/phi-2", kv_gib=10.0)
    figures = judged(*many, lone).kv_gib
    assert figures.n == 6
    assert figures.mean_pct == pytest.approx(figures.worst_over_pct / 2, rel=0.01)  # type: ignore[operator]
    assert figures.mean_pct == figures.median_pct


def test_points_without_a_share_are_judged_by_their_weights() -> None:
    found = judged(point(utilization=None))
    assert found.points[0].predicted.kv_gib is None
    assert found.points[0].predicted.weights_gib == pytest.approx(14.99, abs=0.01)
    assert (found.kv_gib.n, found.weights.n) == (0, 1)
    assert found.kv_gib.as_json()["median_pct"] is None
    assert found.verdicts.as_json() == dict.fromkeys(
        ("true_fit", "false_fit", "true_no_fit", "false_no_fit"), 0
    )


def test_a_card_of_unknown_size_leaves_the_weights() -> None:
    found = judged(point(gpu="some card", gpu_total_gib=None))
    assert found.points[0].predicted.kv_gib is None


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"context_tokens": None}, True),  # the model's limit
        ({"utilization": Fraction("0.28"), "context_tokens": 131072}, False),
        ({"utilization": Fraction("0.20")}, False),  # the weights alone are too much
        ({"utilization": Fraction("0.999")}, False),  # graphs find no room
        ({"gpu_free_gib": 70.0}, False),
        ({"gpu_free_gib": 78.68, "version": "0.32.0"}, True),
    ],
)
def test_what_starts(changes: dict[str, Any], fits: bool) -> None:
    assert judged(point(**changes)).points[0].predicted.fits is fits


def test_graphs_come_out_of_the_share_since_0_21() -> None:
    older, newer = (
        judged(point(version=version)).points[0].predicted.kv_gib for version in ("0.20", "0.21")
    )
    assert older is not None
    assert newer is not None
    assert 0.6 < older - newer < 1.1


@pytest.mark.parametrize(
    ("changes", "sequences"),
    [
        ({"version": "0.8.x V1", "gpu": "L40S-48GB", "gpu_total_gib": None}, 1024),
        ({"version": "0.9", "gpu": "L40S-48GB", "gpu_total_gib": None}, 256),
        ({"version": "0.6.4"}, 256),
        ({"version": "0.8.5 V0"}, 256),
        ({"version": "0.8.5 V0", "context_tokens": 50_000}, 256),
        ({"version": "0.6.4", "context_tokens": None}, 256),
    ],
)
def test_older_releases_have_other_defaults(changes: dict[str, Any], sequences: int) -> None:
    """Stating the default changes nothing."""
    left_out = judged(point(**changes)).points[0].predicted
    stated = judged(point(**changes, max_num_seqs=sequences)).points[0].predicted
    assert left_out == stated


def test_json_has_the_documented_keys() -> None:
    found = judged(point(), point(id="x", engine="sglang"))
    document = found.as_json()
    assert list(document) == [
        "n",
        "families",
        "weights",
        "kv_gib",
        "kv_tokens",
        "verdicts",
        "baselines",
        "points",
    ]
    assert set(document["kv_gib"]) == {
        "n",
        "median_pct",
        "mean_pct",
        "worst_over_pct",
        "worst_over_gib",
        "worst_under_pct",
    }
    assert document["points"][0]["id"] == "one"
    assert document["points"][0]["measured"]["kv_gib"] == 58.11
    assert found.skipped_json() == [{"id": "x", "reason": "not vLLM"}]


def test_unreadable_models_are_told_apart_from_unmeasured_ones() -> None:
    assert judged(point(), known={}).skipped == (("one", SkipReason.SHAPE_UNKNOWN),)
