from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.domain.quantity import GIB, format_bytes, gib_text, parse_bytes, parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("80Gi", 80 * GIB),
        ("500m", Decimal("0.5")),
        ("1.5", Decimal("1.5")),
        ("1e3", 1000),
        ("12E", 12 * 10**18),
        ("2k", 2000),
        ("-1Ki", -1024),
        (".5Mi", 512 * 1024),
        ("0", 0),
    ],
)
def test_parses_what_the_api_server_accepts(text: str, value: Decimal | int) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "Gi", "80 Gi", "80GB", "1e", "0x10", "1.2.3", "80gi", "٨Gi"])
def test_an_unreadable_quantity_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity") as caught:
        parse_quantity(text)
    assert repr(text) in str(caught.value)


def test_bytes_round_up_and_are_never_negative() -> None:
    assert parse_bytes("7.12Gi") == 7_645_041_787  # KAITO's own rounding of this very figure
    with pytest.raises(ValueError, match="-1Gi"):
        parse_bytes("-1Gi")


@given(st.integers(min_value=0, max_value=1 << 60))
def test_formatting_keeps_every_byte(amount: int) -> None:
    assert parse_bytes(format_bytes(amount)) == amount


def test_formats_for_machines_and_for_people() -> None:
    assert format_bytes(80 * GIB) == "80Gi"
    assert format_bytes(1000) == "1000"
    assert gib_text(7_645_041_787) == "7.12 GiB"
