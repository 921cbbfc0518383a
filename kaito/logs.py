"""How the processes log: lines for people, or one JSON object a line for programs."""

import logging
from enum import StrEnum
from typing import Final

_FIELDS: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"
_LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# kopf tells of every event that it hands on.
_CHATTY: Final = ("kopf.objects", "kopf.activities", "kopf._core.engines.activities")


class LogFormat(StrEnum):
    TEXT = "text"
    JSON = "json"


def configure_logging(log_format: LogFormat, *, verbose: bool) -> None:
    """Log to stderr from now on. In JSON, what a record carries as `extra` is a field."""
    handler = logging.StreamHandler()
    if log_format is LogFormat.JSON:
        from pythonjsonlogger.json import JsonFormatter  # part of the `operator` extra

        names = {"asctime": "time", "levelname": "level", "name": "logger"}
        handler.setFormatter(JsonFormatter(_FIELDS, rename_fields=names))
    else:
        handler.setFormatter(logging.Formatter(_LINE))
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True
    )
    if not verbose:
        for name in _CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
