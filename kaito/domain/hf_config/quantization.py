"""What a config's quantization_config does to each linear layer.

Keys of the schemes: vllm-project/vllm vllm/model_executor/layers/quantization, and
huggingface/transformers src/transformers/utils/quantization_config.py.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from kaito.domain.hf_config.config import Config, invalid
from kaito.domain.hf_config.formats import (
    BITSANDBYTES_4,
    FP8_CHANNEL,
    FP8_TENSOR,
    INT8_CHANNEL,
    MXFP4,
    NVFP4,
    WeightFormat,
    fp8_blocks,
    integer_groups,
)
from kaito.domain.hf_config.patterns import Patterns, unfolded

_METHODS: Final = (
    "awq",
    "awq_marlin",
    "bitsandbytes",
    "compressed-tensors",
    "fbgemm_fp8",
    "fp8",
    "gptq",
    "gptq_marlin",
    "modelopt",
    "modelopt_fp4",
    "mxfp4",
)
_SKIPPED: Final = (
    "modules_to_not_convert",
    "ignore",
    "ignored_layers",
    "llm_int8_skip_modules",
    "exclude_modules",
)
_LM_HEAD: Final = "lm_head"


@dataclass(frozen=True, slots=True)
class Scheme:
    """The formats of linear layers: the first whose targets match, unless the layer is skipped.

    None for targets is every linear layer of the decoder, lm_head excepted.
    """

    groups: tuple[tuple[Patterns | None, WeightFormat], ...] = ()
    skipped: Patterns = Patterns(())  # noqa: RUF009 - immutable
    experts_only: bool = False

    def format_of(self, module: str) -> WeightFormat | None:
        """Of the linear layer with that (plain) name; None where it stays in 16 bits."""
        if not self.groups or self.skipped.match(module):
            return None
        if self.experts_only and ".experts." not in module:
            return None
        for targets, chosen in self.groups:
            if targets.match(module) if targets is not None else module != _LM_HEAD:
                return chosen
        return None


def cache_dtype(config: Config, text: Config) -> str | None:
    """fp8 where the checkpoint says that keys and values are cached so, which vLLM's
    --kv-cache-dtype auto follows; None for 16 bits."""
    section = _section(config, text)
    if section is None:
        return None
    scheme = section.values.get("kv_cache_scheme")
    if isinstance(scheme, Mapping):
        return "fp8" if scheme.get("num_bits") == 8 else None
    return "fp8" if "FP8" in (scheme, section.values.get("kv_cache_quant_algo")) else None


def _section(config: Config, text: Config) -> Config | None:
    keys = ("quantization_config", "compression_config")
    return config.section(*keys) or text.section(*keys)


def scheme_of(config: Config, text: Config, modules: Iterable[str]) -> Scheme:
    """The scheme of a whole config.json; `modules` are the linear layers that it may speak of.

    Raises: InvalidModel (a method that is not known, keys that are missing or contradict).
    """
    section = _section(config, text)
    if section is None:
        return Scheme()
    method = _method(section)
    try:
        names = [name for key in _SKIPPED for name in _names(section, key, modules)]
        skipped = Patterns([*names, *_left_out(section)])
        groups = _groups(section, method)
    except re.error as error:
        raise invalid(section.path, f"has an expression that cannot be read: {error}") from None
    return Scheme(groups=groups, skipped=skipped, experts_only=method == "mxfp4")


def _method(section: Config) -> str:
    method = section.text("quant_method").lower()
    algorithm = section.text("quant_algo").upper()
    if algorithm or "config_groups" in section:
        return method if method in ("modelopt", "compressed-tensors") else "modelopt"
    if method not in _METHODS:
        given = repr(method) if method else "nothing"
        raise invalid(
            section.field("quant_method"),
            f"must be one of {', '.join(_METHODS)}, got {given}",
            "Describe the model in a file of its own (docs/models.md)",
        )
    return method


def _names(section: Config, key: str, modules: Iterable[str]) -> tuple[str, ...]:
    value = section.values.get(key)
    if isinstance(value, Mapping):
        counts = Config(value, section.field(key))
        return unfolded({name: counts.integer(name, least=0) for name in value}, modules)
    return section.strings(key)


def _left_out(section: Config) -> tuple[str, ...]:
    """GPTQModel's `dynamic` rules that take layers out: expressions after `-:`."""
    rules = section.section("dynamic")
    listed = rules.values if rules else ()
    return tuple(f"re:{rule[2:]}" for rule in listed if rule.startswith("-:"))


def _groups(section: Config, method: str) -> tuple[tuple[Patterns | None, WeightFormat], ...]:
    listed = section.section("config_groups")
    if listed is None:
        by_layer = section.section("quantized_layers")
        if by_layer is not None:
            return _layer_by_layer(by_layer)
        chosen = _single(section, method)
        head = ((Patterns([_LM_HEAD]), chosen),) if section.values.get(_LM_HEAD) is True else ()
        return (*head, (None, chosen))
    groups: list[tuple[Patterns | None, WeightFormat]] = []
    for name in listed.values:
        group = listed.section(name)
        weights = group.section("weights") if group else None
        if group is None or weights is None:
            continue  # only activations are quantised
        targets = group.strings("targets")
        general = not targets or "Linear" in targets
        groups.append((None if general else Patterns(targets), _of_weights(weights, group)))
    # Groups that name their layers go before the one that means them all.
    return tuple(sorted(groups, key=lambda one: one[0] is None))


def _layer_by_layer(
    layers: Config,
) -> tuple[tuple[Patterns | None, WeightFormat], ...]:
    """ModelOpt's mixed precision: an algorithm for each layer by its name."""
    names: dict[WeightFormat, list[str]] = {}
    for name in layers.values:
        layer = layers.section(name)
        if layer is not None:
            names.setdefault(_of_algorithm(layer), []).append(name)
    return tuple((Patterns(listed), chosen) for chosen, listed in names.items())


def _single(section: Config, method: str) -> WeightFormat:
    """The format of methods that have one."""
    if method in ("awq", "awq_marlin", "gptq", "gptq_marlin"):
        return _grouped_integers(section, "awq" if method.startswith("awq") else "gptq")
    if method == "fp8":
        block = section.integers("weight_block_size")
        if block is None:
            return FP8_TENSOR
        if len(block) != 2 or min(block) < 1:
            raise invalid(
                section.field("weight_block_size"), f"must be two sizes, got {list(block)}"
            )
        return fp8_blocks(*block)
    if method == "fbgemm_fp8":
        return FP8_CHANNEL
    if method == "mxfp4":
        return MXFP4
    if method == "bitsandbytes":
        return INT8_CHANNEL if section.switch("load_in_8bit") else BITSANDBYTES_4
    return NVFP4 if method == "modelopt_fp4" else _of_algorithm(section)


def _of_algorithm(section: Config) -> WeightFormat:
    """ModelOpt's name of a format."""
    algorithm = section.text("quant_algo").upper()
    if "NVFP4" in algorithm:
        return NVFP4
    if "FP8" in algorithm:
        return FP8_TENSOR
    raise invalid(
        section.field("quant_algo"),
        f"must be NVFP4 or FP8 where no layers are listed, got {algorithm!r}",
        "Describe the model in a file of its own (docs/models.md)",
    )


def _grouped_integers(section: Config, name: str) -> WeightFormat:
    bits = section.integer("bits", "w_bit", default=4)
    _check_bits(section.field("bits"), bits)
    group = section.integer("group_size", "q_group_size", default=128, least=-1)
    gptq = name == "gptq"
    return integer_groups(_integer_name(name, bits), bits, group, zero_points=True, index=gptq)


def _integer_name(name: str, bits: int) -> str:
    return name if bits == 4 else "int8"


def _check_bits(field: str, bits: int) -> None:
    if bits not in (4, 8):
        raise invalid(
            field,
            f"must be 4 or 8, got {bits}",
            "Describe the model in a file of its own (docs/models.md)",
        )


def _of_weights(weights: Config, group: Config) -> WeightFormat:
    """The format of one of compressed-tensors' or ModelOpt's groups."""
    bits = weights.integer("num_bits")
    _check_bits(weights.field("num_bits"), bits)
    size = weights.optional("group_size", least=-1)
    block = weights.integers("block_structure")
    if weights.text("type", default="int") == "int":
        if bits == 8:
            return INT8_CHANNEL
        zero_points = not weights.switch("symmetric", default=True)
        return integer_groups("int4", bits, size or -1, zero_points=zero_points)
    if bits == 4:
        mx = group.text("format").startswith("mxfp4") or size == MXFP4.columns
        return MXFP4 if mx else NVFP4
    if block is not None and len(block) == 2:
        return fp8_blocks(*block)
    return FP8_CHANNEL if weights.text("strategy") == "channel" else FP8_TENSOR
