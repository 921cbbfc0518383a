"""The twin's ephemeral-volume controller (kube-controller-manager's, pkg/controller/volume/
ephemeral): a claim for each generic ephemeral volume, which the garbage collector takes away with
its pod."""

from collections.abc import Callable
from typing import Final

from kaito.adapters.fake.pod_claims import ephemeral_claims
from kaito.adapters.fake.pods import is_deleting, is_terminal, owner_reference
from kaito.adapters.fake.timers import Timers
from kaito.adapters.kube_api import (
    PERSISTENT_VOLUME_CLAIM,
    POD,
    AlreadyExists,
    KubeApi,
    KubeApiError,
    KubeObject,
    ServerUnavailable,
    namespace_of,
    thaw,
)
from kaito.adapters.object_cache import Key, ObjectCache, key_of

RETRY_S: Final = 1.0


class EphemeralVolumeController:
    """Makes the claims of new pods. One of the same name that belongs to an earlier pod is waited
    for, since it is on its way out."""

    def __init__(self, api: KubeApi, wake: Callable[[], None]) -> None:
        self._api = api
        self._due: Timers[Key] = Timers()
        self._new: dict[Key, None] = {}
        self._pods = ObjectCache(api, POD, wake)
        self._pods.on_change(self._pod_changed)

    def step(self, now_s: float) -> float | None:
        """Make what is missing; the next time something is due."""
        try:
            self._pods.refresh()
        except ServerUnavailable:
            return now_s + RETRY_S
        for key in (*self._new, *self._due.pop_due(now_s)):
            pod = self._pods.get(key)
            if pod is None or is_deleting(pod) or is_terminal(pod):
                continue
            try:
                self._make(pod)
            except KubeApiError:  # taken, or a namespace that is going away
                self._due.set(key, now_s + RETRY_S)
        self._new.clear()
        return self._due.next_s()

    def _make(self, pod: KubeObject) -> None:
        for name, template in ephemeral_claims(pod):
            metadata = thaw(template.get("metadata") or {})
            body = {
                "metadata": {
                    **{key: value for key, value in metadata.items() if value},
                    "namespace": namespace_of(pod),
                    "name": name,
                    "ownerReferences": [owner_reference(POD, pod)],
                },
                "spec": thaw(template["spec"]),
            }
            try:
                self._api.create(PERSISTENT_VOLUME_CLAIM, body)
            except AlreadyExists:
                found = self._api.get(PERSISTENT_VOLUME_CLAIM, name, namespace_of(pod))
                owners = found["metadata"].get("ownerReferences") or ()
                if not any(owner["uid"] == pod["metadata"]["uid"] for owner in owners):
                    raise

    def _pod_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        if after is None:
            return
        is_new = before is None or before["metadata"]["uid"] != after["metadata"]["uid"]
        if is_new and any(True for _ in ephemeral_claims(after)):
            self._new[key_of(after)] = None
