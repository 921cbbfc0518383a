"""Strategic merge patches, by what each does to a list."""

from typing import Any

import pytest

from kaito.adapters.fake.http.statuses import Refusal
from kaito.adapters.fake.http.strategic_merge import strategic_merge
from kaito.adapters.kube_api import POD, SERVICE


def _patched(target: Any, patch: Any) -> Any:
    return strategic_merge(POD, target, patch)


@pytest.mark.parametrize(
    ("target", "patch", "wanted"),
    [
        ({"a": 1, "b": {"c": 1}}, {"a": None, "b": {"d": 2}}, {"b": {"c": 1, "d": 2}}),
        ({"b": {"c": 1}}, {"b": {"$patch": "replace", "d": 2}}, {"b": {"d": 2}}),
        ({"b": {"c": 1}}, {"b": {"$patch": "delete"}}, {"b": {}}),
        ({"b": {"c": 1, "d": 1}}, {"b": {"$retainKeys": ["d"], "d": 2}}, {"b": {"d": 2}}),
        ({"args": ["a"]}, {"args": ["b"]}, {"args": ["b"]}),
        ({"finalizers": ["a"]}, {"finalizers": ["b", "a"]}, {"finalizers": ["a", "b"]}),
        (
            {"finalizers": ["a", "b"]},
            {"$deleteFromPrimitiveList/finalizers": ["a"]},
            {"finalizers": ["b"]},
        ),
        (
            {"tolerations": [{"key": "a"}]},
            {"tolerations": [{"key": "b"}]},
            {"tolerations": [{"key": "b"}]},
        ),
        ({"taints": [{"key": "a"}]}, {"taints": [{"key": "b"}]}, {"taints": [{"key": "b"}]}),
    ],
)
def test_fields(target: Any, patch: Any, wanted: Any) -> None:
    assert _patched(target, patch) == wanted


def test_items_are_told_apart_by_their_key() -> None:
    target = {"env": [{"name": "a", "value": "1"}, {"name": "b", "value": "1"}]}
    patch = {"env": [{"name": "b", "value": "2"}, {"name": "c", "value": "3"}]}
    names = [(one["name"], one["value"]) for one in _patched(target, patch)["env"]]
    assert names == [("a", "1"), ("b", "2"), ("c", "3")]
    gone = {"env": [{"name": "a", "$patch": "delete"}]}
    assert [one["name"] for one in _patched(target, gone)["env"]] == ["b"]
    whole = {"env": [{"$patch": "replace"}, {"name": "z"}]}
    assert _patched(target, whole)["env"] == [{"name": "z"}]


def test_order_of_a_list() -> None:
    target = {"volumes": [{"name": "a"}, {"name": "mine"}, {"name": "b"}]}
    patch = {
        "$setElementOrder/volumes": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
        "volumes": [{"name": "c"}],
    }
    assert [one["name"] for one in _patched(target, patch)["volumes"]] == ["mine", "b", "c", "a"]
    only_order = {"$setElementOrder/volumes": [{"name": "b"}, {"name": "a"}]}
    assert [one["name"] for one in _patched(target, only_order)["volumes"]] == ["mine", "b", "a"]


def test_ports_of_a_service_have_another_key() -> None:
    target = {"ports": [{"port": 80, "targetPort": 1}]}
    patch = {"ports": [{"port": 80, "targetPort": 2}, {"port": 81}]}
    assert strategic_merge(SERVICE, target, patch)["ports"] == [
        {"port": 80, "targetPort": 2},
        {"port": 81},
    ]


@pytest.mark.parametrize("patch", [[], {"$patch": "sideways"}, {"env": [{"value": "1"}]}])
def test_patches_that_make_no_sense(patch: Any) -> None:
    with pytest.raises(Refusal) as caught:
        _patched({"env": []}, patch)
    assert caught.value.status["code"] == 400
