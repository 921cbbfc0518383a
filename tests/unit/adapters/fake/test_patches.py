"""JSON merge patch (RFC 7386, appendix A) and JSON patch (RFC 6902, appendix A)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.fake.patches import json_patch, merge_patch
from kaito.adapters.fake.snapshots import share
from kaito.adapters.kube_api import InvalidObject, freeze, thaw

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("target", "patch", "wanted"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, wanted: Any) -> None:
    assert merge_patch(freeze(target), patch) == wanted


@pytest.mark.parametrize(
    ("target", "operation", "wanted"),
    [
        ({"foo": "bar"}, ("add", "/baz", "qux"), {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar"]}, ("add", "/foo/0", "qux"), {"foo": ["qux", "bar"]}),
        ({"foo": [1]}, ("add", "/foo/1", 2), {"foo": [1, 2]}),
        ({"foo": [1]}, ("add", "/foo/-", [2]), {"foo": [1, [2]]}),
        ({"foo": 1}, ("add", "", [2]), [2]),
        ({"a/b": 1, "m~n": 2}, ("replace", "/m~0n", 3), {"a/b": 1, "m~n": 3}),
        ({"a": [1, 2]}, ("replace", "/a/1", 3), {"a": [1, 3]}),
        ({"": 1}, ("replace", "/", 2), {"": 2}),
        ({"a": [{"b": 1}]}, ("test", "/a", [{"b": 1}]), {"a": [{"b": 1}]}),
    ],
)
def test_json_patch(target: Any, operation: tuple[str, str, Any], wanted: Any) -> None:
    verb, path, value = operation
    before = freeze(target)
    assert json_patch(before, [{"op": verb, "path": path, "value": value}]) == wanted
    assert before == target


def test_json_patch_moves_and_copies() -> None:
    target = freeze({"foo": {"bar": 1, "list": [1, 2, 3]}})
    moved = json_patch(target, [{"op": "move", "from": "/foo/list/2", "path": "/foo/list/0"}])
    assert moved == {"foo": {"bar": 1, "list": [3, 1, 2]}}
    copied = json_patch(target, [{"op": "copy", "from": "/foo", "path": "/foo/bar"}])
    assert copied["foo"]["bar"] == target["foo"]
    gone = json_patch(target, [{"op": "remove", "path": "/foo/list/1"}])
    assert gone["foo"]["list"] == [1, 3]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/a/b/c", "value": 1},
        {"op": "add", "path": "/list/3", "value": 1},
        {"op": "add", "path": "/list/01", "value": 1},
        {"op": "add", "path": "/list/x", "value": 1},
        {"op": "add", "path": "no-slash", "value": 1},
        {"op": "add", "path": "/new"},
        {"op": "remove", "path": "/absent"},
        {"op": "remove", "path": "/list/2"},
        {"op": "remove", "path": ""},
        {"op": "replace", "path": "/absent", "value": 1},
        {"op": "move", "from": "/list", "path": "/list/0"},
        {"op": "copy", "from": "/absent", "path": "/a"},
        {"op": "test", "path": "/one", "value": True},
        {"op": "test", "path": "/one", "value": 2},
        {"op": "unknown", "path": "/one"},
        {"op": "remove"},
    ],
)
def test_json_patch_that_does_not_apply(operation: dict[str, Any]) -> None:
    with pytest.raises(InvalidObject) as caught:
        json_patch(freeze({"one": 1, "list": [1, 2]}), [operation])
    assert caught.value.code == 422


@given(JSON, JSON)
def test_share_gives_the_new_value_and_says_whether_it_is_the_old(new: Any, old: Any) -> None:
    before = freeze(old)
    after = share(new, before)
    assert repr(thaw(after)) == repr(new) or after == new
    same = repr(new) == repr(old)
    assert share(thaw(before), before) is before
    if same:
        assert after is before or not isinstance(before, dict | list)


@given(JSON, JSON)
def test_merge_patch_is_idempotent(target: Any, patch: Any) -> None:
    once = merge_patch(freeze(target), patch)
    assert merge_patch(freeze(once), patch) == once
