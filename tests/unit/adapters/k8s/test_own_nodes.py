"""Store and controller where users bring their Nodes and the cluster knows no NodeClaims."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s.controller import Controller, Key
from kaito.adapters.k8s.informer import INFORMED, InformerCache
from kaito.adapters.k8s.karpenter import NodeClaimsOnly
from kaito.adapters.k8s.workspace_store import KubeWorkspaceStore
from kaito.adapters.kube_api import (
    NODE,
    NODE_CLAIM,
    POD,
    STATEFUL_SET,
    WORKSPACE,
    KubeObject,
    ObjectList,
    Resource,
    ServerUnavailable,
    annotations_of,
)
from kaito.bootstrap import kubernetes_ports
from kaito.domain import labels
from kaito.domain.cluster_view import ClusterView
from kaito.domain.provisioner import Provisioner
from kaito.reconcile import Outcome, Steps
from tests.unit.adapters.k8s.conftest import Clock
from tests.unit.domain.builders import A10_LABELS, CATALOGUE, MINI

Apply = Callable[..., KubeObject]
PHI = Key("Workspace", "default", "phi")
MINE = {"apps": "phi"}
SHAPE = "nvidia.com/gpu.count=1,nvidia.com/gpu.product=NVIDIA-A10"


class WithoutNodeClaims(ObjectStore):
    """A cluster in which Karpenter's kinds were never installed."""

    def list(self, resource: Resource, *args: Any, **kwargs: Any) -> ObjectList:
        if resource == NODE_CLAIM:
            raise ServerUnavailable("the server could not find the requested resource")
        return super().list(resource, *args, **kwargs)


@pytest.fixture
def store(clock: Clock) -> WithoutNodeClaims:
    numbers = iter(range(10**6))
    return WithoutNodeClaims(now_s=clock.now_s, new_uid=lambda: f"uid-{next(numbers)}")


def add_node(store: ObjectStore, name: str, found: dict[str, str]) -> None:
    status = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "allocatable": {"nvidia.com/gpu": "1"},
    }
    store.create(NODE, {"metadata": {"name": name, "labels": found}, "status": status})


def add_pod(store: ObjectStore, node_name: str) -> None:
    metadata = {"name": "phi-0", "namespace": "default", "labels": {labels.WORKSPACE: "phi"}}
    containers = [{"name": "a", "image": "a"}]
    spec = {"containers": containers, "nodeName": node_name}
    store.create(POD, {"metadata": metadata, "spec": spec})


def observed(store: ObjectStore, clock: Clock) -> ClusterView:
    port = KubeWorkspaceStore(store, clock, Provisioner.BYO)
    view = port.read_workspace("default", "phi")
    assert view is not None
    return port.observe(view.workspace)


def test_nodes_are_found_by_the_users_labels(
    store: ObjectStore, clock: Clock, apply: Apply
) -> None:
    apply(instance_type="")
    add_node(store, "b", MINE)
    add_node(store, "a", {**MINE, "more": "x"})
    add_node(store, "other", {"apps": "other"})
    found = observed(store, clock)
    assert [node.name for node in found.nodes] == ["a", "b"]
    assert (found.machines, found.made_for, found.has_workload) == ((), "", False)


def test_expressions_alone_look_at_all_nodes(
    store: ObjectStore, clock: Clock, apply: Apply
) -> None:
    expression = {"key": "apps", "operator": "Exists"}
    apply(instance_type="", resource={"labelSelector": {"matchExpressions": [expression]}})
    add_node(store, "a", MINE)
    add_node(store, "bare", {})
    assert [node.name for node in observed(store, clock).nodes] == ["a", "bare"]


def test_a_selector_that_selects_nothing_finds_nothing(
    store: ObjectStore, clock: Clock, apply: Apply
) -> None:
    apply(instance_type="", resource={"labelSelector": {}})
    add_node(store, "a", MINE)
    assert observed(store, clock).nodes == ()


def test_the_node_of_a_pod_is_seen_whatever_its_labels(
    store: ObjectStore, clock: Clock, apply: Apply
) -> None:
    apply(instance_type="")
    add_node(store, "bare", {})
    add_pod(store, "bare")
    assert [node.name for node in observed(store, clock).nodes] == ["bare"]
    store.delete(NODE, "bare")
    assert observed(store, clock).nodes == ()


class World:
    """A controller that reads from a cache, as production's does."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self.store, self.clock = store, clock
        informed = tuple(each for each in INFORMED if each is not NODE_CLAIM)
        self.cache = InformerCache(store, informed)
        ports = kubernetes_ports(
            self.cache,
            live=store,
            cloud=NodeClaimsOnly(),
            clock=clock,
            catalogue=CATALOGUE,
            provisioner=Provisioner.BYO,
        )
        self.controller = Controller(self.cache, ports, lambda: None)

    def rounds(self) -> list[Key]:
        """Run what is due, and what that makes due; the keys, in order."""
        found = []
        self.controller.poll(self.clock.now_s())
        while (taken := self.controller.take(self.clock.now_s())) is not None:
            key, steps = taken
            outcome = drained(steps)
            assert outcome.error is None
            self.controller.done(key, self.clock.now_s(), outcome)
            found.append(key)
            self.controller.poll(self.clock.now_s())
        return found


def drained(steps: Steps) -> Outcome:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome


@pytest.fixture
def world(store: WithoutNodeClaims, clock: Clock) -> Iterator[World]:
    world = World(store, clock)
    yield world
    world.controller.close()


def test_from_apply_to_a_workload_without_a_node_claim(world: World, apply: Apply) -> None:
    apply(instance_type="")
    assert set(world.rounds()) == {PHI}
    assert world.store.list(STATEFUL_SET).items == ()
    add_node(world.store, "gpu-0", {**MINE, **A10_LABELS})
    assert set(world.rounds()) == {PHI}
    (made,) = world.store.list(STATEFUL_SET).items
    assert annotations_of(made)[labels.NODE_SHAPE] == SHAPE
    assert observed(world.store, world.clock).made_for == SHAPE
    assert observed(world.store, world.clock).has_workload
    assert "finalizers" not in world.store.get(WORKSPACE, "phi", "default")["metadata"]


def test_only_what_matters_of_a_node_wakes_those_on_it(world: World, apply: Apply) -> None:
    apply(instance_type="")
    other = {"labelSelector": {"matchLabels": {"apps": "other"}}}
    apply(name="other", instance_type="", resource=other)
    add_node(world.store, "gpu-0", {**MINE, **A10_LABELS})
    assert PHI in world.rounds()
    beat = {"status": {"conditions": [{"type": "Ready", "status": "True", "message": "beat"}]}}
    world.store.patch(NODE, "gpu-0", None, beat, subresource="status")
    assert world.rounds() == []
    world.store.patch(NODE, "gpu-0", None, {"spec": {"unschedulable": True}})
    assert set(world.rounds()) == {PHI}
    world.store.delete(NODE, "gpu-0")
    assert set(world.rounds()) == {PHI}


def test_orphans_are_nobodys_here(world: World) -> None:
    assert world.rounds() == []
    assert world.controller.next_due_s() is None


def test_a_workspace_that_is_gone_is_woken_by_nothing(world: World, apply: Apply) -> None:
    apply(instance_type="", inference={"preset": {"name": MINI}, "config": "settings"})
    world.rounds()
    world.store.delete(WORKSPACE, "phi", "default")
    world.rounds()
    add_node(world.store, "gpu-0", {**MINE, **A10_LABELS})
    assert world.rounds() == []


def test_what_kaito_made_is_adopted_with_what_it_was_sized_for(
    store: ObjectStore, clock: Clock, apply: Apply
) -> None:
    created = apply(instance_type="")
    add_node(store, "gpu-0", {**MINE, **A10_LABELS})
    port = KubeWorkspaceStore(store, clock, Provisioner.BYO)
    view = port.read_workspace("default", "phi")
    assert view is not None
    pod = {"containers": [{"name": "a", "image": "a"}]}
    reference = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "name": "phi",
        "uid": created["metadata"]["uid"],
    }
    template = {"metadata": {"labels": {labels.WORKSPACE: "phi"}}, "spec": pod}
    body = {
        "metadata": {"name": "phi", "namespace": "default", "ownerReferences": [reference]},
        "spec": {
            "serviceName": "phi",
            "selector": {"matchLabels": {labels.WORKSPACE: "phi"}},
            "template": template,
        },
    }
    before = store.create(STATEFUL_SET, body)
    world = World(store, clock)
    world.rounds()
    after = store.get(STATEFUL_SET, "phi", "default")
    assert after["spec"] == before["spec"]
    assert annotations_of(after)[labels.NODE_SHAPE] == SHAPE
    assert annotations_of(after)[labels.TEMPLATE_HASH].startswith("adopted-")
    world.controller.close()
