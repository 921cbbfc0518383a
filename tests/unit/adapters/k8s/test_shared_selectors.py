"""Who shares matchLabels with whom, by events alone."""

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.k8s.shared_selectors import SHARING_LIMIT, SharedSelectors
from kaito.domain import labels


def stored(name: str, namespace: str = "default", **match_labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace},
        "resource": {"labelSelector": {"matchLabels": match_labels}},
    }


def test_equal_labels_of_one_namespace_are_shared() -> None:
    index = SharedSelectors()
    assert index.note(stored("a", apps="x"), gone=False) == []
    assert index.note(stored("b", apps="x"), gone=False) == ["a"]
    assert index.note(stored("c", apps="y"), gone=False) == []
    assert index.note(stored("d", "other", apps="x"), gone=False) == []
    assert index.sharing("default", "a") == ["b"]
    assert index.sharing("default", "c") == []
    assert index.sharing("other", "d") == []
    assert index.sharing("default", "unknown") == ()


def test_an_event_that_changes_no_label_wakes_nobody() -> None:
    index = SharedSelectors()
    index.note(stored("a", apps="x"), gone=False)
    index.note(stored("b", apps="x"), gone=False)
    assert index.note(stored("b", apps="x"), gone=False) == []


def test_labels_that_kaito_sets_do_not_count() -> None:
    index = SharedSelectors()
    mine = stored("a")
    mine["resource"]["labelSelector"]["matchLabels"] = {"apps": "x", labels.SLOT: "1"}
    index.note(mine, gone=False)
    assert index.note(stored("b", apps="x"), gone=False) == ["a"]


def test_what_selects_nothing_shares_nothing() -> None:
    index = SharedSelectors()
    for name in ("a", "b"):
        assert index.note({"metadata": {"name": name, "namespace": "n"}}, gone=False) == []
    assert index.sharing("n", "a") == ()


def test_who_goes_or_is_being_deleted_is_told_to_the_others() -> None:
    index = SharedSelectors()
    for name in ("a", "b", "c"):
        index.note(stored(name, apps="x"), gone=False)
    assert index.note(stored("c", apps="x"), gone=True) == ["a", "b"]
    leaving = stored("b", apps="x")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert index.note(leaving, gone=False) == ["a"]
    assert index.sharing("default", "a") == []
    index.note(stored("b", apps="x"), gone=False)
    index.forget()
    assert index.sharing("default", "a") == ()


def test_of_many_only_those_wake_that_are_told_something_new() -> None:
    index = SharedSelectors()
    names = [f"w{number:03}" for number in range(200)]
    woken = sum(len(index.note(stored(name, apps="x"), gone=False)) for name in names)
    assert woken < len(names)
    assert index.sharing("default", names[0]) == names[1 : SHARING_LIMIT + 1]
    assert index.sharing("default", names[-1]) == names[:SHARING_LIMIT]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2), st.booleans()), max_size=60))
def test_what_is_told_follows_from_what_is_there(events: list[tuple[int, int, bool]]) -> None:
    """However it came about; and whoever is told something else than before was woken."""
    index, there = SharedSelectors(), dict[str, str]()
    names = [f"w{number}" for number in range(8)]
    Random(0).shuffle(names)
    told = {name: list(index.sharing("default", name)) for name in names}
    for number, label, gone in events:
        name = names[number]
        woken = {name, *index.note(stored(name, apps=str(label)), gone=gone)}
        there.pop(name, None)
        if not gone:
            there[name] = str(label)
        for each in names:
            others = sorted(o for o in there if o != each and there[o] == there.get(each))
            found = list(index.sharing("default", each))
            assert found == others[:SHARING_LIMIT]
            assert found == told[each] or each in woken
            told[each] = found
