"""Whether the volumes of a pod can be had, in the scheduler's words: kube-scheduler's plug-in
VolumeBinding (pkg/scheduler/framework/plugins/volumebinding), for generic ephemeral volumes.

Claims that users make themselves are taken for bound, here as everywhere in the twin.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from kaito.adapters.fake.pods import controller_uid, is_deleting
from kaito.adapters.kube_api import (
    PERSISTENT_VOLUME_CLAIM,
    STORAGE_CLASS,
    KubeApi,
    KubeObject,
    annotations_of,
    name_of,
    namespace_of,
)
from kaito.adapters.object_cache import Key, ObjectCache

# On which Node a volume is to be made; the provisioner waits for it.
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
NODE_CONFLICT: Final = "node(s) had volume node affinity conflict"
_UNBOUND: Final = "pod has unbound immediate PersistentVolumeClaims"


@dataclass(frozen=True, slots=True)
class Claims:
    """Of one pod. With a `problem` it fits on no Node. Bound claims are on the Node `on`, empty
    where there are none; the `unbound` ones are made on the Node that the pod is to run on."""

    problem: str = ""
    on: str = ""
    unbound: tuple[KubeObject, ...] = ()


NO_CLAIMS: Final = Claims()


def ephemeral_claims(pod: KubeObject) -> Iterator[tuple[str, KubeObject]]:
    """Name and template of each claim that is made for the pod."""
    for volume in pod["spec"].get("volumes") or ():
        if "ephemeral" in volume:
            name = f"{name_of(pod)}-{volume['name']}"
            yield name, volume["ephemeral"]["volumeClaimTemplate"]


class PodClaims:
    """`changed` hears which pod's claims have changed; None: a StorageClass has, so any pod's."""

    def __init__(
        self, api: KubeApi, wake: Callable[[], None], changed: Callable[[Key | None], None]
    ) -> None:
        self._api = api
        self._changed = changed
        self._claims = ObjectCache(api, PERSISTENT_VOLUME_CLAIM, wake)
        self._claims.on_change(self._claim_changed)
        self._classes = ObjectCache(api, STORAGE_CLASS, wake)
        self._classes.on_change(lambda _before, _after: changed(None))

    def refresh(self) -> None:
        """Raises: ServerUnavailable."""
        self._claims.refresh()
        self._classes.refresh()

    def of(self, pod: KubeObject) -> Claims:
        """The claims of a pod that has no Node yet."""
        on, unbound = "", []
        for name, _template in ephemeral_claims(pod):
            claim = self._claims.get((namespace_of(pod), name))
            problem = self._problem(pod, name, claim)
            if claim is None or problem:
                return Claims(problem)
            if _is_bound(claim):
                on = annotations_of(claim)[SELECTED_NODE]
            else:
                unbound.append(claim)
        return Claims("", on, tuple(unbound))

    def make_on(self, claims: Claims, node_name: str) -> None:
        """Have the volumes made on this Node.

        Raises: ObjectConflict, ObjectNotFound, ServerUnavailable.
        """
        for claim in claims.unbound:
            if annotations_of(claim).get(SELECTED_NODE) != node_name:
                version = claim["metadata"]["resourceVersion"]
                annotations = {SELECTED_NODE: node_name}
                patch = {"metadata": {"resourceVersion": version, "annotations": annotations}}
                namespace, name = namespace_of(claim), name_of(claim)
                changed = self._api.patch(PERSISTENT_VOLUME_CLAIM, name, namespace, patch)
                self._claims.put(changed)

    def _problem(self, pod: KubeObject, name: str, claim: KubeObject | None) -> str:
        if claim is None:
            return (
                "waiting for ephemeral volume controller to create the persistentvolumeclaim"
                f' "{name}"'
            )
        if is_deleting(claim):
            return f'persistentvolumeclaim "{name}" is being deleted'
        if controller_uid(claim) != pod["metadata"]["uid"]:
            namespace = namespace_of(pod)
            return (
                f"PVC {namespace}/{name} was not created for pod {namespace}/{name_of(pod)}"
                " (pod is not owner)"
            )
        # A class that is missing does not say that it waits for the pod.
        found = self._classes.get(("", claim["spec"].get("storageClassName") or ""))
        waits = found is not None and found["volumeBindingMode"] == "WaitForFirstConsumer"
        return "" if waits or _is_bound(claim) else _UNBOUND

    def _claim_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        claim = after if after is not None else before
        assert claim is not None, "a change has a before or an after"
        for owner in claim["metadata"].get("ownerReferences") or ():
            if owner["kind"] == "Pod":
                self._changed((namespace_of(claim), owner["name"]))


def _is_bound(claim: KubeObject) -> bool:
    return bool(claim["status"].get("phase") == "Bound")
