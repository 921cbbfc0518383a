"""Only what kaito sets counts, and every change of that is found."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.adapters.k8s.comparison import differences
from kaito.adapters.kube_api import freeze, thaw

KEYS = st.sampled_from(["a", "b", "c", "d"])
LEAVES = st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["x", "y", ""])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, TREES, max_size=4)


def grown(value: Any, draw: st.DataObject) -> Any:
    """The value with keys that somebody else added to its mappings."""
    if isinstance(value, dict):
        extra = draw.draw(st.dictionaries(st.sampled_from(["+1", "+2"]), TREES, max_size=2))
        return extra | {key: grown(item, draw) for key, item in value.items()}
    if isinstance(value, list):
        return [grown(item, draw) for item in value]
    return value


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path


def text_of(path: tuple[Any, ...]) -> str:
    found = ""
    for step in path:
        found += f"[{step}]" if isinstance(step, int) else f".{step}" if found else step
    return found


@settings(max_examples=40, deadline=None)
@given(OBJECTS, st.data())
def test_what_others_add_is_no_difference(wanted: dict[str, Any], data: st.DataObject) -> None:
    live = grown(wanted, data)
    assert differences(wanted, live) == []
    assert differences(freeze(wanted), freeze(live)) == []


@settings(max_examples=40, deadline=None)
@given(OBJECTS, st.data())
def test_every_changed_leaf_is_found(wanted: dict[str, Any], data: st.DataObject) -> None:
    paths = list(leaves(wanted))
    if not paths:
        return
    path = data.draw(st.sampled_from(paths))
    live = thaw(grown(wanted, data))
    *steps, last = path
    place = live
    for step in steps:
        place = place[step]
    place[last] = "changed"
    assert differences(wanted, live) == [text_of(path)]


@settings(max_examples=40, deadline=None)
@given(OBJECTS, st.data())
def test_a_missing_key_is_found_unless_it_is_empty(
    wanted: dict[str, Any], data: st.DataObject
) -> None:
    if not wanted:
        return
    key = data.draw(st.sampled_from(sorted(wanted)))
    live = {other: value for other, value in wanted.items() if other != key}
    assert differences(wanted, live) == ([] if _says_nothing(wanted[key]) else [key])


def _says_nothing(value: Any) -> bool:
    return value is False or value in ([], {})


@pytest.mark.parametrize(
    ("wanted", "live", "paths"),
    [
        ({"a": {"b": 1}}, {"a": None}, ["a"]),
        ({"a": {"b": 1}}, {"a": [1]}, ["a"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a"]),
        ({"a": [1]}, {"a": {"0": 1}}, ["a"]),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1, "c": 3}, {"b": 3}]}, ["a[1].b"]),
        ({"a": 1, "b": {"c": 2}}, {}, ["a", "b"]),
        ({"a": ""}, {}, ["a"]),
        ({"a": 0}, {"a": False}, []),
        ({"a": False, "b": {"c": False}}, {"b": {}}, []),
        ({"a": False}, {"a": True}, ["a"]),
        ({"a": True}, {}, ["a"]),
        ({"a": 1}, [], ["."]),
    ],
)
def test_paths(wanted: Any, live: Any, paths: list[str]) -> None:
    assert differences(wanted, live) == paths
