"""PodDisruptionBudgets and evictions, on any Kubernetes API whose disruption controller runs."""

from dataclasses import dataclass
from typing import Any

import pytest

from kaito.adapters.kube_api import (
    POD,
    STATEFUL_SET,
    InvalidObject,
    KubeObject,
    Resource,
    ServerUnavailable,
    name_of,
    thaw,
)
from tests.contract.kube_api_world import World

APP = {"app": "serving"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DisruptionWorld:
    """`budgets`: PodDisruptionBudgets in the version that the API serves."""

    kube: World
    budgets: Resource

    def pod(self, name: str, *, ready: bool = True, phase: str = "Running", **more: Any) -> None:
        """A pod on a Node, as its kubelet would have it."""
        more.setdefault("labels", APP)
        self.kube.pod(name, node=f"{self.kube.namespace}-node", **more)
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        self.tell(name, phase=phase, conditions=conditions)

    def tell(self, name: str, **status: Any) -> None:
        patch = {"status": status}
        self.kube.api.patch(POD, name, self.kube.namespace, patch, subresource="status")

    def budget(self, name: str = "budget", **spec: Any) -> None:
        spec.setdefault("selector", {"matchLabels": APP})
        body = self.kube.body(self.budgets, name, spec=spec)
        self.kube.api.create(self.budgets, body)

    def status(self, name: str = "budget") -> KubeObject:
        status: KubeObject = self.kube.get(self.budgets, name).get("status") or {}
        return status

    def counted(self, name: str = "budget", /, **wanted: int) -> dict[str, int]:
        """What the status says of these counts, once it says so or the controller had its time."""

        def found() -> dict[str, int]:
            return {key: self.status(name).get(key, 0) for key in wanted}

        self.kube.settle(lambda: found() == wanted)
        return found()

    def evict(self, name: str) -> None:
        self.kube.api.evict(name, self.kube.namespace)

    def is_leaving(self, name: str) -> bool:
        if not self.kube.exists(POD, name):
            return True
        return "deletionTimestamp" in self.kube.get(POD, name)["metadata"]

    def owner(self, replicas: int) -> dict[str, Any]:
        """A StatefulSet that says how many pods there should be, and makes none."""
        owner = thaw(self.kube.stateful_set("owner"))
        owner["spec"]["replicas"] = replicas
        owner = self.kube.api.replace(STATEFUL_SET, owner)
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "name": name_of(owner),
            "uid": owner["metadata"]["uid"],
            "controller": True,
        }


class DisruptionContract:
    """Subclasses bring the fixture `world`."""

    def test_no_more_than_the_budget_allows(self, world: DisruptionWorld) -> None:
        for name in ("one", "two"):
            world.pod(name)
        world.budget(minAvailable=1)
        wanted = {"expectedPods": 2, "currentHealthy": 2, "desiredHealthy": 1}
        assert world.counted(**wanted, disruptionsAllowed=1) == {**wanted, "disruptionsAllowed": 1}
        world.evict("one")
        assert world.is_leaving("one")
        with pytest.raises(ServerUnavailable, match="violate the pod's disruption budget") as told:
            world.evict("two")
        assert told.value.code == 429
        assert not world.is_leaving("two")
        left = {"currentHealthy": 1, "disruptionsAllowed": 0}
        assert world.counted(**left) == left
        world.evict("one")  # it goes already

    def test_who_becomes_ready_may_be_followed(self, world: DisruptionWorld) -> None:
        world.pod("one")
        world.pod("two", ready=False)
        world.budget(minAvailable=1)
        assert world.counted(expectedPods=2, disruptionsAllowed=0)["expectedPods"] == 2
        with pytest.raises(ServerUnavailable):
            world.evict("one")
        world.tell("two", conditions=[{"type": "Ready", "status": "True"}])
        assert world.counted(disruptionsAllowed=1) == {"disruptionsAllowed": 1}
        world.evict("one")
        assert world.is_leaving("one")

    @pytest.mark.parametrize(
        ("spec", "needed"),
        [
            ({"maxUnavailable": 1}, 2),
            ({"maxUnavailable": "34%"}, 1),
            ({"maxUnavailable": 5}, 0),
            ({"minAvailable": "50%"}, 2),
        ],
    )
    def test_shares_of_what_there_should_be(
        self, world: DisruptionWorld, spec: dict[str, Any], needed: int
    ) -> None:
        owner = world.owner(replicas=3)
        for name in ("one", "two"):
            world.pod(name, ownerReferences=[owner])
        world.budget(**spec)
        wanted = {"expectedPods": 3, "currentHealthy": 2, "desiredHealthy": needed}
        assert world.counted(**wanted) == wanted
        assert world.counted(disruptionsAllowed=2 - needed) == {"disruptionsAllowed": 2 - needed}

    def test_an_owner_without_replicas(self, world: DisruptionWorld) -> None:
        node = world.kube.node("owner")
        owner = {"apiVersion": "v1", "kind": "Node", "name": name_of(node), "controller": True}
        owner["uid"] = node["metadata"]["uid"]
        world.pod("one", ownerReferences=[owner])
        world.budget(maxUnavailable=1)
        world.kube.settle(lambda: "observedGeneration" in world.status())
        assert world.status().get("disruptionsAllowed", 0) == 0
        with pytest.raises(ServerUnavailable):
            world.evict("one")

    def test_pods_that_are_not_covered(self, world: DisruptionWorld) -> None:
        world.pod("one", labels={"app": "other"})
        world.pod("two", phase="Succeeded", ready=False)
        world.budget(minAvailable=2)
        world.counted(expectedPods=1)
        for name in ("one", "two"):
            world.evict(name)
            assert world.is_leaving(name)

    @pytest.mark.parametrize(
        ("spec", "field"),
        [
            ({"minAvailable": -1}, "spec.minAvailable"),
            ({"minAvailable": "half"}, "spec.minAvailable"),
            ({"maxUnavailable": "101%"}, "spec.maxUnavailable"),
            ({"minAvailable": 1, "maxUnavailable": 1}, "spec"),
            (
                {"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
                "spec.selector.matchExpressions[0].operator",
            ),
        ],
    )
    def test_a_budget_that_cannot_be(
        self, world: DisruptionWorld, spec: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(InvalidObject) as told:
            world.budget(**spec)
        assert field in told.value.causes

    def test_several_budgets_are_one_too_many(self, world: DisruptionWorld) -> None:
        world.pod("one")
        chosen = [{"key": "app", "operator": "In", "values": ["serving"]}]
        world.budget("first", minAvailable=0)
        world.budget("second", minAvailable=0, selector={"matchExpressions": chosen})
        for name in ("first", "second"):
            assert world.counted(name, disruptionsAllowed=1) == {"disruptionsAllowed": 1}
        with pytest.raises(ServerUnavailable, match="more than one PodDisruptionBudget") as told:
            world.evict("one")
        assert told.value.code == 500
        assert not world.is_leaving("one")
