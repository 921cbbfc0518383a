"""The quick checks never say yes where the slow way finds something, and know what is common."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.fake.schema_checks import accepts, keeps
from kaito.adapters.fake.structural_schema import defaulted, problems, pruned
from kaito.adapters.kube_api import freeze

CONDITIONS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type", "kind"],
    "items": {
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"type": "string"},
            "kind": {"type": "string", "default": "plain"},
            "at": {"type": "string", "format": "date-time"},
        },
    },
}
SCHEMA = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1},
        "count": {"type": "integer", "format": "int32"},
        "mode": {"type": "string", "enum": ["fast", "slow"]},
        "deep": {
            "type": "object",
            "properties": {"of": {"type": "string"}, "in": {"type": "number"}},
        },
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "free": {"type": "object", "additionalProperties": True},
        "maybe": {"type": "string", "nullable": True},
        "plain": {"type": "array"},
        "names": {"type": "array", "items": {"type": "string"}},
        "listed": {"type": "array", "enum": [["a"]]},
        "conditions": CONDITIONS,
        "odd": {**CONDITIONS, "items": {}},
        "untyped": {},
        "described": {"description": "of no type", "properties": {"of": {"type": "string"}}},
    },
}
GOOD: Mapping[str, Any] = {
    "mode": "fast",
    "count": 3,
    "deep": {"of": "course"},
    "labels": {"a": "b"},
    "anything": {"odd": {"deep": 3}},
    "free": {"of": {"all": None}},
    "names": ["a", "b"],
    "plain": [1, "a"],
    "conditions": [
        {"type": "A", "kind": "x", "at": "2026-01-01T00:00:00Z"},
        {"type": "B", "kind": "x"},
    ],
}

_scalars = st.sampled_from(
    ["", "a", "fast", "2026-01-01T00:00:00Z", 0, 1, -1, 1.0, 1.5, True, False, None]
)
_conditions = st.dictionaries(st.sampled_from(["type", "kind", "at", "odd"]), _scalars)
_anything = st.recursive(
    _scalars,
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(["of", "in", "type", "kind", "odd"]), below, max_size=3)
    ),
    max_leaves=6,
)
_objects = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys([*SCHEMA["properties"], "unknown"], _anything),  # type: ignore[misc]
        "conditions": st.lists(_conditions | _anything, max_size=3),
        "names": st.lists(_scalars, max_size=2),
    },
)


@given(_objects, st.booleans())
def test_yes_is_right(value: dict[str, Any], is_frozen: bool) -> None:
    given_value = freeze(value) if is_frozen else value
    optional = {**SCHEMA, "required": ()}
    if accepts(optional)(given_value):
        assert list(problems(given_value, optional)) == []
    if keeps(SCHEMA)(given_value):
        assert defaulted(pruned(given_value, SCHEMA), SCHEMA) == value


@pytest.mark.parametrize("key", GOOD)
def test_what_is_common_is_known_to_be_good(key: str) -> None:
    optional = {**SCHEMA, "required": ()}
    for value in ({key: GOOD[key]}, freeze({key: GOOD[key]})):
        assert accepts(optional)(value)
        assert keeps(SCHEMA)(value)


def test_what_is_required_is_looked_for() -> None:
    assert not accepts({**SCHEMA, "properties": {}})({"mode": "fast"})
