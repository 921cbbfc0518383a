"""Files of measured latencies, read into the domain's measurements: one reader per schema.

Readers of a file's `sets.*` (the protocols are described in docs/throughput.md):

aiconfigurator_silicon_sample_vllm_agg  closed loop of random prompts, InferenceMAX's protocol
splitwise_perf_model                    one batch of equal prompts, vLLM of 2023 without CUDA graphs
kaito_guidellm_phi4mini                 Poisson arrivals at one replica

A set of another name is read by the columns of its rows, where they are those of one of these. Rows
that nobody reads are skipped, with the reason.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from kaito.adapters.latency_table import RANDOM_MEAN, ROUNDS, STEP_TOKENS
from kaito.domain.accuracy_perf import Skipped
from kaito.domain.catalogue import Catalogue
from kaito.domain.engine import Engine
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.gpu import Gpu
from kaito.domain.hf_config import InvalidModel, profile_from_config
from kaito.domain.measured_latency import Load, Measurement
from kaito.domain.measured_memory import SkipReason
from kaito.domain.memory import inference_memory, kv_cache_bytes
from kaito.domain.model import EngineName, ModelProfile
from kaito.domain.step_time import Layout, requantized
from kaito.domain.throughput import Demand

__all__ = ["Benchmarks", "read_latencies"]

_UTILIZATION: Final = 0.9  # --gpu-memory-utilization of both protocols
_DEFAULT_STEP_TOKENS: Final = 2048
_SCHEMAS_READ: Final = "See docs/throughput.md for the schemas that are read"
_FP8_CACHE: Final = re.compile(r"llama", re.IGNORECASE)  # --kv-cache-dtype fp8 in its start scripts

_CARDS: Final[Mapping[str, tuple[str, str]]] = {
    "a10": ("NVIDIA A10", "A10"),
    "a100_sxm": ("NVIDIA A100 80GB", "A100"),
    "a100-80gb": ("NVIDIA A100 80GB", "A100"),
    "b200_sxm": ("NVIDIA B200 SXM 180GB", "B200"),
    "h100_sxm": ("NVIDIA H100 SXM 80GB", "H100"),
    "h100-80gb": ("NVIDIA H100 SXM 80GB", "H100"),
    "h100-80gb-pcap": ("NVIDIA H100 SXM 80GB", "H100 power-capped"),
    "h200_sxm": ("NVIDIA H200 SXM 141GB", "H200"),
}
"""What files call a card: the catalogue's name for it, and the name in reports. A cap on power is
not modelled."""
_A100_SXM: Final = ("a100_sxm", "a100-80gb")
_A100_SXM_BANDWIDTH: Final = 2_039_000_000_000
_A100_SXM_NVLINK: Final = 3.0e11
"""The catalogue's A100 is the PCIe card. Source: NVIDIA's data sheet of A100 80GB SXM."""

_Reader = Callable[["Benchmarks", str, Mapping[str, Any], str], Measurement]


class _Unknown(Exception):
    """A row names something that is not known."""


class Benchmarks:
    """What rows refer to: the catalogue, and config.json contents by model name. One model in one
    format is one object, so that its steps are worked out once."""

    def __init__(self, catalogue: Catalogue, configs: Mapping[str, Mapping[str, Any]]) -> None:
        self.catalogue = catalogue
        self.configs = configs
        self.model = cache(self._model)
        self.served = cache(self._served)
        self.card = cache(self._card)

    def _served(self, name: str, precision: str) -> ModelProfile:
        """`model`, in the number format that a row names. Raises: _Unknown."""
        return _in_precision(self.model(name), precision)

    def _model(self, name: str) -> ModelProfile:
        """By its own name in the configs or the catalogue, or by one that differs in publisher,
        "Meta" and "Instruct" only. Raises: _Unknown."""
        config = self.configs.get(name)
        if config is None:
            alike = [key for key in self.configs if _plain(key) == _plain(name)]
            config = self.configs[min(alike, key=len)] if alike else None
        if config is not None:
            try:
                return profile_from_config(config, name=name, source="model shapes")
            except InvalidModel as error:
                raise _Unknown(f"{name}: {error}") from error
        for one in self.catalogue.models:
            if _plain(name) in map(_plain, (one.name, one.hf_id)):
                return one
        raise _Unknown(f"no shape of {name}; give it with --models")

    def _card(self, name: str) -> tuple[Gpu, str]:
        """Raises: _Unknown."""
        known = _CARDS.get(name.lower())
        if known is None:
            raise _Unknown(f"GPU {name} is not in the catalogue")
        gpu = self.catalogue.gpu(known[0])
        if name.lower() in _A100_SXM:
            gpu = replace(
                gpu,
                memory_bandwidth_bytes_per_s=_A100_SXM_BANDWIDTH,
                nvlink_bytes_per_s=_A100_SXM_NVLINK,
            )
        return gpu, known[1]

    def cache_tokens(self, model: ModelProfile, gpu: Gpu, layout: Layout, context: float) -> float:
        """Tokens that the KV cache of one attention replica holds, in sequences of `context`."""
        memory = inference_memory(
            model, gpu, self._vllm, context_tokens=0, tensor_parallel=layout.gpus
        )
        room = max(0.0, gpu.usable_bytes * _UTILIZATION - memory.total)
        tokens = max(1, round(context))
        held = kv_cache_bytes(model, gpu, tokens, tensor_parallel=layout.tensor_parallel)
        return room / held * context

    @property
    def _vllm(self) -> Engine:
        return next(one for one in self.catalogue.engines if one.name is EngineName.VLLM)


def read_latencies(path: Path, benchmarks: Benchmarks) -> tuple[list[Measurement], list[Skipped]]:
    """The measurements of a file, without repetitions of one run, and the rows that are not used.

    Raises: InvalidInput (not readable, not JSON, no `sets`, or a row of a known schema without a
    field of it).
    """
    sets = _document(path)
    found: list[Measurement] = []
    skipped: list[Skipped] = []
    seen: set[tuple[object, ...]] = set()
    for name, content in sets.items():
        source = str(content.get("source", name))
        for index, row in enumerate(_points(name, content)):
            row_id = str(row.get("id", f"{name}[{index}]"))
            reader = _reader_of(name, row)
            if reader is None:
                reason, detail = _unread(row)
                skipped.append(Skipped(id=row_id, reason=reason, detail=detail))
                continue
            unknown = sorted(column for column in _MEASURED & row.keys() if row[column] is None)
            if unknown:
                detail = f"{', '.join(unknown)} is null"
                skipped.append(Skipped(id=row_id, reason=SkipReason.NOT_MEASURED, detail=detail))
                continue
            try:
                one = reader(benchmarks, row_id, row, source)
            except _Unknown as error:
                skipped.append(
                    Skipped(id=row_id, reason=SkipReason.SHAPE_UNKNOWN, detail=str(error))
                )
                continue
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                field = f"sets.{name}.points[{index}]"
                message = f"cannot be read: {error!r}"
                raise InvalidInput(
                    [Problem(field=field, message=message, remedy=_SCHEMAS_READ)]
                ) from error
            run = (one.model_name, one.gpu_name, one.demand, one.concurrency, one.rate)
            figures = (one.ttft_s, round(one.tpot_s, 5))
            if one.load is Load.CLOSED and (*run, *figures) in seen:
                continue  # the same run under another label
            seen.add((*run, *figures))
            found.append(one)
    return found, skipped


def _points(name: str, content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of a set. Raises: InvalidInput (no list of objects)."""
    rows = content.get("points", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        message = "must be a list of objects"
        raise InvalidInput(
            [Problem(field=f"sets.{name}.points", message=message, remedy=_SCHEMAS_READ)]
        )
    return rows


def _document(path: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise InvalidInput([Problem(field=str(path), message=message)]) from error
    except ValueError as error:
        raise InvalidInput([Problem(field=str(path), message=f"is not JSON: {error}")]) from error
    sets = document.get("sets") if isinstance(document, dict) else None
    if not isinstance(sets, dict):
        raise InvalidInput([Problem(field=str(path), message="has no sets", remedy=_SCHEMAS_READ)])
    for name, content in sets.items():
        if not isinstance(content, dict):
            message = "must be an object with points"
            raise InvalidInput(
                [Problem(field=f"sets.{name}", message=message, remedy=_SCHEMAS_READ)]
            )
    return sets


def _measurement(
    known: Benchmarks,
    row: Mapping[str, Any],
    card: str,
    model: ModelProfile,
    layout: Layout,
    demand: Demand,
    **figures: Any,
) -> Measurement:
    """What a reader found, with the room that such servers have for the KV cache."""
    gpu, gpu_name = known.card(card)
    room = known.cache_tokens(model, gpu, layout, demand.context)
    return Measurement(
        model_name=row["model"],
        model=model,
        gpu_name=gpu_name,
        gpu=gpu,
        layout=layout,
        demand=replace(demand, cache_tokens=room),
        **figures,
    )


def _silicon_sample(
    known: Benchmarks, row_id: str, row: Mapping[str, Any], source: str
) -> Measurement:
    """NVIDIA aiconfigurator's silicon_sample.csv: InferenceMAX's runs of vLLM.

    `attn_dp` above 1 are as many attention replicas on the `tp` GPUs, with experts shared out.
    """
    replicas = int(row["attn_dp"])
    layout = Layout(
        tensor_parallel=int(row["tp"]) if replicas == 1 else 1,
        pipeline_parallel=int(row["pp"]),
        data_parallel=replicas,
    )
    demand = Demand(
        input_tokens=row["isl"] * RANDOM_MEAN,
        output_tokens=max(1.0, row["osl"] * RANDOM_MEAN),
        batched_tokens=STEP_TOKENS,
    )
    return _measurement(
        known,
        row,
        row["system"],
        known.served(row["model"], row["precision"]),
        layout,
        demand,
        id=row_id,
        load=Load.CLOSED,
        concurrency=float(row["concurrency"]),
        rounds=ROUNDS,
        ttft_s=row["ttft_ms"] / 1000,
        tpot_s=row["tpot_ms"] / 1000,
        source=source,
    )


def _splitwise(known: Benchmarks, row_id: str, row: Mapping[str, Any], source: str) -> Measurement:
    """Splitwise's perf_model.csv: one batch at a time, times of the prompt and of a token."""
    return _measurement(
        known,
        row,
        row["hardware"],
        known.model(row["model"]),
        Layout(tensor_parallel=int(row["tp"]), eager=True),
        Demand(input_tokens=row["prompt"], output_tokens=row["out"]),
        id=row_id,
        load=Load.BATCH,
        concurrency=float(row["batch"]),
        ttft_s=row["prompt_ms"] / 1000,
        tpot_s=row["token_ms"] / 1000,
        source=source,
    )


def _guidellm(known: Benchmarks, row_id: str, row: Mapping[str, Any], source: str) -> Measurement:
    """guidellm's CSV of KAITO's benchmarks. Its times to the first token hold the 0.3 s of a
    port-forward, and are not judged."""
    return _measurement(
        known,
        row,
        row["gpu"],
        known.model(row["model"]),
        Layout(),
        Demand(
            input_tokens=row["isl"],
            output_tokens=row["osl"],
            batched_tokens=_DEFAULT_STEP_TOKENS,
        ),
        id=row_id,
        load=Load.OPEN,
        rate=float(str(row["load"]).removeprefix("poisson@")),
        tpot_s=row["itl_mean"] / 1000,
        source=source,
    )


_READERS: Final[Mapping[str, _Reader]] = {
    "aiconfigurator_silicon_sample_vllm_agg": _silicon_sample,
    "splitwise_perf_model": _splitwise,
    "kaito_guidellm_phi4mini": _guidellm,
}
_COLUMNS: Final[tuple[tuple[frozenset[str], _Reader], ...]] = (
    (frozenset(("system", "precision", "isl", "osl", "tp", "pp", "attn_dp")), _silicon_sample),
    (frozenset(("hardware", "tp", "prompt", "batch", "out")), _splitwise),
    (frozenset(("gpu", "load", "isl", "osl", "itl_mean")), _guidellm),
)
"""Schemas are told by what their rows are asked for, whatever the set is called."""
_MEASURED: Final = frozenset(("ttft_ms", "tpot_ms", "prompt_ms", "token_ms", "itl_mean"))


def _reader_of(name: str, row: Mapping[str, Any]) -> _Reader | None:
    alike = (reader for columns, reader in _COLUMNS if columns <= row.keys())
    return _READERS.get(name) or next(alike, None)


def _unread(row: Mapping[str, Any]) -> tuple[SkipReason, str]:
    """Why a row of a set without a reader is not used."""
    name = str(row.get("gpu", ""))
    if name.lower() not in _CARDS:
        return SkipReason.SHAPE_UNKNOWN, f"GPU {name} is not in the catalogue"
    return SkipReason.NOT_MEASURED, "its columns are those of no schema that is read"


def _in_precision(model: ModelProfile, precision: str) -> ModelProfile:
    """The model in the number format that a row names: fp8, fp4 (nvfp4, or the model's own mxfp4),
    int4 (the model's own), bf16. NVIDIA's nvfp4 checkpoints come with an fp8 cache."""
    own = model.quantization
    formats = {
        "fp8": "fp8",
        "fp4": "mxfp4" if own == "mxfp4" else "nvfp4",
        "int4": own or "int4",
        "bf16": None,
        "fp16": None,
    }
    if precision not in formats:
        raise _Unknown(f"number format {precision}")
    served = requantized(model, formats[precision])
    if formats[precision] == "nvfp4" or (precision == "fp8" and _FP8_CACHE.search(model.name)):
        served = replace(served, kv_cache_dtype="fp8")
    return served


def _plain(name: str) -> str:
    """ "llama3170b" of "meta-llama/Meta-Llama-3.1-70B-Instruct"."""
    last = name.casefold().rsplit("/", 1)[-1]
    words: Iterable[str] = re.split(r"[^a-z0-9]+", last)
    return "".join(word for word in words if word not in ("meta", "instruct", "hf"))
