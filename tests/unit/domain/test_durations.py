import pytest

from kaito.domain.durations import duration_text, parse_duration


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("90s", 90.0),
        ("5m", 300.0),
        ("1h30m", 5_400.0),
        ("2d", 172_800.0),
        ("1.5h", 5_400.0),
        ("1d2h3m4s", 93_784.0),
        ("90", 90.0),
        (0, 0.0),
        (2.5, 2.5),
    ],
)
def test_reads_a_length_of_time(value: object, seconds: float) -> None:
    assert parse_duration(value) == seconds


@pytest.mark.parametrize("value", ["-5m", -1, -0.5])
def test_refuses_a_negative_time(value: object) -> None:
    with pytest.raises(ValueError, match="negative"):
        parse_duration(value)


@pytest.mark.parametrize(
    "value", ["", " ", "soon", "5 minutes", "m5", "5m1h", True, None, [], "1e3"]
)
def test_refuses_what_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match="length of time"):
        parse_duration(value)


@pytest.mark.parametrize("value", ["9999d", 1e300, float("nan"), float("inf")])
def test_refuses_a_time_without_end(value: object) -> None:
    with pytest.raises(ValueError, match="ten years"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.4, "0.4s"),
        (9.96, "10s"),
        (59.6, "1m"),
        (582.3, "9m42s"),
        (5_400, "1h30m"),
        (86_400, "1d"),
    ],
)
def test_writes_a_length_of_time(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
