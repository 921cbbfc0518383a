"""The contract of `WorkspaceStore` for weights on local disks: what is rendered is what an API
server takes, and is recognised in the words in which it is stored."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from kaito.adapters.k8s.plain import plain
from kaito.adapters.k8s.weights_volume import available_class, weights_volume
from kaito.adapters.kube_api import (
    JOB,
    PERSISTENT_VOLUME_CLAIM,
    STATEFUL_SET,
    STORAGE_CLASS,
    Resource,
)
from kaito.domain.cluster_view import WorkloadState
from kaito.domain.quantity import GIB
from kaito.domain.weights_volume import WeightsVolume
from kaito.domain.workload import Workload
from tests.contract.store_world import SERVING, TUNING, StoreWorld

WEIGHTS = WeightsVolume(storage_class="kaito-local-nvme-disk", size_bytes=1024 * GIB)


def on_local_disks(world: StoreWorld, parts: Mapping[str, Any] = SERVING) -> Workload:
    return replace(world.workload(world.workspace(parts=parts)), weights=WEIGHTS)


class WeightsVolumeContract:
    @pytest.mark.parametrize(("parts", "kind"), [(SERVING, STATEFUL_SET), (TUNING, JOB)])
    def test_local_disks_are_recognised_and_nothing_is_written_again(
        self, world: StoreWorld, parts: Mapping[str, Any], kind: Resource
    ) -> None:
        workload = on_local_disks(world, parts)
        world.workspaces.apply_workload(workload, replace=False)
        seen = world.workspaces.compare(workload)
        assert (seen.state, seen.differences) == (WorkloadState.SAME, ())
        stored = world.kube.get(kind, "phi")
        (volume,) = (
            one
            for one in stored["spec"]["template"]["spec"]["volumes"]
            if one["name"] == "model-weights-volume"
        )
        claim = volume["ephemeral"]["volumeClaimTemplate"]
        assert claim["metadata"]["labels"] == {"kaito.sh/workspace": "phi"}
        assert claim["spec"] == {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Ti"}},
            "storageClassName": WEIGHTS.storage_class,
            "volumeMode": "Filesystem",
        }
        before = stored["metadata"]["resourceVersion"]
        world.workspaces.apply_workload(workload, replace=False)
        assert world.kube.get(kind, "phi")["metadata"]["resourceVersion"] == before

    def test_weights_move_in_place(self, world: StoreWorld) -> None:
        """Claim templates of a StatefulSet could not be changed."""
        workload = on_local_disks(world)
        world.workspaces.apply_workload(workload, replace=False)
        uid = world.kube.get(STATEFUL_SET, "phi")["metadata"]["uid"]
        moved = replace(workload, weights=None)
        seen = world.workspaces.compare(moved)
        assert (seen.state, seen.must_replace) == (WorkloadState.DIFFERENT, False)
        world.workspaces.apply_workload(moved, replace=False)
        assert world.workspaces.compare(moved).state is WorkloadState.SAME
        assert world.kube.get(STATEFUL_SET, "phi")["metadata"]["uid"] == uid

    def test_the_claim_that_is_made_of_it(self, world: StoreWorld) -> None:
        """As the ephemeral-volume controller makes it."""
        volume = weights_volume(on_local_disks(world))
        template = plain(volume["ephemeral"]["volumeClaimTemplate"])
        body = world.kube.body(PERSISTENT_VOLUME_CLAIM, "phi-0", **template)
        stored = world.kube.api.create(PERSISTENT_VOLUME_CLAIM, body)
        assert stored["spec"]["resources"]["requests"] == {"storage": "1Ti"}
        assert stored["spec"]["volumeMode"] == "Filesystem"
        assert stored["status"] == {"phase": "Pending"}

    def test_whether_there_is_a_class(self, world: StoreWorld) -> None:
        name = f"{world.namespace}-nvme"
        assert available_class(world.kube.api, name) == ""
        body = world.kube.body(STORAGE_CLASS, name, provisioner="localdisk.csi.acstor.io")
        stored = world.kube.api.create(STORAGE_CLASS, body)
        assert (stored["reclaimPolicy"], stored["volumeBindingMode"]) == ("Delete", "Immediate")
        assert available_class(world.kube.api, name) == name
        world.kube.api.delete(STORAGE_CLASS, name)
        assert available_class(world.kube.api, name) == ""
