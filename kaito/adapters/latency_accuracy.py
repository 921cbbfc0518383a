"""The latency half of `kaito accuracy`: a file of measurements, or kaito's own table, judged."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaito.adapters.latency_table import load_latency_table
from kaito.adapters.measured_latency import Benchmarks, read_latencies
from kaito.domain.accuracy_perf import judge, perf_report
from kaito.domain.calibrated_speed import CALIBRATED
from kaito.domain.catalogue import Catalogue
from kaito.domain.errors import InvalidInput, Problem

__all__ = ["latency_accuracy", "read_shapes"]


def latency_accuracy(
    catalogue: Catalogue,
    *,
    measured: Path | None = None,
    shapes: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """ "perf" and "skipped" of the report. `measured` None judges kaito's own table; `shapes` are
    config.json contents by model name, for models that the catalogue lacks.

    Raises: InvalidInput (see `read_latencies`).
    """
    table = load_latency_table(catalogue)
    if measured is None:
        return perf_report(judge(table, table, CALIBRATED), [])
    points, skipped = read_latencies(measured, Benchmarks(catalogue, shapes or {}))
    return perf_report(judge(points, table, CALIBRATED), skipped)


def read_shapes(path: Path) -> dict[str, dict[str, Any]]:
    """A JSON file of config.json contents by model name. Raises: InvalidInput."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise InvalidInput([Problem(field=str(path), message=message)]) from error
    except ValueError as error:
        raise InvalidInput([Problem(field=str(path), message=f"is not JSON: {error}")]) from error
    if not isinstance(document, dict) or not all(isinstance(x, dict) for x in document.values()):
        message = "must be one object, with a config.json's content for each model name"
        raise InvalidInput([Problem(field=str(path), message=message)])
    return document
