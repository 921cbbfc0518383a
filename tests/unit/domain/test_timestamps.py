import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.domain.timestamps import from_rfc3339, to_rfc3339, to_rfc3339_micro


def test_fractions_are_cut_off() -> None:
    assert to_rfc3339(1_767_225_600.9) == "2026-01-01T00:00:00Z"


def test_the_times_of_a_lease_keep_microseconds() -> None:
    assert to_rfc3339_micro(1_767_225_600.25) == "2026-01-01T00:00:00.250000Z"
    assert from_rfc3339(to_rfc3339_micro(1_767_225_600.25)) == 1_767_225_600.25


@pytest.mark.parametrize(
    "text",
    ["2026-01-01T00:00:00Z", "2026-01-01T02:00:00+02:00", "2025-12-31T23:00:00.000-01:00"],
)
def test_any_zone_is_read(text: str) -> None:
    assert from_rfc3339(text) == 1_767_225_600.0


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00", "yesterday", ""])
def test_what_is_no_timestamp(text: str) -> None:
    with pytest.raises(ValueError, match=r"time zone|isoformat"):
        from_rfc3339(text)


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=4_102_444_800))
def test_there_and_back(epoch_s: int) -> None:
    assert from_rfc3339(to_rfc3339(epoch_s)) == epoch_s
