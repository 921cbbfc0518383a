"""`kaito operator run` takes over from KAITO v0.12 on a real API server; pods and machines are
what their own controllers would have written."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kaito.adapters.kube_api import (
    EVENT,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    KubeApi,
    KubeObject,
    Resource,
    annotations_of,
    is_true,
    labels_of,
    name_of,
)
from kaito.domain import labels
from tests.contract import kaito_v012 as kaito
from tests.integration.conftest import RealCluster, eventually, exists
from tests.integration.test_operator_process import Operator

QUIET_S = 3.0
GPUS = {"nvidia.com/gpu": "1"}


class Installation:
    """KAITO's Workspace that serves, with everything that belongs to it."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self.claim_name = f"{namespace}-{kaito.CLAIM}"
        self.node_name = f"{namespace}-node"
        stored = api.create(WORKSPACE, kaito.workspace(namespace))
        provider_id = f"azure:///{self.claim_name}"
        claim = api.create(NODE_CLAIM, kaito.node_claim(stored, self.claim_name))
        node_labels = {**labels_of(claim), "accelerator": "nvidia"}
        api.create(
            NODE,
            {
                "metadata": {"name": self.node_name, "labels": node_labels},
                "spec": {"providerID": provider_id},
            },
        )
        self._status(NODE, self.node_name, {"conditions": [_ready()], "allocatable": GPUS})
        status = kaito.node_claim_status(self.node_name, provider_id)
        self._status(NODE_CLAIM, self.claim_name, status)
        for service in kaito.services(stored):
            api.create(SERVICE, service)
        self._pods(api.create(STATEFUL_SET, kaito.stateful_set(stored)))
        self._status(WORKSPACE, kaito.NAME, kaito.workspace_status(stored, self.node_name))

    def get(self, resource: Resource, name: str = kaito.NAME) -> KubeObject:
        return self.api.get(resource, name, self.namespace if resource.namespaced else None)

    def everything(self) -> dict[str, KubeObject]:
        """What KAITO left, as it is now."""
        parts = (
            (WORKSPACE, kaito.NAME),
            (NODE_CLAIM, self.claim_name),
            (NODE, self.node_name),
            (STATEFUL_SET, kaito.NAME),
            (SERVICE, kaito.NAME),
            (SERVICE, f"{kaito.NAME}-headless"),
            (POD, f"{kaito.NAME}-0"),
        )
        return {f"{kind.kind}/{name}": self.get(kind, name) for kind, name in parts}

    def claims(self) -> list[str]:
        selector = {labels.WORKSPACE_NAMESPACE: self.namespace}
        return [name_of(claim) for claim in self.api.list(NODE_CLAIM, labels=selector).items]

    def is_adopted(self) -> bool:
        claim, owner = self.get(NODE_CLAIM, self.claim_name), self.get(STATEFUL_SET)
        mark = annotations_of(owner).get(labels.TEMPLATE_HASH, "")
        return labels.WORKSPACE_UID in labels_of(claim) and mark.startswith("adopted-")

    def roll_out(self) -> None:
        """What the StatefulSet controller and the kubelet do once the template has changed."""
        self.api.delete(POD, f"{kaito.NAME}-0", self.namespace, grace_period_s=0)
        self._pods(self.get(STATEFUL_SET))

    def _pods(self, stateful_set: KubeObject) -> None:
        template = stateful_set["spec"]["template"]
        owner = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "name": kaito.NAME,
            "uid": stateful_set["metadata"]["uid"],
            "controller": True,
        }
        body = {
            "metadata": {
                "name": f"{kaito.NAME}-0",
                "namespace": self.namespace,
                "labels": template["metadata"]["labels"],
                "ownerReferences": [owner],
            },
            "spec": {**template["spec"], "nodeName": self.node_name},
        }
        self.api.create(POD, body)
        self._status(POD, f"{kaito.NAME}-0", {"phase": "Running", "conditions": [_ready()]})
        counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas"), 1)
        generation = stateful_set["metadata"]["generation"]
        self._status(STATEFUL_SET, kaito.NAME, {"observedGeneration": generation, **counts})

    def _status(self, resource: Resource, name: str, status: KubeObject) -> None:
        namespace = self.namespace if resource.namespaced else None
        self.api.patch(resource, name, namespace, {"status": status}, subresource="status")


def _ready() -> dict[str, str]:
    return {"type": "Ready", "status": "True", "reason": "Test"}


@pytest.fixture
def installation(
    real_cluster: RealCluster, real_api: KubeApi, namespace: str, tmp_path: Path
) -> Iterator[Installation]:
    """It is there before kaito's operator starts."""
    if real_cluster.kubeconfig is None or not real_cluster.collects_garbage:
        pytest.skip("the operator is tried with a control plane of its own only")
    found = Installation(real_api, namespace)
    operator = Operator(real_cluster.kubeconfig, tmp_path / "operator.log")
    try:
        assert eventually(found.is_adopted), operator.log.read_text()
        yield found
    finally:
        operator.stop()


def test_from_adoption_to_a_change_and_gone(installation: Installation) -> None:
    before = installation.everything()
    assert is_true(before[f"Workspace/{kaito.NAME}"], "WorkspaceSucceeded")
    own = {labels.SLOT: "0", "accelerator": "nvidia"}
    for kind, name in ((NODE_CLAIM, installation.claim_name), (NODE, installation.node_name)):
        assert own.items() <= labels_of(installation.get(kind, name)).items()
    events = installation.api.list(EVENT, installation.namespace).items
    assert {"MachineAdopted", "WorkloadAdopted"} <= {event["reason"] for event in events}

    # Nobody writes anything any more, also after a round that somebody's annotation wakes.
    note = {"metadata": {"annotations": {"example.com/note": "a"}}}
    touched = installation.api.patch(WORKSPACE, kaito.NAME, installation.namespace, note)
    time.sleep(QUIET_S)
    assert installation.everything() == before | {f"Workspace/{kaito.NAME}": touched}
    assert installation.claims() == [installation.claim_name]

    adapter = {"source": {"name": "style", "image": "registry.test/style:1"}}
    change = {"inference": {"adapters": [adapter]}}
    installation.api.patch(WORKSPACE, kaito.NAME, installation.namespace, change)

    def is_rolled_out() -> bool:
        pod = installation.get(STATEFUL_SET)["spec"]["template"]["spec"]
        return "--enable-lora" in (pod["containers"][0].get("args") or ())

    assert eventually(is_rolled_out)
    installation.roll_out()
    assert eventually(lambda: is_true(installation.get(WORKSPACE), "WorkspaceSucceeded"))
    uid = before[f"StatefulSet/{kaito.NAME}"]["metadata"]["uid"]
    assert installation.get(STATEFUL_SET)["metadata"]["uid"] == uid
    assert installation.claims() == [installation.claim_name]

    installation.api.delete(WORKSPACE, kaito.NAME, installation.namespace)
    claim = installation.claim_name
    deleting = "deletionTimestamp"
    assert eventually(lambda: deleting in installation.get(NODE_CLAIM, claim)["metadata"])
    # What gpu-provisioner does once the machine is gone.
    installation.api.delete(NODE, installation.node_name)
    installation.api.patch(NODE_CLAIM, claim, None, {"metadata": {"finalizers": []}})
    assert eventually(lambda: not _exists(installation, WORKSPACE))
    assert eventually(lambda: not _exists(installation, STATEFUL_SET))
    assert installation.claims() == []


def _exists(installation: Installation, resource: Resource) -> bool:
    return exists(installation.api, resource, kaito.NAME, installation.namespace)
