"""presets/calibration/latency.yaml: the measurements that the model of throughput is fitted to."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kaito.adapters.files import default_directory
from kaito.domain.catalogue import Catalogue, UnknownName
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.gpu import Gpu
from kaito.domain.measured_latency import Load, Measurement
from kaito.domain.model import ModelProfile
from kaito.domain.parsing import problems_of
from kaito.domain.step_time import Layout, requantized
from kaito.domain.throughput import Demand

__all__ = ["RANDOM_MEAN", "ROUNDS", "STEP_TOKENS", "load_latency_table"]

RANDOM_MEAN: Final = 0.9
"""InferenceMAX draws lengths evenly between 0.8 and 1 times the ones it names
(--random-range-ratio 0.8)."""
ROUNDS: Final = 10.0  # its --num-prompts is ten times --max-concurrency
STEP_TOKENS: Final = 8192  # its --max-num-batched-tokens
"""Source: SemiAnalysisAI/InferenceX benchmarks/70b_fp8_h100_slurm.sh."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Count = Annotated[int, Field(gt=0)]
_Milliseconds = Annotated[float, Field(gt=0)]
_Row = tuple[_Count, _Count, _Count, _Count, _Count, _Milliseconds, _Milliseconds]


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[str, Field(min_length=1)]
    protocol: Load
    gpu: str
    memory_bandwidth_bytes_per_s: _Count | None = None
    nvlink_bytes_per_s: Annotated[float | None, Field(gt=0)] = None
    measured: Annotated[str, Field(description="What the source calls the model.")]
    model: str
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    rows: Annotated[tuple[_Row, ...], Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[str, Field(min_length=1)]
    blocks: Annotated[tuple[_Block, ...], Field(min_length=1)]


def load_latency_table(catalogue: Catalogue, path: Path | None = None) -> list[Measurement]:
    """The rows of `path` (None: what kaito was installed with).

    Raises: InvalidInput (a file that is not readable or not of this form, an unknown model, GPU or
    number format).
    """
    file = path or default_directory() / "calibration" / "latency.yaml"
    try:
        table = _Table.model_validate(yaml.load(file.read_bytes(), Loader=_Loader))
        return [row for block in table.blocks for row in _measurements(block, catalogue)]
    except ValidationError as error:
        raise InvalidInput(problems_of(error, _Table)) from error
    except (OSError, yaml.YAMLError, UnknownName, ValueError) as error:
        raise InvalidInput(
            [Problem(field=str(file), message=f"cannot be read: {error}")]
        ) from error


def _measurements(block: _Block, catalogue: Catalogue) -> Iterator[Measurement]:
    gpu, model = _gpu(block, catalogue), _model(block, catalogue)
    closed = block.protocol is Load.CLOSED
    share = RANDOM_MEAN if closed else 1.0
    for index, row in enumerate(block.rows):
        tensor, replicas, inputs, outputs, requests, first_ms, token_ms = row
        yield Measurement(
            id=f"{block.measured} on {block.gpu} {index}",
            model_name=block.measured,
            model=model,
            gpu_name=block.gpu,
            gpu=gpu,
            layout=Layout(tensor_parallel=tensor, data_parallel=replicas, eager=not closed),
            load=block.protocol,
            demand=Demand(
                input_tokens=inputs * share,
                output_tokens=outputs * share,
                batched_tokens=STEP_TOKENS,
            ),
            concurrency=float(requests),
            rounds=ROUNDS if closed else None,
            ttft_s=first_ms / 1000,
            tpot_s=token_ms / 1000,
            source=block.source,
        )


def _gpu(block: _Block, catalogue: Catalogue) -> Gpu:
    gpu = catalogue.gpu(block.gpu)
    return replace(
        gpu,
        memory_bandwidth_bytes_per_s=block.memory_bandwidth_bytes_per_s
        or gpu.memory_bandwidth_bytes_per_s,
        nvlink_bytes_per_s=block.nvlink_bytes_per_s or gpu.nvlink_bytes_per_s,
    )


def _model(block: _Block, catalogue: Catalogue) -> ModelProfile:
    served = requantized(catalogue.model(block.model), block.quantization)
    return replace(served, kv_cache_dtype=block.kv_cache_dtype)
