"""Documents of Azure are read page by page, and a token goes nowhere else."""

from typing import Any

import pytest
import requests

from kaito.adapters.azure.arm_reads import PAGE_LIMIT, Unread
from tests.unit.adapters.azure.arm_documents import ARM, PRICES, DocumentArm, price_reader, reader
from tests.unit.adapters.azure.arm_stub import CLIENT, SUBSCRIPTION, TOKEN, Answer, ArmStub, error


def items(arm: ArmStub) -> list[Any]:
    return reader(arm).items("/x", next_link="nextLink", field="value", **{"$filter": "a eq 'b'"})


@pytest.mark.parametrize("host", [ARM, f"{ARM}:443", "https://MANAGEMENT.azure.com"])
def test_all_pages(host: str) -> None:
    arm = ArmStub()
    arm.answers = [
        Answer(200, {"value": [{"a": 1}, "odd"], "nextLink": f"{host}/x?skip=1"}),
        Answer(200, {"value": [{"a": 2}], "nextLink": None}),
    ]
    assert items(arm) == [{"a": 1}, {"a": 2}]
    assert "$filter=a%20eq%20%27b%27" in str(arm.requests[0].url).replace("%24", "$")


@pytest.mark.parametrize(
    "link",
    [
        "https://elsewhere.example/x",
        "http://management.azure.com/x",
        "https://management.azure.com:8443/x",
        "https://management.azure.com:x/",
        "https://management.azure.com@elsewhere.example/x",
        "//elsewhere.example/x",
    ],
)
def test_a_token_goes_to_no_other_host(link: str) -> None:
    arm = ArmStub()
    arm.answers = [Answer(200, {"value": [], "nextLink": link})]
    with pytest.raises(Unread, match="another host"):
        items(arm)
    assert len(arm.requests) == 1


def test_pages_without_end() -> None:
    arm = DocumentArm({"/x": {"value": [], "nextLink": f"{ARM}/x"}})
    with pytest.raises(Unread, match="more than 100 pages"):
        items(arm)
    assert len(arm.requests) == PAGE_LIMIT


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(200, "<html>"), "JSON"),
        (Answer(200, []), "not a JSON object"),
        (Answer(503, error("ServiceUnavailable", "later")), "ServiceUnavailable: later"),
        (requests.ConnectionError("refused"), "no answer from Azure"),
    ],
)
def test_what_cannot_be_read(answer: Answer | Exception, said: str) -> None:
    arm = ArmStub()
    arm.answers = [answer]
    with pytest.raises(Unread, match=said) as caught:
        items(arm)
    assert not caught.value.denied
    assert len(arm.requests) == 1, "nothing is repeated"


def test_what_may_not_be_read_says_so_without_ids() -> None:
    arm = ArmStub()
    message = (
        f"The client '{CLIENT}' does not have authorization over '/subscriptions/{SUBSCRIPTION}'"
    )
    arm.answers = [Answer(403, error("AuthorizationFailed", message))]
    with pytest.raises(Unread) as caught:
        items(arm)
    assert caught.value.denied
    assert CLIENT not in str(caught.value)
    assert SUBSCRIPTION not in str(caught.value)


def test_the_price_api_gets_no_token() -> None:
    arm = DocumentArm({"/prices": {"Items": [], "NextPageLink": None}})
    price_reader(arm).items("/api/retail/prices", next_link="NextPageLink", field="Items")
    (request,) = arm.requests
    assert str(request.url).startswith(PRICES)
    assert "Authorization" not in request.headers
    assert TOKEN not in str(request.headers)
