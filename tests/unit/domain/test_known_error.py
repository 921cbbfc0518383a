from collections import defaultdict

from kaito.domain.accuracy import memory_accuracy
from kaito.domain.known_error import (
    WORST_OVER_GIB,
    KnownError,
    Verdict,
    known_error,
    verdict_of,
)
from kaito.domain.model import EngineName
from kaito.domain.quantity import GIB
from tests.unit.domain.builders import CATALOGUE
from tests.unit.domain.calibration_table import configs, points

LLAMA, QWEN_3, PHI_3 = "LlamaForCausalLM", "Qwen3ForCausalLM", "Phi3ForCausalLM"
WORST_GIB = max(gib for _, gib in WORST_OVER_GIB.values())


def test_the_table_is_what_the_published_start_ups_give() -> None:
    errors: dict[str, list[float]] = defaultdict(list)
    for one in memory_accuracy(points(), configs(), CATALOGUE.gpus).points:
        if one.predicted.kv_gib is not None and one.point.kv_gib:
            errors[one.family].append(one.predicted.kv_gib - one.point.kv_gib)
    assert {family: len(found) for family, found in errors.items()} == {
        family: count for family, (count, _) in WORST_OVER_GIB.items()
    }
    for family, found in errors.items():
        stated = WORST_OVER_GIB[family][1]
        assert max(0.0, *found) <= stated <= max(0.0, *found) + 0.01, family


def test_a_measured_family_has_its_own_error() -> None:
    found = known_error(LLAMA, EngineName.VLLM)
    assert found.start_ups == WORST_OVER_GIB[LLAMA][0]
    assert found.size == round(WORST_OVER_GIB[LLAMA][1] * GIB)
    assert found.multiples(3 * found.size) == 3
    assert "measured start-ups of LlamaForCausalLM" in found.source


def test_where_too_little_was_measured_the_worst_of_all_is_assumed() -> None:
    few, none = known_error(QWEN_3, EngineName.VLLM), known_error(PHI_3, EngineName.VLLM)
    other = known_error(LLAMA, EngineName.TRANSFORMERS)
    assert few.size == none.size == other.size == round(WORST_GIB * GIB)
    assert few.start_ups == none.start_ups == other.start_ups == 0
    assert PHI_3 in none.source
    assert "the transformers engine" in other.source


def test_the_verdict_follows_from_what_is_free() -> None:
    error = KnownError(size=10, start_ups=3, source="here")
    assert [verdict_of(free, error) for free in (-1, 0, 9, 10)] == [
        Verdict.DOES_NOT_FIT,
        Verdict.TIGHT,
        Verdict.TIGHT,
        Verdict.FITS,
    ]
