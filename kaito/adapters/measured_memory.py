"""Files of measured memory, and of the configs of the models in them.

Measurements are a list under `points`, in JSON or YAML; models map names to the content of a
config.json. kaito's own are in presets/calibration. Keys that nothing is computed from are not
read, so that a file may say more.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.measured_memory import MeasuredMemory
from kaito.domain.parsing import problems_of

__all__ = ["load_configs", "load_measured_memory"]


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # as for presets


def _either(ours: str, theirs: str) -> Any:
    return Field(default=None, validation_alias=AliasChoices(ours, theirs))


_Amount = Annotated[float | None, Field(ge=0)]
_Count = Annotated[int | None, Field(ge=1)]


class _Point(BaseModel):
    """One start of an engine; the second spelling of a key is that of measured-memory.json."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    model: str
    gpu: str
    engine: str = "vllm"
    version: str = ""
    note: str = ""
    source: str = ""
    gpu_total_gib: _Amount = None
    gpu_free_gib: _Amount = _either("gpu_free_gib", "gpu_free_at_start_gib")
    tensor_parallel: _Count = _either("tensor_parallel", "tp")
    pipeline_parallel: _Count = _either("pipeline_parallel", "pp")
    context_tokens: _Count = _either("context_tokens", "max_model_len")
    utilization: Annotated[float | None, Field(gt=0, le=1)] = _either(
        "utilization", "gpu_memory_utilization"
    )
    dtype: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    max_num_seqs: _Count = None
    max_num_batched_tokens: _Count = None
    outcome: Literal["ok", "failed"] = "ok"
    failure: str = ""
    weights_gib: _Amount = None
    outside_torch_gib: _Amount = _either("outside_torch_gib", "non_torch_gib")
    graphs_gib: float | None = _either("graphs_gib", "cuda_graph_actual_gib")
    kv_gib: float | None = _either("kv_gib", "kv_cache_gib")
    kv_tokens: int | None = _either("kv_tokens", "kv_cache_tokens")

    def to_domain(self) -> MeasuredMemory:
        given = {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in ("note", "outcome", "utilization", "pipeline_parallel", "version")
        }
        share = self.utilization
        return MeasuredMemory(
            **given,
            version=f"{self.version} V0" if "V0 engine" in self.note else self.version,
            pipeline_parallel=self.pipeline_parallel or 1,
            utilization=None if share is None else Fraction(str(share)),
            started=self.outcome == "ok",
        )


def load_measured_memory(path: Path) -> tuple[MeasuredMemory, ...]:
    """The points of a file. Raises: InvalidInput (it cannot be read; a value that cannot be)."""
    points = _content(path).get("points")
    if not isinstance(points, list):
        raise _refused(path, "points", "must be a list of measurements")
    return tuple(_point(path, index, values) for index, values in enumerate(points))


def load_configs(path: Path) -> dict[str, Mapping[str, Any]]:
    """config.json contents by model name, at the top of the file or under `models`.

    Raises: InvalidInput (as above).
    """
    content = _content(path)
    content = content.get("models", content)
    if not isinstance(content, dict):
        raise _refused(path, "models", "must map names to the content of a config.json")
    for name, config in content.items():
        if not isinstance(config, dict):
            raise _refused(path, str(name), "must be the content of a config.json")
    return dict(content)


def _point(path: Path, index: int, values: Any) -> MeasuredMemory:
    if isinstance(values, dict):  # null is not stated, as is a key that is missing
        values = {key: value for key, value in values.items() if value is not None}
    try:
        return _Point.model_validate(values).to_domain()
    except ValidationError as error:
        problems = problems_of(error, _Point)
        where = f"{path}: points[{index}]"
        raise InvalidInput(
            [replace(one, field=f"{where}.{one.field}") for one in problems]
        ) from error


def _content(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else yaml.load(text, _Loader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _refused(path, "the file", f"cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise _refused(path, "the file", "must be a mapping")
    return content


def _refused(path: Path, field: str, message: str) -> InvalidInput:
    remedy = "See docs/accuracy.md for what it holds"
    return InvalidInput([Problem(field=f"{path}: {field}", message=message, remedy=remedy)])
