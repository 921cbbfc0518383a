"""What inference_config.yaml asks of vLLM, as far as memory and layout depend on it.

Its section `vllm` holds flags of the engine's server, with dashes or underscores. Of several
spellings the last one counts, as on a command line. Limits are those of vllm-project/vllm
vllm/config/{cache,lora,parallel,scheduler}.py.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isfinite
from typing import Any, Final

from kaito.domain.errors import Problem
from kaito.domain.gpu import InstanceType
from kaito.domain.model import ModelProfile
from kaito.domain.parsing import shown
from kaito.domain.quantity import GIB, gib_text
from kaito.domain.vllm_defaults import KV_BLOCK_TOKENS, VLLM_LORA_RANK, max_num_batched_tokens

__all__ = [
    "NOTHING_ASKED",
    "SECTION",
    "ServerRequest",
    "at",
    "flag_of",
    "number",
    "request_problems",
    "requested_keys",
    "server_request",
    "uncounted_flags",
    "whole_number",
    "without_request",
]

SECTION: Final = "vllm"

_CACHE_FORMATS: Final[Mapping[str, str | None]] = {
    "float16": None,
    "bfloat16": None,
    "fp8": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "fp8_ds_mla": "fp8",
}
"""Values of --kv-cache-dtype that the fit counts, as `ModelProfile.kv_cache_dtype`."""
_OTHER_CACHE_FORMATS: Final = frozenset(
    {
        "fp8_inc",
        "fp8_per_token_head",
        "int4_per_token_head",
        "int8_per_token_head",
        "nvfp4",
        "nvfp4_4over6",
        "nvfp4_ds_mla",
        "turboquant_3bit_nc",
        "turboquant_4bit_nc",
        "turboquant_k3v4_nc",
        "turboquant_k8v4",
    }
)
_DIGITS: Final = 18  # no setting is longer
_LORA_RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_SIXTEEN_BIT: Final = frozenset({"auto", "half", "float16", "bfloat16"})
_UNCOUNTED: Final = frozenset(
    {
        "cudagraph-capture-sizes",
        "decode-context-parallel-size",
        "disable-hybrid-kv-cache-manager",
        "hf-overrides",
        "kv-cache-dtype-skip-layers",
        "kv-cache-memory-bytes",
        "limit-mm-per-prompt",
        "mamba-block-size",
        "mamba-cache-dtype",
        "mamba-ssm-cache-dtype",
        "max-cudagraph-capture-size",
        "num-gpu-blocks-override",
        "offload-group-size",
        "prefill-context-parallel-size",
        "quantization",
        "spec-model",
        "speculative-config",
    }
)
"""Flags that change what a GPU holds by an amount that the fit does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRequest:
    """Settings of vLLM's server that a user chose; None leaves one to the fit, or to vLLM's default
    on the GPU. `kv_cache_dtype` is the text of the flag, `cpu_offload_gib` is per GPU."""

    utilization: Fraction | None = None  # share of a GPU's memory
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    data_parallel: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    kv_cache_dtype: str | None = None
    block_tokens: int | None = None
    enforce_eager: bool = False
    enable_lora: bool = False
    max_loras: int | None = None
    max_lora_rank: int | None = None
    cpu_offload_gib: Fraction = Fraction(0)

    @property
    def parallel_sizes(self) -> dict[str, int]:
        """The parallel sizes that are asked for, by flag."""
        sizes = {
            "tensor-parallel-size": self.tensor_parallel,
            "pipeline-parallel-size": self.pipeline_parallel,
            "data-parallel-size": self.data_parallel,
        }
        return {flag: size for flag, size in sizes.items() if size is not None}

    @property
    def lora_rank(self) -> int:
        """The rank that each LoRA slot is made for."""
        return self.max_lora_rank or VLLM_LORA_RANK

    @property
    def cpu_offload_bytes(self) -> int:
        """Bytes of weights that each GPU leaves in the host's memory."""
        return int(self.cpu_offload_gib * GIB)

    @property
    def flags(self) -> dict[str, str]:
        """What it adds to a command line, by flag, beside the layout and the share of the card; ""
        for a flag without value. Slots for LoRA depend on the adapters."""
        values = {
            "max-num-seqs": self.max_num_seqs,
            "max-num-batched-tokens": self.max_num_batched_tokens,
            "block-size": self.block_tokens,
            "kv-cache-dtype": self.kv_cache_dtype,
            "enforce-eager": "" if self.enforce_eager else None,
            "cpu-offload-gb": float(self.cpu_offload_gib) if self.cpu_offload_gib else None,
        }
        return {flag: str(value) for flag, value in values.items() if value is not None}

    def lora_slots(self, adapters: int) -> int:
        """Slots that vLLM keeps for LoRA: one for each adapter where nothing else is said."""
        if not adapters and not self.enable_lora:
            return 0
        return self.max_loras or max(1, adapters)

    def applied_to(self, model: ModelProfile) -> ModelProfile:
        """The model with the number format of its cache. One that the fit does not count is taken
        as 16 bits, more than any of them needs."""
        if self.kv_cache_dtype is None:
            return model
        return replace(model, kv_cache_dtype=_CACHE_FORMATS.get(self.kv_cache_dtype))


NOTHING_ASKED: Final = ServerRequest()


def server_request(config: Mapping[str, Any] | None) -> ServerRequest:
    """What the parsed file asks for. Entries that cannot be read are left out: `request_problems`
    tells them."""
    read, _ = _read(config)
    return ServerRequest(**{_READERS[flag].field: value for flag, (_, value) in read.items()})


def request_problems(
    config: Mapping[str, Any] | None, instance_type: InstanceType
) -> Iterator[Problem]:
    """Values with which vLLM would not start, whatever the model; layouts are not judged."""
    read, problems = _read(config)
    yield from problems
    asked = server_request(config)
    tokens = asked.max_num_batched_tokens or max_num_batched_tokens(instance_type.gpu)
    if asked.max_num_seqs is not None and asked.max_num_seqs > tokens:
        default = "" if asked.max_num_batched_tokens else ", vLLM's default on this GPU"
        yield Problem(
            field=at(read["max-num-seqs"][0]),
            message=f"must be at most max-num-batched-tokens, which is {tokens}{default}; "
            f"got {asked.max_num_seqs}",
            remedy="Lower it, or raise max-num-batched-tokens",
            rule="config-batch",
        )
    held = asked.cpu_offload_bytes * instance_type.gpu_count
    if instance_type.memory_bytes and held > instance_type.memory_bytes:
        yield Problem(
            field=at(read["cpu-offload-gb"][0]),
            message=f"takes {gib_text(held)} of host memory over {instance_type.gpu_count} "
            f"GPUs, and {instance_type.name} has {gib_text(instance_type.memory_bytes)}",
            remedy="Lower it",
            rule="config-offload",
        )


def uncounted_flags(config: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Flags of the file, as written, that change the memory of a GPU in a way that the fit does not
    count."""
    found = []
    for key, value in _section(config).items():
        flag = flag_of(key)
        if (
            flag in _UNCOUNTED
            or (flag == "dtype" and value not in _SIXTEEN_BIT)
            or (flag == "kv-cache-dtype" and value in _OTHER_CACHE_FORMATS)
        ):
            found.append(key)
    return tuple(found)


def requested_keys(config: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The entries, as written, that make up `server_request`."""
    read, _ = _read(config)
    return tuple(key for key, _ in read.values())


def without_request(config: Mapping[str, Any]) -> dict[str, Any]:
    """The file without what it asks for here."""
    kept = {key: one for key, one in _section(config).items() if _flag_read(key) not in _READERS}
    return {**config, SECTION: kept}


def flag_of(key: str) -> str:
    """A flag as the engine's parser reads it: `_` is `-`, and a part of a JSON value follows a
    dot."""
    return key.partition(".")[0].replace("_", "-")


def at(key: str) -> str:
    """The field of an entry of the section, for a Problem."""
    return f"inference.config[{SECTION}.{key}]"


def number(value: object) -> float | None:
    """A number, or text that is one; None for anything else, infinities and NaN among it."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if isfinite(found) else None


def whole_number(value: object) -> int | None:
    """A whole number from 1, or text that is one in ASCII digits; None for anything else."""
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        return None
    return int(text) or None


def _section(config: Mapping[str, Any] | None) -> Mapping[str, Any]:
    section = (config or {}).get(SECTION)
    return {str(key): one for key, one in section.items()} if isinstance(section, Mapping) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """How one flag is read: `of` gives None for a value that is refused."""

    field: str
    of: Callable[[object], object | None]
    expected: str
    rule: str


def _share(value: object) -> Fraction | None:
    found = number(value)
    return Fraction(repr(found)) if found is not None and 0.0 < found <= 1.0 else None


def _amount(value: object) -> Fraction | None:
    found = number(value)
    return Fraction(repr(found)) if found is not None and found >= 0.0 else None


def _blocks(value: object) -> int | None:
    found = whole_number(value)
    return None if found is None or found % KV_BLOCK_TOKENS else found


def _rank(value: object) -> int | None:
    found = whole_number(value)
    return found if found in _LORA_RANKS else None


def _format(value: object) -> str | None:
    return str(value) if value in _CACHE_FORMATS or value in _OTHER_CACHE_FORMATS else None


def _switch(value: object) -> bool | None:
    return {"true": True, "false": False}.get(str(value).lower())


def _counted(field: str, rule: str) -> _Reader:
    return _Reader(
        field=field, of=whole_number, expected="must be a whole number from 1", rule=rule
    )


def _switched(field: str) -> _Reader:
    return _Reader(field=field, of=_switch, expected="must be true or false", rule="config-switch")


_READERS: Final[Mapping[str, _Reader]] = {
    "gpu-memory-utilization": _Reader(
        field="utilization",
        of=_share,
        expected="must be a number above 0 and at most 1",
        rule="config-utilization",
    ),
    "tensor-parallel-size": _counted("tensor_parallel", rule="config-parallel"),
    "pipeline-parallel-size": _counted("pipeline_parallel", rule="config-parallel"),
    "data-parallel-size": _counted("data_parallel", rule="config-parallel"),
    "max-num-seqs": _counted("max_num_seqs", rule="config-batch"),
    "max-num-batched-tokens": _counted("max_num_batched_tokens", rule="config-batch"),
    "kv-cache-dtype": _Reader(
        field="kv_cache_dtype",
        of=_format,
        expected=f"must be auto, {', '.join(sorted(_CACHE_FORMATS))} or another of vLLM's formats",
        rule="config-cache-dtype",
    ),
    "block-size": _Reader(
        field="block_tokens",
        of=_blocks,
        expected=f"must be a multiple of {KV_BLOCK_TOKENS} tokens",
        rule="config-block-size",
    ),
    "enforce-eager": _switched("enforce_eager"),
    "enable-lora": _switched("enable_lora"),
    "max-loras": _counted("max_loras", rule="config-lora"),
    "max-lora-rank": _Reader(
        field="max_lora_rank",
        of=_rank,
        expected=f"must be one of {', '.join(map(str, _LORA_RANKS))}",
        rule="config-lora",
    ),
    "cpu-offload-gb": _Reader(
        field="cpu_offload_gib",
        of=_amount,
        expected="must be a number of GiB from 0",
        rule="config-offload",
    ),
}
_OPPOSITES: Final = {f"no-{flag}": flag for flag in ("enforce-eager", "enable-lora")}


def _flag_read(key: str) -> str:
    """The flag that an entry sets, or takes back."""
    return _OPPOSITES.get(flag_of(key), flag_of(key))


def _read(
    config: Mapping[str, Any] | None,
) -> tuple[dict[str, tuple[str, Any]], list[Problem]]:
    """By flag, the key as written and the value; and what cannot be read."""
    read: dict[str, tuple[str, Any]] = {}
    problems: list[Problem] = []
    for key, value in _section(config).items():
        flag = _flag_read(key)
        reader = _READERS.get(flag)
        if reader is None or isinstance(value, Mapping | list | tuple):
            continue
        if flag == "kv-cache-dtype" and value == "auto":
            read.pop(flag, None)
            continue
        found: Any = reader.of(value)
        if found is None:
            message = f"{reader.expected}, got {shown(value)}"
            problems.append(Problem(field=at(key), message=message, rule=reader.rule))
            continue
        read[flag] = (key, found if flag == flag_of(key) else not found)
    return read, problems
