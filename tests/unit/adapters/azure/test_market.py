"""Answers are kept for a while, failures too; presets/ stand in for prices."""

from typing import Any

import pytest

from kaito.adapters.azure.arm_reads import Unread
from kaito.adapters.azure.market import QUOTAS_AGE_S, SIZES_AGE_S, AzureMarket
from kaito.adapters.files import load_catalogue
from tests.unit.adapters.azure.arm_documents import (
    SIZE,
    DocumentArm,
    documents,
    price_reader,
    reader,
    usage,
)
from tests.unit.adapters.azure.arm_stub import NOW_S, Answer, Time, settings


def market(arm: DocumentArm, time: Time, *, live: bool = True) -> AzureMarket:
    return AzureMarket(
        settings(),
        load_catalogue(),
        arm=reader(arm),
        prices=price_reader(arm) if live else None,
        now_s=lambda: NOW_S,
        steady_s=time.now_s,
    )


def test_each_is_asked_for_once_within_its_age() -> None:
    arm, time = DocumentArm(documents()), Time()
    found = market(arm, time)
    for _ in range(3):
        found.sizes()
        found.quotas()
        found.price(SIZE)
    assert len(arm.requests) == 3
    arm.documents["/usages"] = {"value": [usage(used=99)]}
    time.now += QUOTAS_AGE_S
    (quota,) = found.quotas().values()
    assert quota.used == 99
    found.sizes()
    assert len(arm.requests) == 4
    time.now += SIZES_AGE_S
    found.sizes()
    found.price(SIZE)
    assert len(arm.requests) == 6


def test_a_failure_is_kept_as_long() -> None:
    arm, time = DocumentArm(documents()), Time()
    found = market(arm, time)
    arm.answers = [Answer(503, None)]
    for _ in range(2):
        with pytest.raises(Unread):
            found.quotas()
    assert len(arm.requests) == 1
    time.now += QUOTAS_AGE_S
    assert found.quotas()


@pytest.mark.parametrize("answer", [{"Items": []}, Answer(503, None)])
def test_prices_of_presets_where_azure_has_none(answer: Any) -> None:
    price = market(DocumentArm(documents() | {"/prices": answer}), Time()).price(SIZE)
    assert price is not None
    assert price.source == "kaito's presets"


def test_without_the_price_api_nobody_is_asked() -> None:
    arm = DocumentArm(documents())
    price = market(arm, Time(), live=False).price(SIZE)
    assert price is not None
    assert price.source == "kaito's presets"
    assert arm.requests == []
    assert market(arm, Time()).price("Standard_X1 or so") is None
