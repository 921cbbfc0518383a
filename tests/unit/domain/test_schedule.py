import pytest

from kaito.domain.schedule import is_cron, is_positive_duration


@pytest.mark.parametrize(
    "text",
    ["0 2 * * 6", "*/15 0-6,22 1 jan-mar MON", "? 0 ? * 0", "59 23 31 12 6", "0 0 1-7/2 * *"],
)
def test_cron(text: str) -> None:
    assert is_cron(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@daily",
        "0 2 * *",
        "0 2 * * 6 7",
        "60 2 * * 6",
        "0 24 * * *",
        "0 0 0 * *",
        "0 0 * 13 *",
        "0 0 * * 7",
        "0 0 * * someday",
        "5-1 0 * * *",
        "*/0 0 * * *",
        "0,,1 0 * * *",
        "-1 0 * * *",
    ],
)
def test_no_cron(text: str) -> None:
    assert not is_cron(text)


@pytest.mark.parametrize("text", ["4h", "1h30m", "0.5h", "90s", "0h1ns"])
def test_durations(text: str) -> None:
    assert is_positive_duration(text)


@pytest.mark.parametrize("text", ["", "4", "h", "0h", "-4h", "4 h", "4d", "0.0h"])
def test_no_duration_above_nothing(text: str) -> None:
    assert not is_positive_duration(text)
