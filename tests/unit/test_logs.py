import json
import logging
from collections.abc import Iterator

import pytest

from kaito.logs import LogFormat, configure_logging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogFormat.JSON, verbose=False)
    logging.getLogger("kaito.operator").info("round %s", "ended", extra={"workspace": "a/b"})
    logging.getLogger("kaito.operator").debug("nobody asked")
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert told.pop("time")
    assert told == {
        "level": "INFO",
        "logger": "kaito.operator",
        "message": "round ended",
        "workspace": "a/b",
    }


def test_text_is_for_people_and_verbose_tells_more(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogFormat.TEXT, verbose=True)
    logging.getLogger("kaito.operator").debug("looking")
    assert capsys.readouterr().err.endswith(" DEBUG kaito.operator: looking\n")


def test_kopf_does_not_tell_of_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogFormat.TEXT, verbose=False)
    logging.getLogger("kopf.objects").info("Handler succeeded")
    assert capsys.readouterr().err == ""
