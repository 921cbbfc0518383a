"""The twin's driver of local NVMe disks: makes volumes on the Nodes that the scheduler selects.

It plays the CSI driver with its provisioner, one on each Node (KAITO v0.12's chart brings Azure's
local-csi-driver, charts/kaito/workspace/templates/local-csi-driver-ds.yaml), and the binding of
claim and volume by kube-controller-manager. How much room the disks have is not played: no source
says it for every instance type.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from kaito.adapters.fake.events import EventRecorder
from kaito.adapters.fake.latencies import Latencies
from kaito.adapters.fake.pod_claims import SELECTED_NODE
from kaito.adapters.fake.streams import Streams
from kaito.adapters.fake.timers import Timers
from kaito.adapters.kube_api import (
    PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    STORAGE_CLASS,
    AlreadyExists,
    KubeApi,
    KubeObject,
    ObjectConflict,
    ObjectNotFound,
    ServerUnavailable,
    annotations_of,
    name_of,
    namespace_of,
)
from kaito.adapters.object_cache import Key, ObjectCache, key_of
from kaito.domain.labels import HOSTNAME

DRIVER: Final = "localdisk.csi.acstor.io"
RETRY_S: Final = 1.0
_PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"


class LocalDisks:
    """Serves the claims of every StorageClass whose provisioner is `DRIVER`. A volume goes when its
    claim does. `has_disks` says whether a Node's machine has local NVMe disks."""

    def __init__(
        self,
        api: KubeApi,
        wake: Callable[[], None],
        *,
        latencies: Latencies,
        streams: Streams,
        has_disks: Callable[[str], bool],
    ) -> None:
        self._api = api
        self._latencies, self._streams = latencies, streams
        self._has_disks = has_disks
        self._events = EventRecorder(api, DRIVER)
        self._changed: dict[Key, None] = {}
        self._due: Timers[Key] = Timers()
        self._left: dict[str, None] = {}  # volumes whose claims are gone
        self._claims = ObjectCache(api, PERSISTENT_VOLUME_CLAIM, wake)
        self._claims.on_change(self._claim_changed)

    def step(self, now_s: float) -> float | None:
        """Make and remove what is due; the next time something is."""
        try:
            self._claims.refresh()
            for volume in list(self._left):
                self._remove(volume)
        except ServerUnavailable:
            return now_s + RETRY_S
        for key in self._changed:
            self._judge(key, now_s)
        self._changed.clear()
        for key in self._due.pop_due(now_s):
            claim = self._claims.get(key)
            if claim is None or not _is_waiting(claim):
                continue
            try:
                self._bind(claim)
            except ObjectNotFound:
                continue  # the event of its deletion is on the way
            except (ObjectConflict, ServerUnavailable):
                self._due.set(key, now_s + RETRY_S)
        return self._due.next_s()

    def _judge(self, key: Key, now_s: float) -> None:
        """Begin a volume whose Node has been selected."""
        claim = self._claims.get(key)
        if claim is None or not _is_waiting(claim) or not self._is_ours(claim):
            return
        node_name = annotations_of(claim)[SELECTED_NODE]
        if not self._has_disks(node_name):
            message = f"failed to provision volume: no local NVMe disks on node {node_name}"
            self._events.record(
                PERSISTENT_VOLUME_CLAIM, claim, "Warning", "ProvisioningFailed", message, now_s
            )
            return
        rng = self._streams.get(f"volume/{'/'.join(key)}")
        self._due.set(key, now_s + self._latencies.sample_s("volume_provision", rng))

    def _is_ours(self, claim: KubeObject) -> bool:
        try:
            found = self._api.get(STORAGE_CLASS, claim["spec"].get("storageClassName") or "")
        except (ObjectNotFound, ServerUnavailable):
            return False
        return bool(found["provisioner"] == DRIVER)

    def _bind(self, claim: KubeObject) -> None:
        """Raises: ObjectConflict, ObjectNotFound, ServerUnavailable."""
        namespace, name = key_of(claim)
        volume = _volume_of(claim)
        try:
            made = self._api.create(PERSISTENT_VOLUME, volume)
            status = {"status": {"phase": "Bound"}}
            self._api.patch(PERSISTENT_VOLUME, name_of(made), None, status, subresource="status")
        except AlreadyExists:
            pass  # made before a failure
        patch: dict[str, Any] = {"spec": {"volumeName": _volume_name(claim)}}
        self._api.patch(PERSISTENT_VOLUME_CLAIM, name, namespace, patch)
        status = {
            "status": {
                "phase": "Bound",
                "accessModes": volume["spec"]["accessModes"],
                "capacity": volume["spec"]["capacity"],
            }
        }
        self._api.patch(PERSISTENT_VOLUME_CLAIM, name, namespace, status, subresource="status")

    def _remove(self, volume: str) -> None:
        """Raises: ServerUnavailable."""
        with suppress(ObjectNotFound):
            self._api.delete(PERSISTENT_VOLUME, volume)
        del self._left[volume]

    def _claim_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        if before is not None and (after is None or _uid(before) != _uid(after)):
            self._due.set(key_of(before), None)
            self._left[_volume_name(before)] = None
        if after is not None:
            self._changed[key_of(after)] = None


def _is_waiting(claim: KubeObject) -> bool:
    """Whether a volume is to be made for it, somewhere that is known."""
    return claim["status"].get("phase") == "Pending" and SELECTED_NODE in annotations_of(claim)


def _volume_of(claim: KubeObject) -> dict[str, Any]:
    node_name = annotations_of(claim)[SELECTED_NODE]
    here = {"key": HOSTNAME, "operator": "In", "values": [node_name]}
    return {
        "metadata": {"name": _volume_name(claim), "annotations": {_PROVISIONED_BY: DRIVER}},
        "spec": {
            "accessModes": list(claim["spec"]["accessModes"]),
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": PERSISTENT_VOLUME_CLAIM.api_version,
                "kind": PERSISTENT_VOLUME_CLAIM.kind,
                "namespace": namespace_of(claim),
                "name": name_of(claim),
                "uid": _uid(claim),
            },
            "csi": {"driver": DRIVER, "volumeHandle": _volume_name(claim)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": claim["spec"]["storageClassName"],
        },
    }


def _volume_name(claim: KubeObject) -> str:
    return f"pvc-{_uid(claim)}"


def _uid(claim: KubeObject) -> str:
    return str(claim["metadata"]["uid"])
