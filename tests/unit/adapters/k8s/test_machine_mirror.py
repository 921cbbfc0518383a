from typing import Any

import jsonschema
import pytest

from kaito.adapters.fake.store import SERVED, ObjectStore
from kaito.adapters.k8s import crds
from kaito.adapters.k8s.machine_mirror import MachineMirror, check_machines_served, mirror_of
from kaito.adapters.k8s.node_claims import to_node_claim
from kaito.adapters.k8s.runner import drain
from kaito.adapters.kube_api import (
    MACHINE,
    NODE_CLAIM,
    Forbidden,
    KubeApiError,
    KubeObject,
    ObjectList,
    Resource,
    ServerUnavailable,
)
from kaito.domain import labels
from kaito.domain.errors import Conflict, InvalidInput, Rejected
from tests.unit.adapters.k8s.conftest import Clock
from tests.unit.domain.builders import A10, UID, machine_spec

NAME = machine_spec().name


def claim(**parts: Any) -> dict[str, Any]:
    """A NodeClaim of kaito's as it is stored."""
    made = to_node_claim(machine_spec())
    made["metadata"]["uid"] = "uid-of-claim"
    made["metadata"]["labels"][labels.NODE_POOL] = labels.NODE_POOL_KAITO
    return {**made, **parts}


def condition(kind: str, status: str = "True", **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z", **more}


class Answering(ObjectStore):
    """A store that serves Machines, and may answer lists with an error."""

    problem: KubeApiError | None = None

    def list(self, resource: Resource, *args: Any, **kwargs: Any) -> ObjectList:
        if self.problem is not None:
            raise self.problem
        return super().list(resource, *args, **kwargs)


@pytest.fixture
def served(clock: Clock) -> Answering:
    numbers = iter(range(10**6))
    return Answering(
        now_s=clock.now_s, new_uid=lambda: f"uid-{next(numbers)}", resources=(*SERVED, MACHINE)
    )


def test_all_of_a_claim_that_was_just_made() -> None:
    assert mirror_of(claim()) == {
        "apiVersion": "karpenter.sh/v1alpha5",
        "kind": "Machine",
        "metadata": {
            "name": NAME,
            "labels": {
                "apps": "phi",
                "kaito.sh/slot": "0",
                "kaito.sh/workspace": "phi",
                "kaito.sh/workspace-uid": UID,
                "kaito.sh/workspacenamespace": "default",
                "karpenter.sh/provisioner-name": "default",
            },
            "ownerReferences": [
                {
                    "apiVersion": "karpenter.sh/v1",
                    "kind": "NodeClaim",
                    "name": NAME,
                    "uid": "uid-of-claim",
                    "controller": True,
                }
            ],
        },
        "spec": {
            "machineTemplateRef": {"kind": "KaitoNodeClass", "name": "default"},
            "requirements": [
                {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [A10]},
                {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
                {"key": "karpenter.azure.com/sku-name", "operator": "In", "values": [A10]},
                {"key": "karpenter.sh/provisioner-name", "operator": "In", "values": ["default"]},
                {"key": "kaito.sh/machine-type", "operator": "In", "values": ["gpu"]},
            ],
            "resources": {"requests": {"storage": "87Gi", "nvidia.com/gpu": "1"}},
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
        },
        "status": {},
    }


def test_the_conditions_have_their_old_names_and_our_reasons() -> None:
    found = claim(
        status={
            "nodeName": "",
            "conditions": [
                condition("Ready", "Unknown", reason="NodeNotFound", message="", severity="x"),
                condition("Launched", reason="Launched", observedGeneration=1),
                condition("Registered", "Unknown", reason="NodeNotFound", message="no Node yet"),
                condition("Initialized", "Unknown", reason="NodeNotFound"),
                condition("Drained", "Unknown", reason="Draining"),
            ],
        }
    )
    assert mirror_of(found)["status"] == {
        "conditions": [
            condition("MachineLaunched", reason="Launched"),
            condition("MachineRegistered", "Unknown", reason="NodeNotFound", message="no Node yet"),
            condition("MachineInitialized", "Unknown", reason="NodeNotFound"),
            condition("Ready", "Unknown", reason="NodeNotFound"),
        ]
    }


def test_what_the_claim_says_of_its_size_comes_before_what_the_node_says() -> None:
    node = {"status": {"capacity": {"cpu": "36"}, "allocatable": {"cpu": "35"}}}
    found = claim(status={"nodeName": "n", "capacity": {"cpu": "40"}})
    assert mirror_of(found, node)["status"] == {
        "nodeName": "n",
        "capacity": {"cpu": "40"},
        "allocatable": {"cpu": "35"},
    }


def test_of_what_others_put_into_a_claim_only_what_machines_had_is_shown() -> None:
    found = claim(
        spec={
            "requirements": [
                {"key": "a", "operator": "Exists", "minValues": 2},
                {"key": labels.NODE_POOL, "operator": "In", "values": ["kaito"]},
                {"key": labels.MACHINE_TYPE, "operator": "In", "values": ["other"]},
            ],
            "startupTaints": [{"key": "wait", "effect": "NoExecute"}],
            "expireAfter": "Never",
        }
    )
    found["metadata"]["labels"][labels.MACHINE_TYPE] = "cpu"
    assert mirror_of(found)["spec"] == {
        "requirements": [
            {"key": "a", "operator": "Exists"},
            {"key": "karpenter.sh/provisioner-name", "operator": "In", "values": ["default"]},
            {"key": "kaito.sh/machine-type", "operator": "In", "values": ["cpu"]},
        ],
        "startupTaints": [{"key": "wait", "effect": "NoExecute"}],
    }


def test_nothing_of_a_machine_is_pruned() -> None:
    (version,) = crds.machine_crd()["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    for part in ("spec", "status"):
        assert schema["properties"][part]["x-kubernetes-preserve-unknown-fields"] is True
    assert list(jsonschema.Draft7Validator(schema).iter_errors(mirror_of(claim()))) == []


class Refusing(Answering):
    """Nobody may create a Machine, or it was created just now by somebody else."""

    answer: type[KubeApiError] = Forbidden

    def create(self, resource: Resource, body: KubeObject) -> KubeObject:
        if resource is MACHINE:
            raise self.answer("not you")
        return super().create(resource, body)


def test_a_write_that_fails_ends_the_round(clock: Clock) -> None:
    numbers = iter(range(10**6))
    store = Refusing(
        now_s=clock.now_s, new_uid=lambda: f"uid-{next(numbers)}", resources=(*SERVED, MACHINE)
    )
    store.create(NODE_CLAIM, to_node_claim(machine_spec()))
    outcome = drain(MachineMirror(store).round(NAME))
    assert isinstance(outcome.error, Rejected)
    assert outcome.failed


def test_a_version_that_is_old_is_read_again(served: Answering) -> None:
    """Somebody writes between the read and the write of a round."""
    served.create(NODE_CLAIM, to_node_claim(machine_spec()))
    mirror = MachineMirror(served)
    drain(mirror.round(NAME))
    served.patch(MACHINE, NAME, None, {"spec": {"taints": None}})
    steps = mirror.round(NAME)
    for _ in range(3):  # the NodeClaim, the Node, and the Machine are read
        next(steps)
    served.patch(MACHINE, NAME, None, {"spec": {"startupTaints": []}})
    assert isinstance(drain(steps).error, Conflict)
    drain(mirror.round(NAME))
    assert "taints" in served.get(MACHINE, NAME)["spec"]
    assert "startupTaints" not in served.get(MACHINE, NAME)["spec"]


def test_a_cluster_that_has_machines(served: Answering) -> None:
    check_machines_served(served)


def test_a_cluster_without_machines_is_told_how_to_have_them(store: ObjectStore) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_machines_served(store)
    (problem,) = caught.value.problems
    assert (problem.field, problem.message, problem.remedy) == (
        "--mirror-machines",
        "the cluster has no Machine of karpenter.sh/v1alpha5",
        "Install it: kaito crds --machine-mirror | kubectl apply -f -",
    )


def test_an_operator_without_the_rights_is_told_where_they_are(served: Answering) -> None:
    served.problem = Forbidden("machines is forbidden")
    with pytest.raises(InvalidInput, match="machines is forbidden") as caught:
        check_machines_served(served)
    assert "deploy/components/machine-mirror" in str(caught.value)


def test_a_server_that_does_not_answer_may_answer_later(
    served: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    served.problem = ServerUnavailable("not now")
    check_machines_served(served)
    assert "not now" in caplog.text
