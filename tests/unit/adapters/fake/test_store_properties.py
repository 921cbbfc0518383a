"""The store against the simplest thing that could be right: a dict, and the events replayed."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.fake.watch_log import LogWatch
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    NAMESPACE,
    POD,
    AlreadyExists,
    EventType,
    KubeObject,
    ObjectNotFound,
    WatchEvent,
    labels_of,
    name_of,
    namespace_of,
)

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
NAMESPACES = st.sampled_from(["default", "n1", "n2"])
LABELS = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["x", "y", ""]))
NODES = st.sampled_from(["", "node-1", "node-2"])
Key = tuple[str, str]


def key_of(obj: KubeObject) -> Key:
    return namespace_of(obj), name_of(obj)


def replayed(state: dict[Key, KubeObject], events: list[WatchEvent]) -> None:
    for event in events:
        key = key_of(event.object)
        if event.type is EventType.ADDED:
            assert key not in state
            state[key] = event.object
        elif event.type is EventType.MODIFIED:
            assert state[key] != event.object
            state[key] = event.object
        else:
            del state[key]


class StoreMachine(RuleBasedStateMachine):
    """Random writes to pods; then every way to read them must tell the same."""

    def __init__(self) -> None:
        super().__init__()
        numbers = itertools.count(1)
        self.store = ObjectStore(
            now_s=lambda: 1_800_000_000.0, new_uid=lambda: f"uid-{next(numbers)}", history=1000
        )
        for name in ("n1", "n2"):
            self.store.create(NAMESPACE, {"metadata": {"name": name}})
        self.model: dict[Key, tuple[Mapping[str, str], str]] = {}
        self.watches: list[tuple[LogWatch, dict[Key, KubeObject], str | None]] = []

    @initialize()
    def watch_from_the_start(self) -> None:
        self._watch(None)
        self._watch("n1")

    def _watch(self, namespace: str | None) -> None:
        listed = self.store.list(POD, namespace)
        watch = self.store.watch(POD, namespace, resource_version=listed.resource_version)
        self.watches.append((watch, {key_of(obj): obj for obj in listed.items}, namespace))

    @rule(namespace=NAMESPACES)
    def watch_from_now(self, namespace: str) -> None:
        self._watch(namespace)

    @rule(namespace=NAMESPACES, name=NAMES, labels=LABELS, node=NODES)
    def create(self, namespace: str, name: str, labels: dict[str, str], node: str) -> None:
        spec: dict[str, Any] = {"containers": [{"name": "main", "image": "i:1"}], "nodeName": node}
        meta = {"name": name, "namespace": namespace, "labels": labels}
        if (namespace, name) in self.model:
            with pytest.raises(AlreadyExists):
                self.store.create(POD, {"metadata": meta, "spec": spec})
            return
        self.store.create(POD, {"metadata": meta, "spec": spec})
        self.model[namespace, name] = (labels, node)

    @rule(namespace=NAMESPACES, name=NAMES, labels=LABELS)
    def relabel(self, namespace: str, name: str, labels: dict[str, str]) -> None:
        operations = [{"op": "add", "path": "/metadata/labels", "value": labels}]
        if (namespace, name) not in self.model:
            with pytest.raises(ObjectNotFound):
                self.store.patch(POD, name, namespace, operations, patch_type="json")
            return
        self.store.patch(POD, name, namespace, operations, patch_type="json")
        self.model[namespace, name] = (labels, self.model[namespace, name][1])

    @rule(namespace=NAMESPACES, name=NAMES, phase=st.sampled_from(["Pending", "Running"]))
    def set_phase(self, namespace: str, name: str, phase: str) -> None:
        if (namespace, name) in self.model:
            patch = {"status": {"phase": phase}}
            self.store.patch(POD, name, namespace, patch, subresource="status")

    @rule(namespace=NAMESPACES, name=NAMES, node=st.sampled_from(["node-1", "node-2"]))
    def bind(self, namespace: str, name: str, node: str) -> None:
        labels, bound_to = self.model.get((namespace, name), ({}, "absent"))
        if not bound_to:
            self.store.patch(POD, name, namespace, {"spec": {"nodeName": node}})
            self.model[namespace, name] = (labels, node)

    @rule(namespace=NAMESPACES, name=NAMES)
    def delete(self, namespace: str, name: str) -> None:
        if self.model.pop((namespace, name), None) is not None:
            self.store.delete(POD, name, namespace, grace_period_s=0)

    @rule(limit=st.integers(1, 4))
    def read_in_pages(self, limit: int) -> None:
        whole = self.store.list(POD)
        page = self.store.list(POD, limit=limit)
        items = list(page.items)
        while page.continue_token:
            page = self.store.list(POD, limit=limit, continue_token=page.continue_token)
            items += page.items
        assert tuple(items) == whole.items

    @invariant()
    def lists_agree_with_the_model(self) -> None:
        assert [key_of(obj) for obj in self.store.list(POD).items] == sorted(self.model)
        for namespace in (None, "n1"):
            keys = sorted(key for key in self.model if namespace in {None, key[0]})
            for wanted in ({"app": "x"}, {"app": "y", "tier": ""}):
                found = self.store.list(POD, namespace, labels=wanted).items
                assert [key_of(obj) for obj in found] == [
                    key for key in keys if wanted.items() <= self.model[key][0].items()
                ]
                assert all(wanted.items() <= labels_of(obj).items() for obj in found)
            found = self.store.list(POD, namespace, fields={"spec.nodeName": "node-1"}).items
            assert [key_of(obj) for obj in found] == [
                key for key in keys if self.model[key][1] == "node-1"
            ]

    @invariant()
    def watches_replay_to_the_same_state(self) -> None:
        for watch, state, namespace in self.watches:
            replayed(state, list(watch.poll()))
            assert state == {key_of(obj): obj for obj in self.store.list(POD, namespace).items}


def test_store_against_a_model() -> None:
    run_state_machine_as_test(StoreMachine)


def test_a_watch_with_a_selector_replays_to_the_selected_state() -> None:
    numbers = itertools.count(1)
    store = ObjectStore(now_s=lambda: 0.0, new_uid=lambda: f"uid-{next(numbers)}")
    wanted = {"app": "x"}
    watch = store.watch(CONFIG_MAP, resource_version=store.resource_version, labels=wanted)
    state: dict[Key, KubeObject] = {}
    for index in range(40):
        name, app = f"c{index * 7 % 5}", "xy"[index * 3 % 4 // 2]
        meta = {"name": name, "namespace": "default", "labels": {"app": app}}
        try:
            if index % 6 == 5:
                store.delete(CONFIG_MAP, name, "default")
            else:
                store.create(CONFIG_MAP, {"metadata": meta})
        except AlreadyExists:
            store.patch(CONFIG_MAP, name, "default", {"metadata": meta, "data": {"n": str(index)}})
        except ObjectNotFound:
            continue
        if index % 3 == 0:
            replayed(state, list(watch.poll()))
    replayed(state, list(watch.poll()))
    found = store.list(CONFIG_MAP, labels=wanted).items
    assert state == {key_of(obj): obj for obj in found}
    assert found
