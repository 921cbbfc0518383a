"""kaito's own table of measurements, as tests take it."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from kaito.adapters.files import default_directory
from kaito.adapters.measured_memory import load_configs, load_measured_memory
from kaito.domain.measured_memory import MeasuredMemory


@cache
def configs() -> Mapping[str, Mapping[str, Any]]:
    """The config.json contents by model name."""
    return load_configs(default_directory() / "calibration/models.yaml")


@cache
def points() -> tuple[MeasuredMemory, ...]:
    """The measured start-ups."""
    return load_measured_memory(default_directory() / "calibration/memory.yaml")
