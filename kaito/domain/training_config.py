"""training_config.yaml: how a tuning job is told to train.

The rules are KAITO v0.12's (api/v1beta1/tuning_config_validation.go:111-276), which its webhook
asks; kaito asks them as soon as the ConfigMap can be read.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kaito.domain.errors import InvalidConfig, Problem
from kaito.domain.names import did_you_mean
from kaito.domain.parsing import shown
from kaito.domain.server_request import whole_number
from kaito.domain.tuning_fit import TuningRequest
from kaito.domain.tuning_method import TuningMethod

RESULTS_DIR: Final = "/mnt/results"
_TOP: Final = "training_config"
_MOUNTS: Final = "mnt"
_TAKEN: Final = frozenset({"config", "data"})  # where other volumes are mounted
_SECTIONS: Final = (
    "ModelConfig",
    "QuantizationConfig",
    "LoraConfig",
    "TrainingArguments",
    "DatasetConfig",
    "DataCollator",
)
_BITS: Final = ("load_in_4bit", "load_in_8bit")
_RANK: Final = ("LoraConfig", "r")
_BATCH: Final = ("TrainingArguments", "per_device_train_batch_size")
_CHECKPOINTING: Final = ("TrainingArguments", "gradient_checkpointing")
_UNSAID_RANK: Final = 8
"""Source: huggingface/peft src/peft/tuners/lora/config.py, LoraConfig.r."""
_UNSAID_BATCH: Final = 8
"""Source: huggingface/transformers src/transformers/training_args.py."""


def check_training_config(config: Mapping[str, Any] | None, method: TuningMethod) -> None:
    """Whether the trainer can work with this config; None stands for kaito's own.

    Raises: InvalidConfig with every problem.
    """
    if config is None:
        return
    top = config.get(_TOP)
    if not isinstance(top, Mapping):
        message = "must be a mapping of sections" if top is not None else "is required"
        problem = Problem(
            field="tuning.config[training_config]",
            message=message,
            remedy=f"It has the sections {', '.join(_SECTIONS)}",
            rule="training-sections",
        )
        raise InvalidConfig([problem])
    problems = [*_section_problems(top)]
    if not problems:
        problems += _bit_problems(_section(top, "QuantizationConfig"), method)
        problems += _size_problems(top)
        problems += _directory_problems(_section(top, "TrainingArguments"))
    if problems:
        raise InvalidConfig(problems)


def training_request(config: Mapping[str, Any] | None, method: TuningMethod) -> TuningRequest:
    """What of a config that was checked bears on memory; None stands for kaito's own. What it does
    not say is what the trainer's libraries take: activations are worked out again with qlora
    (peft's prepare_model_for_kbit_training turns it on), and with lora where it is asked for."""
    if config is None:
        return TuningRequest(method=method)
    top = config.get(_TOP) or {}
    checkpointing = _value(top, _CHECKPOINTING)
    return TuningRequest(
        method=method,
        batch_size=whole_number(_value(top, _BATCH)) or _UNSAID_BATCH,
        lora_rank=whole_number(_value(top, _RANK)) or _UNSAID_RANK,
        gradient_checkpointing=method is TuningMethod.QLORA or bool(checkpointing),
    )


def results_dir(config: Mapping[str, Any] | None) -> str:
    """Where the trainer writes to, by a config that was checked."""
    top = (config or {}).get(_TOP) or {}
    written: str = _section(top, "TrainingArguments").get("output_dir") or RESULTS_DIR
    return written


def _section(top: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = top.get(name) or {}
    return found


def _value(top: Mapping[str, Any], path: tuple[str, str]) -> object:
    return _section(top, path[0]).get(path[1])


def _size_problems(top: Mapping[str, Any]) -> Iterator[Problem]:
    for path in (_RANK, _BATCH):
        value = _value(top, path)
        if value is not None and whole_number(value) is None:
            yield Problem(
                field=_at(".".join(path)),
                message=f"must be a whole number from 1, got {shown(value)}",
                rule="training-number",
            )


def _section_problems(top: Mapping[str, Any]) -> Iterator[Problem]:
    for name, section in top.items():
        if name not in _SECTIONS:
            yield Problem(
                field=_at(str(name)),
                message="unknown section",
                remedy=did_you_mean(str(name), _SECTIONS),
                rule="training-sections",
            )
        elif section is not None and not isinstance(section, Mapping):
            yield Problem(
                field=_at(str(name)),
                message=f"must be a mapping, got {shown(section)}",
                rule="training-sections",
            )


def _bit_problems(section: Mapping[str, Any], method: TuningMethod) -> Iterator[Problem]:
    field = _at("QuantizationConfig")
    wrong = [key for key in _BITS if not isinstance(section.get(key), bool | None)]
    for key in wrong:
        message = f"must be true or false, got {shown(section[key])}"
        yield Problem(field=f"{field[:-1]}.{key}]", message=message, rule="training-bits")
    if wrong:
        return
    on = [key for key in _BITS if section.get(key)]
    if method is TuningMethod.QLORA and len(on) != 1:
        yield Problem(
            field=field,
            message=f"qlora needs exactly one of {' and '.join(_BITS)}, has {len(on)}",
            remedy="Set load_in_4bit: true",
            rule="training-bits",
        )
    if method is TuningMethod.LORA and on:
        yield Problem(
            field=field,
            message=f"lora trains in 16 bits, but {' and '.join(on)} is true",
            remedy="Remove it, or use tuning.method qlora",
            rule="training-bits",
        )


def _directory_problems(section: Mapping[str, Any]) -> Iterator[Problem]:
    directory = section.get("output_dir")
    if directory is None:
        return
    parts = directory.split("/") if isinstance(directory, str) else []
    below = [part for part in parts[2:] if part]
    if parts[:2] != ["", _MOUNTS] or ".." in parts or not below or below[0] in _TAKEN:
        yield Problem(
            field=_at("TrainingArguments.output_dir"),
            message=f"must be a directory of its own below /{_MOUNTS}, got {shown(directory)}",
            remedy=f"Use {RESULTS_DIR}",
            rule="training-output",
        )


def _at(key: str) -> str:
    return f"tuning.config[{_TOP}.{key}]"
