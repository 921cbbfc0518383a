"""presets/ and models of one's own: data files, read into the domain's catalogue.

Folder            one file is           key that other files refer to
models/           one model             name
gpus/             one GPU               name
instance_types/   one cloud's machines  gpu: the name of a GPU
engines/          one engine image      name and version

Every file says where its figures come from (`source`). Unknown keys are errors. A model is added
by adding a file, to presets/models/ or to a folder that is named when kaito starts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from kaito.domain.catalogue import Catalogue
from kaito.domain.engine import Engine, EngineName
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.gpu import Gpu, InstanceType, Price
from kaito.domain.model import (
    Attention,
    Experts,
    Indexer,
    LocalAttention,
    ModelProfile,
    RecurrentLayers,
    TuningSupport,
)
from kaito.domain.names import did_you_mean
from kaito.domain.parsing import problems_of
from kaito.domain.quantity import parse_bytes
from kaito.domain.tuning_method import TuningMethod

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times faster


_MODEL_NAME: Final = r"^[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?$"  # it is a pod's label, too
_HF_ID: Final = r"^[\w.-]+/[\w.-]+$"


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('must be a quantity in quotes, such as "80Gi"')
    return parse_bytes(value)


Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]
Capability = tuple[int, int]
Source = Annotated[str, Field(min_length=1, description="Where the figures come from.")]
Positive = Annotated[int, Field(gt=0)]


class _Entry(BaseModel):
    # Deferred: parts are built with the whole that is read, not once more by themselves.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class _AttentionEntry(_Entry):
    heads: Positive
    kv_heads: Positive
    head_dim: Positive
    sliding_window: Positive | None = None
    kv_lora_rank: Positive | None = None
    qk_rope_head_dim: Positive | None = None
    q_lora_rank: Positive | None = None
    v_head_dim: Positive | None = None


class _LocalAttentionEntry(_Entry):
    layers: Positive
    window: Positive
    kv_heads: Annotated[
        Positive | None, Field(description="Where they are not those of the other layers.")
    ] = None
    head_dim: Positive | None = None

    def to_domain(self, attention: Attention) -> LocalAttention:
        shape = replace(
            attention,
            kv_heads=self.kv_heads or attention.kv_heads,
            head_dim=self.head_dim or attention.head_dim,
        )
        return LocalAttention(layers=self.layers, window=self.window, attention=shape)


class _RecurrentEntry(_Entry):
    layers: Positive
    state: Annotated[Bytes, Field(description="Of one layer and sequence.")]


class _IndexerEntry(_Entry):
    layers: Positive
    head_dim: Positive


class _ExpertsEntry(_Entry):
    layers: Positive
    count: Positive
    per_token: Positive
    intermediate_size: Positive
    input_size: Positive | None = None
    gated: bool = True


class _TuningEntry(_Entry):
    methods: Annotated[tuple[TuningMethod, ...], Field(min_length=1)]
    target_modules: Annotated[tuple[str, ...], Field(min_length=1)]
    disk: Bytes

    def to_domain(self) -> TuningSupport:
        return TuningSupport(
            methods=self.methods, target_modules=self.target_modules, disk_bytes=self.disk
        )


class _ModelEntry(_Entry):
    source: Source
    name: Annotated[str, Field(pattern=_MODEL_NAME, max_length=63)]
    hf_id: Annotated[str, Field(pattern=_HF_ID)]
    revision: str | None = None
    license: str
    architecture: str
    layers: Positive
    hidden_size: Positive
    intermediate_size: Positive
    attention: _AttentionEntry
    vocab_size: Positive
    tied_embeddings: bool
    token_limit: Positive
    weights: Bytes
    dtype: str
    quantization: str | None = None
    local_attention: _LocalAttentionEntry | None = None
    recurrent: _RecurrentEntry | None = None
    cacheless_layers: Annotated[int, Field(ge=0)] = 0
    indexer: _IndexerEntry | None = None
    experts: _ExpertsEntry | None = None
    kv_cache_dtype: str | None = None
    loaded_weights: Annotated[
        Bytes | None, Field(description="On GPUs, where padding makes them larger than the files.")
    ] = None
    stated_parameters: Positive | None = None
    least_compute_capability: Capability | None = None
    vllm_arguments: Annotated[
        dict[str, str],
        Field(description="More of vLLM's flags, without dashes; empty for a mere switch."),
    ] = Field(default_factory=dict)
    disk: Bytes
    runtimes: Annotated[tuple[EngineName, ...], Field(min_length=1)]
    requires_auth: bool = False
    aliases: tuple[str, ...] = ()
    tool_call_parser: str | None = None
    reasoning_parser: str | None = None
    chat_template: str | None = None
    tuning: _TuningEntry | None = None

    def to_domain(self) -> ModelProfile:
        parts = {"attention", "local_attention", "recurrent", "indexer", "experts", "tuning"}
        plain = self.model_dump(exclude={*parts, "weights", "loaded_weights", "disk"})
        attention = Attention(**self.attention.model_dump())
        local, recurrent = self.local_attention, self.recurrent
        return ModelProfile(
            **plain,
            attention=attention,
            local_attention=local.to_domain(attention) if local else None,
            recurrent=RecurrentLayers(layers=recurrent.layers, state_bytes=recurrent.state)
            if recurrent
            else None,
            indexer=Indexer(**self.indexer.model_dump()) if self.indexer else None,
            experts=Experts(**self.experts.model_dump()) if self.experts else None,
            weight_bytes=self.weights,
            loaded_bytes=self.loaded_weights,
            disk_bytes=self.disk,
            tuning=self.tuning.to_domain() if self.tuning else None,
        )


class _MigEntry(_Entry):
    source: Source
    memory_eighths: Annotated[
        dict[
            Annotated[str, Field(pattern=r"^[1-7]g\.[1-9][0-9]*gb$")],
            Annotated[int, Field(ge=1, le=8)],
        ],
        Field(min_length=1, description="MIG profile: its share of the card's memory."),
    ]


class _GpuEntry(_Entry):
    source: Source
    name: str
    vendor: str
    memory: Bytes
    reported_memory: Bytes | None = None
    prior: bool = False
    compute_capability: Capability | None = None
    memory_bandwidth_bytes_per_s: Positive
    fp16_flops: Annotated[float, Field(gt=0)]
    nvlink_bytes_per_s: Annotated[
        float | None, Field(gt=0, description="One way, to all other GPUs together.")
    ] = None
    products: Annotated[
        tuple[str, ...], Field(description="Values of a Node's label nvidia.com/gpu.product.")
    ] = ()
    mig: _MigEntry | None = None

    def to_domain(self) -> Gpu:
        plain = self.model_dump(exclude={"memory", "reported_memory", "mig"})
        return Gpu(
            **plain,
            memory_bytes=self.memory,
            reported_bytes=self.reported_memory,
            mig_memory_eighths=tuple(self.mig.memory_eighths.items()) if self.mig else (),
        )


class _EngineEntry(_Entry):
    source: Source
    name: EngineName
    version: str
    image: str
    min_compute_capability: Capability
    max_compute_capability: Capability | None = None
    flags: frozenset[str] = frozenset()
    removed_flags: dict[str, str] = Field(default_factory=dict)

    def to_domain(self) -> Engine:
        return Engine(**self.model_dump())


class _PriceEntry(_Entry):
    on_demand: Annotated[float, Field(gt=0, description="US dollars per hour.")]
    spot: Annotated[float, Field(gt=0, description="US dollars per hour.")] | None = None


class _InstanceTypeEntry(_Entry):
    name: str
    gpu: Annotated[str, Field(description="Name of a GPU in gpus/.")]
    gpu_count: Positive
    nvme: bool
    vcpus: Positive
    memory: Bytes
    legacy: bool = False
    caveats: tuple[str, ...] = ()
    prices: dict[str, _PriceEntry] = Field(default_factory=dict)
    prices_as_of: Annotated[
        str,
        Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="The day, where their source has one."),
    ] = ""

    def to_domain(self, gpu: Gpu, *, cloud: str, source: str) -> InstanceType:
        prices = {
            region: Price(on_demand_usd_per_hour=price.on_demand, spot_usd_per_hour=price.spot)
            for region, price in self.prices.items()
        }
        plain = self.model_dump(exclude={"gpu", "memory", "prices"})
        return InstanceType(
            **plain, gpu=gpu, memory_bytes=self.memory, prices=prices, cloud=cloud, source=source
        )


class _CloudEntry(_Entry):
    source: Source
    cloud: str
    instance_types: Annotated[tuple[_InstanceTypeEntry, ...], Field(min_length=1)]


_E = TypeVar("_E", bound=_Entry)
_T = TypeVar("_T")


def default_directory() -> Path:
    """presets/ inside the wheel, or beside the package in a checkout (editable install)."""
    package = Path(str(resources.files("kaito")))
    inside = package / "presets"
    return inside if inside.is_dir() else package.parent / "presets"


def load_catalogue(directory: Path | None = None, *, models: Path | None = None) -> Catalogue:
    """Everything below `directory` (None: what kaito was installed with), sorted by name, and the
    models of one's own: a file, or a folder of them.

    Raises: InvalidInput that lists every problem of every file, each with file, key and value.
    """
    root = directory or default_directory()
    problems: list[Problem] = []
    found = _entries(root, "models", _ModelEntry, problems)
    if models is not None:
        found += _own_models(models, problems)
    profiles = _converted(found, problems)
    gpus = _converted(_entries(root, "gpus", _GpuEntry, problems), problems)
    engines = _converted(_entries(root, "engines", _EngineEntry, problems), problems)
    clouds = _entries(root, "instance_types", _CloudEntry, problems)
    instance_types = _instance_types(clouds, {gpu.name: gpu for gpu in gpus}, problems)
    if problems:
        raise InvalidInput(problems)
    return Catalogue(
        models=tuple(sorted(profiles, key=lambda one: one.name)),
        gpus=tuple(sorted(gpus, key=lambda one: one.name)),
        instance_types=tuple(sorted(instance_types, key=lambda one: one.name)),
        engines=tuple(sorted(engines, key=lambda one: (one.name, one.version))),
    )


def _entries(
    root: Path, folder: str, schema: type[_E], problems: list[Problem]
) -> list[tuple[str, _E]]:
    """The valid files of one folder with their paths below `root`; adds the others' problems."""
    files = sorted((root / folder).glob("*.yaml"))
    if not files:
        problems.append(
            Problem(
                field=folder,
                message=f"no *.yaml file in {root / folder}",
                remedy="Give the directory that holds models/, gpus/, instance_types/, engines/",
            )
        )
    return _read(((f"{folder}/{path.name}", path) for path in files), schema, problems)


def _own_models(path: Path, problems: list[Problem]) -> list[tuple[str, _ModelEntry]]:
    """The valid ones of one model file, or of a folder of them."""
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    if not files:
        problems.append(
            Problem(
                field="models",
                message=f"no *.yaml file in {path}",
                remedy="Give a model's file, or the folder that holds such files",
            )
        )
    return _read(((str(file), file) for file in files), _ModelEntry, problems)


def _read(
    files: Iterable[tuple[str, Path]], schema: type[_E], problems: list[Problem]
) -> list[tuple[str, _E]]:
    """The valid files by the name to call them; adds the others' problems."""
    found: list[tuple[str, _E]] = []
    for name, path in files:
        try:
            document = yaml.load(path.read_bytes(), Loader=_Loader)  # a safe loader either way
            found.append((name, schema.model_validate(document)))
        except OSError as error:
            message = f"cannot be read: {error.strerror or error}"
            problems.append(Problem(field=name, message=message))
        except yaml.YAMLError as error:
            problems.append(Problem(field=name, message=f"is not YAML: {error}"))
        except ValidationError as error:
            problems += [_located(name, problem) for problem in problems_of(error, schema)]
    return found


def _converted(entries: Iterable[tuple[str, Any]], problems: list[Problem]) -> list[Any]:
    """The domain's values; adds a problem for each that contradicts itself."""
    values = []
    for name, entry in entries:
        try:
            values.append(entry.to_domain())
        except ValueError as error:
            problems.append(Problem(field=name, message=str(error)))
    return values


def _instance_types(
    clouds: Iterable[tuple[str, _CloudEntry]],
    gpus: Mapping[str, Gpu],
    problems: list[Problem],
) -> list[InstanceType]:
    found: list[InstanceType] = []
    for file_name, cloud in clouds:
        for index, entry in enumerate(cloud.instance_types):
            gpu = gpus.get(entry.gpu)
            if gpu is None:
                problems.append(
                    Problem(
                        field=f"{file_name}: instance_types[{index}].gpu",
                        message=f"{entry.name} has the unknown GPU {entry.gpu!r}",
                        remedy=did_you_mean(entry.gpu, gpus),
                    )
                )
                continue
            found.append(entry.to_domain(gpu, cloud=cloud.cloud, source=cloud.source))
    return found


def _located(file_name: str, problem: Problem) -> Problem:
    field = f"{file_name}: {problem.field}" if problem.field else file_name
    return replace(problem, field=field)
