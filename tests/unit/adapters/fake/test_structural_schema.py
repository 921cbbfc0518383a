"""What an API server does with a CRD's schema: prunes, fills in, complains."""

from typing import Any

import pytest

from kaito.adapters.fake.structural_schema import defaulted, problems, pruned
from kaito.adapters.kube_api import freeze

ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
CONDITIONS = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    "items": {
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"type": "string"},
            "at": {"type": "string", "format": "date-time"},
        },
    },
}
SCHEMA = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1},
        "mode": {"type": "string", "enum": ["fast", "slow"], "default": "fast"},
        "deep": {
            "type": "object",
            "properties": {"of": {"type": "string", "default": "course"}},
        },
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "anything": ANYTHING,
        "maybe": {"type": "string", "nullable": True},
        "blob": {"type": "string", "format": "byte"},
        "conditions": CONDITIONS,
    },
}


def test_unknown_fields_are_dropped_and_told() -> None:
    unknown: list[str] = []
    value = freeze(
        {
            "size": 1,
            "odd": 1,
            "deep": {"odd": 2},
            "labels": {"any": "a"},
            "anything": {"odd": {"deep": 3}},
            "conditions": [{"type": "A", "odd": 4}],
        }
    )
    assert pruned(value, SCHEMA, "", unknown) == {
        "size": 1,
        "deep": {},
        "labels": {"any": "a"},
        "anything": {"odd": {"deep": 3}},
        "conditions": [{"type": "A"}],
    }
    assert unknown == ["odd", "deep.odd", "conditions[0].odd"]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({}, {"mode": "fast"}),
        ({"mode": "slow", "deep": {}}, {"mode": "slow", "deep": {"of": "course"}}),
        ({"mode": None, "size": None, "maybe": None}, {"mode": "fast", "maybe": None}),
        ({"anything": {"null": None}}, {"mode": "fast", "anything": {"null": None}}),
    ],
)
def test_defaults_and_nulls(value: Any, wanted: Any) -> None:
    assert defaulted(freeze(value), SCHEMA) == wanted


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        ({"size": 1}, []),
        ({}, ["size"]),
        ({"size": 0}, ["size"]),
        ({"size": "1"}, ["size"]),
        ({"size": 1.5}, ["size"]),
        ({"size": True}, ["size"]),
        ({"size": 1, "mode": "odd"}, ["mode"]),
        ({"size": 1, "mode": 1}, ["mode"]),
        ({"size": 1, "labels": {"a": 1}}, ["labels.a"]),
        ({"size": 1, "labels": "a"}, ["labels"]),
        ({"size": 1, "anything": []}, ["anything"]),
        ({"size": 1, "blob": "AA=="}, []),
        ({"size": 1, "blob": "not base64!"}, ["blob"]),
        ({"size": 1, "conditions": [{}]}, ["conditions[0].type"]),
        ({"size": 1, "conditions": [{"type": "A"}, {"type": "A"}]}, ["conditions[1]"]),
        ({"size": 1, "conditions": [{"type": "A", "at": "2026-01-01T00:00:00Z"}]}, []),
        ({"size": 1, "conditions": [{"type": "A", "at": "today"}]}, ["conditions[0].at"]),
        ([], [""]),
    ],
)
def test_problems_name_the_field(value: Any, fields: list[str]) -> None:
    assert [problem.field for problem in problems(freeze(value), SCHEMA)] == fields
