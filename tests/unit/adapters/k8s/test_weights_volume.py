from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s import manifests
from kaito.adapters.k8s.manifests import render
from kaito.adapters.k8s.plain import plain
from kaito.adapters.k8s.weights_volume import available_class
from kaito.adapters.k8s.workspace_store import KubeWorkspaceStore
from kaito.adapters.kube_api import STATEFUL_SET, STORAGE_CLASS, KubeApi, KubeObject, thaw
from kaito.domain.cluster_view import WorkloadState
from kaito.domain.ports import Clock
from kaito.domain.quantity import GIB
from kaito.domain.weights_volume import WeightsVolume
from kaito.domain.workload import Workload
from tests.unit.domain.builders import TUNING, wanted, workspace

NAME = "kaito-local-nvme-disk"
ON_NVME = WeightsVolume(storage_class=NAME, size_bytes=31 * GIB)


def workload(weights: WeightsVolume | None, **parts: Any) -> Workload:
    return replace(wanted(workspace(**parts)).workload, weights=weights)


def volume_of(found: Workload) -> dict[str, Any]:
    pod = render(found)[-1].body["spec"]["template"]["spec"]
    (one,) = [volume for volume in pod["volumes"] if volume["name"] == "model-weights-volume"]
    mounts = pod["containers"][0]["volumeMounts"]
    assert {"name": one["name"], "mountPath": "/workspace/weights"} in mounts
    made: dict[str, Any] = plain(one)
    return made


@pytest.mark.parametrize("parts", [{}, {"tuning": TUNING}])
def test_a_claim_of_the_pods_own(parts: dict[str, Any]) -> None:
    """With a pod's lifetime, which is all that the driver of KAITO's chart allows by default:
    Azure/local-csi-driver@0492f1f21d9a docs/user-guide.md."""
    found = volume_of(workload(ON_NVME, **parts))
    assert found == {
        "name": "model-weights-volume",
        "ephemeral": {
            "volumeClaimTemplate": {
                "metadata": {"labels": {"kaito.sh/workspace": "phi"}},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": NAME,
                    "resources": {"requests": {"storage": "31Gi"}},
                },
            }
        },
    }
    assert volume_of(workload(None, **parts))["emptyDir"] == {}


def storage_class(api: KubeApi, **metadata: Any) -> None:
    api.create(STORAGE_CLASS, {"metadata": {"name": NAME, **metadata}, "provisioner": "x.test"})


def test_whether_there_is_such_a_class(store: ObjectStore) -> None:
    assert available_class(store, NAME) == ""
    storage_class(store)
    assert available_class(store, NAME) == NAME
    assert available_class(store, "other") == ""
    assert available_class(store, "") == ""


def test_a_class_on_its_way_out_is_not_used(store: ObjectStore) -> None:
    storage_class(store, finalizers=["example.com/held"])
    store.delete(STORAGE_CLASS, NAME)
    assert store.get(STORAGE_CLASS, NAME)["metadata"]["deletionTimestamp"]
    assert available_class(store, NAME) == ""


def test_the_cluster_view_says_which_class_there_is(
    store: ObjectStore, clock: Clock, apply: Callable[..., KubeObject]
) -> None:
    apply()
    port = KubeWorkspaceStore(store, clock, weights_class=NAME)
    view = port.read_workspace("default", "phi")
    assert view is not None
    assert port.observe(view.workspace).storage_class == ""
    storage_class(store)
    assert port.observe(view.workspace).storage_class == NAME
    assert KubeWorkspaceStore(store, clock).observe(view.workspace).storage_class == ""


def test_claims_that_kaito_v012_left_go_with_its_stateful_set(
    store: ObjectStore, clock: Clock
) -> None:
    """Its claims would stand before the template's volume, and they cannot be taken off in place
    (kube-apiserver: updates of volumeClaimTemplates are forbidden)."""
    found = workload(None)
    port = KubeWorkspaceStore(store, clock)
    body = thaw(manifests.render(found)[-1].body)
    claim = {
        "metadata": {"name": "model-weights-volume"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": NAME},
    }
    body["spec"]["volumeClaimTemplates"] = [claim]
    store.create(STATEFUL_SET, body)
    seen = port.compare(found)
    assert (seen.state, seen.must_replace) == (WorkloadState.DIFFERENT, True)
    assert "StatefulSet/phi spec.volumeClaimTemplates" in seen.differences
