"""Nothing that must stay secret is left in a text, wherever it stands in it."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.azure.redaction import HIDDEN, TEXT_LIMIT_CHARS, Redactor

TOKENS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=12)
AROUND = st.text(" \n\t.,:;/'\"(){}=&?", max_size=5)


@given(st.text(), st.uuids(), AROUND, AROUND, st.booleans())
def test_every_id_of_azure(
    text: str, found: uuid.UUID, before: str, after: str, upper: bool
) -> None:
    canary = str(found).upper() if upper else str(found)
    told = Redactor(())(f"{before}{canary}{after}{text}")
    assert canary.lower() not in told.lower()


@given(TOKENS, TOKENS, TOKENS, AROUND)
def test_every_web_token(header: str, claims: str, signature: str, around: str) -> None:
    token = f"eyJ{header}.{claims}.{signature}"
    told = Redactor(())(f"{around}{token}{around} the end")
    for part in (header, claims, signature):
        assert part not in told
    assert "the end" in told


@given(st.text(min_size=4, max_size=30).map(str.strip).filter(lambda text: len(text) > 3), AROUND)
def test_every_secret_that_is_known(secret: str, around: str) -> None:
    told = Redactor([secret])(f"{around}{secret}{around}")
    assert secret not in told.replace(HIDDEN, "")


@pytest.mark.parametrize(
    "text",
    [
        "client_secret=canary~8Q",
        '{"client_secret": "canary~8Q"}',
        '{\\"access_token\\":\\"canary~8Q\\"}',
        "https://x/?a=b&sig=canary%2B8Q&c=d",
        "Authorization: Bearer canary.8Qxxxxxx",
        "password = 'canary~8Q'",
    ],
)
def test_values_of_secret_parameters(text: str) -> None:
    told = Redactor(())(text)
    assert "canary" not in told
    assert HIDDEN in told


def test_the_rest_stays_on_one_line() -> None:
    text = (
        "The VM size\nStandard_NC24ads_A100_v4 is sold out:  see https://aka.ms/x?id=7 (eastus-2)"
    )
    assert Redactor(["", "nothing"])(text) == " ".join(text.split())
    assert len(Redactor(())("long " * 1000)) == TEXT_LIMIT_CHARS
