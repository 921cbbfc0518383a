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
from kaito.domain.layouts import layout_problems
from kaito.domain.model import ModelProfile
from kaito.domain.names import did_you_mean
from kaito.domain.parsing import shown
from kaito.domain.server_request import (
    SECTION,
    at,
    flag_of,
    number,
    request_problems,
    server_request,
    whole_number,
)

_MAX_MODEL_LEN: Final = "max-model-len"
# The other keys of the file; max_probe_steps has no effect since KAITO v0.8.
_OTHER_KEYS: Final = ("kv_cache_cpu_memory_utilization", "max_probe_steps")
_OWN_FLAGS: Final = ("model", "served-model-name", "port")


def check_engine_config(
    config: Mapping[str, Any] | None,
    engine: Engine,
    model: ModelProfile,
    instance_type: InstanceType,
    node_limit: int,
) -> None:
    """Whether the engine starts with this config on at most so many machines; one whose flags are
    not known is not asked.

    Raises: InvalidConfig with every problem.
    """
    if not config or not engine.flags:
        return
    problems = [*_key_problems(config)]
    section = config.get(SECTION)
    if isinstance(section, Mapping):
        for key, value in section.items():
            problems += _flag_problems(str(key), value, engine)
        problems += _value_problems(config, model, instance_type, node_limit)
        try:
            max_model_len(config)
        except InvalidConfig as error:
            problems += error.problems
    elif section is not None:
        message = f"must be a mapping of flags to values, got {shown(section)}"
        problems.append(Problem(field=_at(SECTION), message=message, rule="config-section"))
    if problems:
        raise InvalidConfig(problems)


def max_model_len(config: Mapping[str, Any] | None) -> int | None:
    """`vllm.max-model-len` of the config, in tokens; None when it leaves the choice to the fit. Of
    several spellings the last one counts, as on the command line.

    Raises: InvalidConfig (not a whole number, or below 1).
    """
    key, value = _asked_length(config)
    if value is None or value == "auto":
        return None
    tokens = whole_number(value)
    if tokens is None:
        message = f"must be a whole number of tokens, got {shown(value)}"
        remedy = "Write a number such as 8192, or auto"
        field = at(key)
        raise InvalidConfig(
            [Problem(field=field, message=message, remedy=remedy, rule="context-number")]
        )
    return tokens


def _key_problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    known = (SECTION, *_OTHER_KEYS)
    for key in config:
        if key not in known:
            yield Problem(
                field=_at(str(key)),
                message="unknown key",
                remedy=f"{did_you_mean(str(key), known)} Flags of the engine stand under {SECTION}",
                rule="config-key",
            )


def _flag_problems(key: str, value: object, engine: Engine) -> Iterator[Problem]:
    field, flag = at(key), flag_of(key)
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
    config: Mapping[str, Any], model: ModelProfile, instance_type: InstanceType, node_limit: int
) -> Iterator[Problem]:
    """Values that no engine could start with on this model and machine."""
    yield from request_problems(config, instance_type)
    yield from layout_problems(model, instance_type, server_request(config), node_limit)
    key, value = _asked_length(config)
    length = number(value)
    if length is not None and length > model.token_limit:
        yield Problem(
            field=at(key),
            message=f"must be within 1..{model.token_limit} for {model.name}, got {shown(value)}",
            rule="context-limit",
        )


def _asked_length(config: Mapping[str, Any] | None) -> tuple[str, object]:
    """The last spelling of max-model-len, and its value."""
    section = (config or {}).get(SECTION)
    found = section.items() if isinstance(section, Mapping) else ()
    asked = [(str(key), value) for key, value in found if flag_of(str(key)) == _MAX_MODEL_LEN]
    return asked[-1] if asked else ("", None)


def _at(key: str) -> str:
    return f"inference.config[{key}]"
