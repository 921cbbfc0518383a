from typing import Any

import pytest

from kaito.domain.fit_offer import offer_on
from kaito.domain.fit_options import LayoutOption, layout_options
from kaito.domain.fit_request import FitRequest
from kaito.domain.known_error import Verdict
from tests.unit.domain.builders import (
    A10,
    A100,
    CATALOGUE,
    H100,
    LLAMA_70B,
    MINI,
    TWO_A10,
    V100,
)

EIGHT_A100 = "Standard_ND96asr_A100_v4"
AMD = "Standard_NG32ads_V620_v1"


def options(model: str, machine: str, **asked: Any) -> dict[str, LayoutOption]:
    profile, request = CATALOGUE.model(model), FitRequest(**asked)
    offer = offer_on(profile, CATALOGUE.instance_type(machine), CATALOGUE.engines, request)
    found = layout_options(profile, offer, CATALOGUE.engines, request)
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


def test_one_is_taken_and_the_others_say_why_not() -> None:
    found = options("phi-4", EIGHT_A100)
    assert found["TP 2 x DP 4"].reason == ""
    assert found["TP 2 x DP 4"].verdict is Verdict.FITS
    assert found["TP 2 x DP 4"].replicas == 4
    assert "it fits as well" in found["TP 2 x PP 4"].reason
    assert "40 heads and 10 KV heads do not split 8 ways" in found["TP 8"].reason
    assert found["TP 8"].headroom_bytes is None
    assert "TP 2" not in found
    assert sum(not one.reason for one in found.values()) == 1


def test_fewer_machines_that_hold_too_little_come_before_the_ones_taken() -> None:
    found = options(LLAMA_70B, H100)
    assert found["one GPU"].verdict is Verdict.DOES_NOT_FIT
    assert "not even an empty context" in found["one GPU"].reason
    assert found["PP 2 on 2 nodes"].reason == ""
    assert found["PP 2 on 2 nodes"].nodes == 2


def test_a_layout_that_holds_some_says_how_much() -> None:
    found = options("phi-4", TWO_A10, context=16_384)
    assert found["TP 2"].verdict is Verdict.DOES_NOT_FIT
    assert found["TP 2"].reason.endswith(f"it holds {found['TP 2'].longest}")
    assert 2048 < found["TP 2"].longest < 16_384
    assert (found["TP 2"].headroom_bytes or 0) < 0


def test_every_number_of_machines_is_told_where_none_is_enough() -> None:
    found = options(LLAMA_70B, A10)
    assert "PP 8 on 8 nodes" in found
    assert all(one.verdict is Verdict.DOES_NOT_FIT for one in found.values())


@pytest.mark.parametrize(("machine", "per_card"), [(A100, {"3g.40gb": 2, "7g.80gb": 1})])
def test_slices_of_a_card_hold_a_replica_each(machine: str, per_card: dict[str, int]) -> None:
    found = options(MINI, machine)
    for profile, count in per_card.items():
        one = found[f"MIG {profile}"]
        assert one.replicas == count
        assert one.verdict is Verdict.FITS
        assert "Nodes that you bring" in one.reason
    assert found["MIG 1g.10gb"].verdict is Verdict.DOES_NOT_FIT
    assert "GiB per GPU too much" in found["MIG 1g.10gb"].reason


def test_transformers_has_one_layout() -> None:
    found = options(MINI, V100)
    assert list(found) == ["one GPU"]
    assert found["one GPU"].reason == ""


def test_a_gpu_without_an_engine_has_none() -> None:
    assert options(MINI, AMD) == {}
