from dataclasses import replace
from typing import Any

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s.node_claims import (
    attempt_annotations,
    attempt_labels,
    status_of,
    to_adoptable,
    to_machine,
    to_node_claim,
    to_node_view,
)
from kaito.adapters.kube_api import NODE_CLAIM
from kaito.domain import labels
from kaito.domain.machine import NO_SLOT, Attempt, CapacityType, MachineSpec, NodeView, Owner
from kaito.domain.plan import WriteMachine
from kaito.domain.workspace_plan import machine_specs
from tests.contract import kaito_v012
from tests.unit.domain.builders import (
    A10,
    CATALOGUE,
    NOW_S,
    READY_CONDITIONS,
    UID,
    machine_spec,
    seen,
    wanted,
    workspace,
)

(SPEC,) = machine_specs(seen(), wanted(workspace()).sizing)


def test_the_claim_of_a_machine() -> None:
    assert to_node_claim(replace(SPEC, image_family="azurelinux")) == {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {
            "name": SPEC.name,
            "labels": {
                "accelerator": "nvidia",
                "apps": "phi",
                "kaito.sh/slot": "0",
                "kaito.sh/workspace": "phi",
                "kaito.sh/workspace-uid": UID,
                "kaito.sh/workspacenamespace": "default",
                "karpenter.sh/nodepool": "kaito",
            },
            "annotations": {
                "karpenter.sh/do-not-disrupt": "true",
                "kaito.sh/node-image-family": "azurelinux",
            },
            "finalizers": ["karpenter.sh/termination"],
        },
        "spec": {
            "nodeClassRef": {"group": "kaito.sh", "kind": "KaitoNodeClass", "name": "default"},
            "requirements": [
                {"key": "karpenter.sh/nodepool", "operator": "In", "values": ["kaito"]},
                {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": [A10]},
                {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
                {"key": "karpenter.azure.com/sku-name", "operator": "In", "values": [A10]},
            ],
            "resources": {"requests": {"storage": "87Gi", "nvidia.com/gpu": "1"}},
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
        },
    }
    assert "kaito.sh/node-image-family" not in to_node_claim(SPEC)["metadata"]["annotations"]


def test_a_claim_has_no_owner_that_could_delete_it_behind_the_finalizer() -> None:
    assert "ownerReferences" not in to_node_claim(SPEC)["metadata"]


def test_the_disk_is_rounded_up_to_whole_gib() -> None:
    requests = to_node_claim(machine_spec(disk_bytes=(10 << 30) + 1))["spec"]["resources"]
    assert requests["requests"]["storage"] == "11Gi"


def test_a_stored_claim_is_the_machine_it_was_made_from(store: ObjectStore) -> None:
    spec = replace(SPEC, image_family="ubuntu")
    machine = to_machine(store.create(NODE_CLAIM, to_node_claim(spec)))
    assert machine is not None
    assert machine.spec == spec
    assert (machine.claim_name, machine.generation) == (spec.name, 1)
    assert machine.created_at_s == NOW_S
    assert machine.attempt == Attempt()
    assert machine.has_finalizer
    assert not machine.deleting
    assert (machine.conditions, machine.provider_id, machine.node_name) == ((), "", "")
    store.delete(NODE_CLAIM, spec.name)
    leaving = to_machine(store.get(NODE_CLAIM, spec.name))
    assert leaving is not None
    assert leaving.deleting


def test_a_claim_of_kaitos_is_a_machine_without_a_slot(store: ObjectStore) -> None:
    workspace_of = seen().workspace
    stored = {
        "metadata": {
            "name": workspace_of.name,
            "namespace": workspace_of.namespace,
            "uid": workspace_of.uid,
        }
    }
    claim = store.create(NODE_CLAIM, kaito_v012.node_claim(stored))
    owner = Owner(uid=UID, namespace=workspace_of.namespace, name=workspace_of.name)
    machine = to_adoptable(claim, owner)
    assert machine is not None
    assert (machine.claim_name, machine.cloud_name) == (kaito_v012.CLAIM, kaito_v012.CLAIM)
    assert (machine.spec.owner, machine.spec.slot) == (owner, NO_SLOT)
    assert machine.spec.instance_type == kaito_v012.INSTANCE_TYPE
    assert machine.spec.disk_bytes == 87 << 30
    assert machine.spec.gpus == 1, "it is not recorded: at least one"
    assert to_machine(claim) is None, "nobody's yet"
    assert to_adoptable(claim, replace(owner, namespace="other")) is None
    assert to_adoptable(claim, replace(owner, name="other")) is None
    assert to_adoptable(store.create(NODE_CLAIM, to_node_claim(SPEC)), owner) is None, "ours"


def test_its_status_there_and_back(store: ObjectStore) -> None:
    claim = store.create(NODE_CLAIM, to_node_claim(SPEC))
    record = WriteMachine(
        attempt=Attempt(), conditions=READY_CONDITIONS, provider_id="azure://x", node_name="node"
    )
    machine = to_machine({**claim, "status": status_of(record)})
    assert machine is not None
    assert machine.is_ready
    assert (machine.provider_id, machine.node_name) == ("azure://x", "node")
    bare = status_of(WriteMachine(attempt=Attempt(), conditions=()))
    assert bare == {"conditions": []}


@pytest.mark.parametrize(
    "attempt",
    [
        Attempt(),
        Attempt(number=2, instance_type=A10, started_at_s=NOW_S, not_before_s=NOW_S + 30),
        Attempt(number=1, not_before_s=NOW_S),
        Attempt(instance_type=A10, started_at_s=NOW_S, zone="eastus-2"),
    ],
)
def test_an_attempt_there_and_back(store: ObjectStore, attempt: Attempt) -> None:
    store.create(NODE_CLAIM, to_node_claim(SPEC))
    before = Attempt(
        number=9, instance_type="Other", started_at_s=1.0, not_before_s=2.0, zone="eastus-1"
    )
    for written in (before, attempt):
        changed = {"annotations": attempt_annotations(written), "labels": attempt_labels(written)}
        patch = {"metadata": changed}
        machine = to_machine(store.patch(NODE_CLAIM, SPEC.name, None, patch))
        assert machine is not None
        assert machine.attempt == written
        assert machine.spec == SPEC, "where it is says nothing of what was asked for"


@pytest.mark.parametrize("missing", [labels.WORKSPACE_UID, labels.SLOT])
def test_a_claim_of_somebody_else(store: ObjectStore, missing: str) -> None:
    claim = to_node_claim(SPEC)
    del claim["metadata"]["labels"][missing]
    assert to_machine(store.create(NODE_CLAIM, claim)) is None


def test_a_claim_with_a_slot_that_is_no_number(store: ObjectStore) -> None:
    claim = to_node_claim(SPEC)
    claim["metadata"]["labels"][labels.SLOT] = "first"
    assert to_machine(store.create(NODE_CLAIM, claim)) is None


def test_a_claim_that_lost_its_requirements_can_still_be_released(store: ObjectStore) -> None:
    claim = to_node_claim(SPEC)
    claim["spec"] = {"requirements": [{"key": labels.INSTANCE_TYPE, "operator": "Exists"}]}
    machine = to_machine(store.create(NODE_CLAIM, claim))
    assert machine is not None
    assert machine.spec.instance_type == ""
    assert machine.claim_name == SPEC.name


def test_a_node() -> None:
    stored: dict[str, Any] = {
        "metadata": {"name": "node", "labels": {"a": "b"}},
        "spec": {"providerID": "azure://x"},
        "status": {
            "allocatable": {"nvidia.com/gpu": "2", "cpu": "7"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    view = NodeView(name="node", provider_id="azure://x", ready=True, gpus=2, labels={"a": "b"})
    assert to_node_view(stored) == view
    stored["status"]["allocatable"] |= {
        "nvidia.com/mig-2g.20gb": "3",
        "nvidia.com/mig-1g.10gb": "1",
    }
    sliced = to_node_view(stored)
    assert sliced.slices == (("nvidia.com/mig-1g.10gb", 1), ("nvidia.com/mig-2g.20gb", 3))
    assert sliced.allocatable("nvidia.com/mig-2g.20gb") == 3
    assert sliced.allocatable("nvidia.com/mig-3g.40gb") == 0
    assert sliced.allocatable("nvidia.com/gpu") == 2
    stored["spec"] |= {
        "unschedulable": True,
        "taints": [
            {"key": "sku", "value": "gpu", "effect": "NoSchedule"},
            {"key": "team", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"},
        ],
    }
    closed = to_node_view(stored)
    assert closed.cordoned
    assert [str(taint) for taint in closed.taints] == ["sku=gpu:NoSchedule", "team:NoExecute"]
    fresh = {"metadata": {"name": "node", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert to_node_view(fresh) == NodeView(
        name="node", provider_id="", ready=False, gpus=0, deleting=True
    )


def test_every_preset_gives_a_claim_that_the_store_takes(store: ObjectStore) -> None:
    for slot, instance_type in enumerate(CATALOGUE.instance_types):
        spec = machine_spec(slot, instance_type=instance_type.name, gpus=instance_type.gpu_count)
        machine = to_machine(store.create(NODE_CLAIM, to_node_claim(spec)))
        assert machine is not None
        assert machine.spec == spec


@pytest.mark.parametrize(
    ("annotations", "attempt"),
    [
        ({labels.ATTEMPT: "many"}, Attempt()),
        ({labels.ATTEMPT: "-1"}, Attempt()),
        ({labels.ATTEMPT: "\u0663"}, Attempt()),
        ({labels.ATTEMPT: "2", labels.ATTEMPT_STARTED_AT: "yesterday"}, Attempt(number=2)),
        ({labels.ATTEMPT: "2", labels.ATTEMPT_NOT_BEFORE: "2026-01-01"}, Attempt(number=2)),
    ],
)
def test_what_somebody_garbled_counts_as_not_there(
    store: ObjectStore, annotations: dict[str, str], attempt: Attempt
) -> None:
    claim = to_node_claim(SPEC)
    claim["metadata"]["annotations"] |= annotations
    machine = to_machine(store.create(NODE_CLAIM, claim))
    assert machine is not None
    assert machine.attempt == attempt


@pytest.mark.parametrize(
    ("requests", "gpus", "disk_bytes"),
    [
        ({}, 1, 0),
        ({"storage": "1Ti", "nvidia.com/gpu": "8"}, 8, 1 << 40),
        ({"storage": "much", "nvidia.com/gpu": "some"}, 1, 0),
    ],
)
def test_the_requests_of_a_claim(
    store: ObjectStore, requests: dict[str, str], gpus: int, disk_bytes: int
) -> None:
    claim = to_node_claim(SPEC)
    claim["spec"]["resources"]["requests"] = requests
    machine = to_machine(store.create(NODE_CLAIM, claim))
    assert machine is not None
    assert (machine.spec.gpus, machine.spec.disk_bytes) == (gpus, disk_bytes)


# --- a choice of machines ---

CHOICE = replace(
    SPEC,
    fallbacks=(("Standard_NC24ads_A100_v4", 1), ("Standard_NV72ads_A10_v5", 2)),
    capacity_types=(CapacityType.SPOT, CapacityType.ON_DEMAND),
    retry="1",
    weights_class="kaito-local-nvme-disk",
)


def stored(spec: MachineSpec) -> dict[str, Any]:
    claim = to_node_claim(spec)
    given = {"uid": "u", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {**claim, "metadata": {**claim["metadata"], **given}}


def test_a_choice_is_recorded_and_read_back() -> None:
    claim = stored(CHOICE)
    types = [A10, "Standard_NC24ads_A100_v4", "Standard_NV72ads_A10_v5"]
    wanted_of = {one["key"]: one["values"] for one in claim["spec"]["requirements"]}
    assert wanted_of[labels.INSTANCE_TYPE] == wanted_of[labels.AZURE_SKU_NAME] == types
    assert wanted_of[labels.CAPACITY_TYPE] == ["spot", "on-demand"]
    assert claim["spec"]["resources"]["requests"][labels.GPU_RESOURCE] == "1"
    machine = to_machine(claim)
    assert machine is not None
    assert machine.spec == CHOICE


def test_without_a_choice_the_record_says_nothing_of_it() -> None:
    claim = to_node_claim(SPEC)
    assert labels.OFFERED_GPUS not in claim["metadata"]["annotations"]
    assert labels.RETRY not in claim["metadata"]["annotations"]
    assert labels.CAPACITY_TYPE not in [one["key"] for one in claim["spec"]["requirements"]]


def test_a_choice_that_somebody_edited() -> None:
    claim = stored(CHOICE)
    claim["metadata"]["annotations"][labels.OFFERED_GPUS] = "what=ever,,Standard_NV72ads_A10_v5=x"
    machine = to_machine(claim)
    assert machine is not None
    assert machine.spec.fallbacks[1] == ("Standard_NV72ads_A10_v5", 1)
    assert machine.spec.gpus == 1


def test_an_attempt_with_a_zone_is_read_back() -> None:
    attempt = Attempt(
        number=3,
        instance_type=A10,
        capacity_type=CapacityType.SPOT,
        asked_zone="eastus-3",
        refused_zones=("eastus-1", "eastus-2"),
        hops=2,
        retry="1",
    )
    claim = stored(CHOICE)
    claim["metadata"]["annotations"].update(
        {key: value for key, value in attempt_annotations(attempt).items() if value is not None}
    )
    machine = to_machine(claim)
    assert machine is not None
    assert machine.attempt == attempt
