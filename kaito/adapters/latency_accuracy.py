"""The latency half of `kaito accuracy`: a file of measurements, or kaito's own table, judged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaito.adapters.latency_table import load_latency_table
from kaito.adapters.measured_latency import Benchmarks, read_latencies
from kaito.domain.accuracy_perf import judge, perf_report
from kaito.domain.calibrated_speed import CALIBRATED
from kaito.domain.catalogue import Catalogue

__all__ = ["latency_accuracy"]


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
