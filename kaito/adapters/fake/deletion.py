"""What a delete does to an object's metadata, before the object itself goes away."""

from dataclasses import dataclass
from typing import Any

from kaito.adapters.fake.api_errors import conflict
from kaito.adapters.fake.object_meta import FOREGROUND_FINALIZER, ORPHAN_FINALIZER
from kaito.adapters.kube_api import (
    NAMESPACE,
    POD,
    KubeObject,
    Propagation,
    Resource,
    name_of,
)
from kaito.domain.timestamps import from_rfc3339, to_rfc3339

_PROPAGATION_FINALIZERS = {"Foreground": FOREGROUND_FINALIZER, "Orphan": ORPHAN_FINALIZER}


@dataclass(frozen=True, slots=True)
class Deletion:
    """`meta` to store first (None: as it is), and whether the object then goes away at once."""

    meta: dict[str, Any] | None
    removed: bool


def check_preconditions(
    resource: Resource, obj: KubeObject, uid: str | None, resource_version: str | None
) -> None:
    """Raises: ObjectConflict (the object is another one, or has changed)."""
    meta = obj["metadata"]
    if uid is not None and uid != meta["uid"]:
        detail = (
            f"the UID in the precondition ({uid}) does not match the UID in record"
            f" ({meta['uid']}). The object might have been deleted and then recreated"
        )
        raise conflict(resource, name_of(obj), detail)
    if resource_version is not None and resource_version != meta["resourceVersion"]:
        detail = (
            f"the ResourceVersion in the precondition ({resource_version}) does not match the"
            f" ResourceVersion in record ({meta['resourceVersion']}). The object might have been"
            " modified"
        )
        raise conflict(resource, name_of(obj), detail)


def plan_deletion(
    resource: Resource,
    obj: KubeObject,
    propagation: Propagation,
    grace_period_s: int | None,
    now_s: float,
) -> Deletion:
    """What deleting `obj` does now: a pod on a node waits for its kubelet, finalizers wait too."""
    meta = dict(obj["metadata"])
    graceful = (resource.group, resource.plural) == (POD.group, POD.plural)
    if graceful and not _shorten_or_start_grace(meta, obj, grace_period_s, now_s):
        return Deletion(None, removed=False)
    _set_propagation(meta, propagation)
    waiting = bool(meta.get("finalizers"))
    if graceful:
        return Deletion(meta, removed=not waiting and meta["deletionGracePeriodSeconds"] == 0)
    if waiting:
        _mark(meta, 0, now_s)
        return Deletion(meta, removed=False)
    return Deletion(None, removed=True)


def completes_deletion(resource: Resource, draft: KubeObject, old: KubeObject) -> bool:
    """Whether an update took away the last thing that a deletion waited for."""
    meta = draft["metadata"]
    if "deletionTimestamp" not in meta or meta.get("finalizers"):
        return False
    if is_namespace(resource):
        return not (draft.get("spec") or {}).get("finalizers")
    return bool(old["metadata"].get("deletionGracePeriodSeconds") == 0)


def is_namespace(resource: Resource) -> bool:
    return (resource.group, resource.plural) == (NAMESPACE.group, NAMESPACE.plural)


def _shorten_or_start_grace(
    meta: dict[str, Any], pod: KubeObject, grace_period_s: int | None, now_s: float
) -> bool:
    """Whether the grace period of a pod begins with this delete, gets shorter, or is over."""
    current = meta.get("deletionGracePeriodSeconds")
    if current == 0:  # what still waits, waits for finalizers
        return True
    if current is not None:
        if grace_period_s is None or grace_period_s >= current:
            return False
        asked_at_s = from_rfc3339(meta["deletionTimestamp"]) - current
        meta["deletionTimestamp"] = to_rfc3339(asked_at_s + grace_period_s)
        meta["deletionGracePeriodSeconds"] = grace_period_s
        return True
    spec = pod["spec"]
    period = grace_period_s
    if period is None:
        period = spec.get("terminationGracePeriodSeconds", 30)
    if not spec.get("nodeName") or pod["status"].get("phase") in {"Succeeded", "Failed"}:
        period = 0
    _mark(meta, max(period, 0), now_s)
    return True


def _mark(meta: dict[str, Any], grace_period_s: int, now_s: float) -> None:
    if "deletionTimestamp" in meta:
        return
    meta["deletionTimestamp"] = to_rfc3339(now_s + grace_period_s)
    meta["deletionGracePeriodSeconds"] = grace_period_s
    if "generation" in meta:
        meta["generation"] += 1


def _set_propagation(meta: dict[str, Any], propagation: Propagation) -> None:
    finalizers = [
        name
        for name in meta.get("finalizers") or ()
        if name not in {FOREGROUND_FINALIZER, ORPHAN_FINALIZER}
    ]
    if propagation in _PROPAGATION_FINALIZERS:
        finalizers.append(_PROPAGATION_FINALIZERS[propagation])
    meta.pop("finalizers", None)
    if finalizers:
        meta["finalizers"] = finalizers
