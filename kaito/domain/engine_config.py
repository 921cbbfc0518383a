"""inference_config.yaml: what the engine's server is told beside the decisions of the fit.

KAITO v0.12's server puts each entry of the section `vllm` behind its own command line as
`--key value`, so an entry wins over what the fit decided, and a flag that the engine does not know
stops it from starting (presets/workspace/inference/vllm/inference_api.py:143-190).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kaito.domain.engine import Engine
from kaito.domain.errors import InvalidConfig, Problem
from kaito.domain.gpu import InstanceType
from kaito.domain.model import ModelProfile
from kaito.domain.names import did_you_mean
from kaito.domain.parsing import shown

_ENGINE_SECTION: Final = "vllm"
_MAX_MODEL_LEN: Final = "max-model-len"
_UTILIZATION: Final = "gpu-memory-utilization"
_PARALLEL: Final = ("tensor-parallel-size", "data-parallel-size")
# The other keys of the file; max_probe_steps has no effect since KAITO v0.8.
_OTHER_KEYS: Final = ("kv_cache_cpu_memory_utilization", "max_probe_steps")
_OWN_FLAGS: Final = ("model", "served-model-name", "port")


def check_engine_config(
    config: Mapping[str, Any] | None,
    engine: Engine,
    model: ModelProfile,
    instance_type: InstanceType,
) -> None:
    """Whether the engine starts with this config; one whose flags are not known is not asked.

    Raises: InvalidConfig with every problem.
    """
    if not config or not engine.flags:
        return
    problems = [*_key_problems(config)]
    section = config.get(_ENGINE_SECTION)
    if isinstance(section, Mapping):
        for key, value in section.items():
            problems += _flag_problems(str(key), value, engine)
        given = {_flag(str(key)): value for key, value in section.items()}
        problems += _value_problems(given, model, instance_type)
        try:
            max_model_len(config)
        except InvalidConfig as error:
            problems += error.problems
    elif section is not None:
        message = f"must be a mapping of flags to values, got {shown(section)}"
        problems.append(Problem(field=_at(_ENGINE_SECTION), message=message, rule="config-section"))
    if problems:
        raise InvalidConfig(problems)


def max_model_len(config: Mapping[str, Any] | None) -> int | None:
    """`vllm.max-model-len` of the config, in tokens; None when it leaves the choice to the fit. Of
    several spellings the last one counts, as on the command line.

    Raises: InvalidConfig (not a whole number, or below 1).
    """
    section = (config or {}).get(_ENGINE_SECTION) or {}
    found = section.items() if isinstance(section, Mapping) else ()
    asked = [(key, value) for key, value in found if _flag(str(key)) == _MAX_MODEL_LEN]
    key, value = asked[-1] if asked else ("", None)
    if value is None or value == "auto":
        return None
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdigit() or int(text) < 1:
        message = f"must be a whole number of tokens, got {shown(value)}"
        remedy = "Write a number such as 8192, or auto"
        field = _at(f"{_ENGINE_SECTION}.{key}")
        raise InvalidConfig(
            [Problem(field=field, message=message, remedy=remedy, rule="context-number")]
        )
    return int(text)


def _key_problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    known = (_ENGINE_SECTION, *_OTHER_KEYS)
    for key in config:
        if key not in known:
            yield Problem(
                field=_at(str(key)),
                message="unknown key",
                remedy=f"{did_you_mean(str(key), known)} Flags of the engine stand under "
                f"{_ENGINE_SECTION}",
                rule="config-key",
            )


def _flag_problems(key: str, value: object, engine: Engine) -> Iterator[Problem]:
    field, flag = _at(f"{_ENGINE_SECTION}.{key}"), _flag(key)
    if flag in engine.removed_flags:
        yield Problem(
            field=field,
            message=f"{engine.name} {engine.version} no longer has this flag and would not start",
            remedy=engine.removed_flags[flag],
            rule="config-flag-removed",
        )
    elif flag in _OWN_FLAGS:
        yield Problem(
            field=field, message="is set by kaito", remedy="Remove it", rule="config-flag-reserved"
        )
    elif flag not in engine.flags and flag.removeprefix("no-") not in engine.flags:
        yield Problem(
            field=field,
            message=f"{engine.name} {engine.version} has no such flag and would not start",
            remedy=did_you_mean(flag, engine.flags),
            rule="config-flag-known",
        )
    elif isinstance(value, Mapping | list | tuple):
        yield Problem(
            field=field,
            message=f"must be a single value, got {shown(value)}",
            remedy="Write JSON as text, in quotes",
            rule="config-flag-value",
        )


def _value_problems(
    given: Mapping[str, Any], model: ModelProfile, instance_type: InstanceType
) -> Iterator[Problem]:
    """Values that no engine could start with on this model and machine."""
    if _UTILIZATION in given:
        share = _number(given[_UTILIZATION])
        if share is None or not 0.0 < share <= 1.0:
            yield Problem(
                field=_at(f"{_ENGINE_SECTION}.{_UTILIZATION}"),
                message=f"must be a number above 0 and at most 1, got {shown(given[_UTILIZATION])}",
                rule="config-utilization",
            )
    for flag in _PARALLEL:
        if flag not in given:
            continue
        count = _number(given[flag])
        if count is None or count < 1 or count > instance_type.gpu_count or count % 1:
            yield Problem(
                field=_at(f"{_ENGINE_SECTION}.{flag}"),
                message=f"must be a whole number from 1 to {instance_type.gpu_count}, the GPUs of "
                f"{instance_type.name}, got {shown(given[flag])}",
                remedy="Remove it: the fit lays the model out",
                rule="config-parallel",
            )
    length = _number(given.get(_MAX_MODEL_LEN))
    if length is not None and length > model.token_limit:
        yield Problem(
            field=_at(f"{_ENGINE_SECTION}.{_MAX_MODEL_LEN}"),
            message=f"must be within 1..{model.token_limit} for {model.name}, "
            f"got {shown(given[_MAX_MODEL_LEN])}",
            rule="context-limit",
        )


def _flag(key: str) -> str:
    """A flag as the engine's parser reads it: `_` is `-`, and a part of a JSON value follows a
    dot."""
    return key.partition(".")[0].replace("_", "-")


def _at(key: str) -> str:
    return f"inference.config[{key}]"


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None
