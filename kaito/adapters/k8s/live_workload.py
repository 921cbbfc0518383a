"""A live workload against the wanted one: what differs, and what may be done about it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kaito.adapters.k8s.manifests import Desired
from kaito.adapters.k8s.plain import plain
from kaito.adapters.kube_api import JOB, KubeObject, annotations_of, is_true, thaw
from kaito.domain import labels
from kaito.domain.cluster_view import WorkloadState, WorkloadView
from kaito.domain.machine import Owner
from kaito.domain.workspace import KIND

# What a StatefulSet cannot change in place; a Job cannot change any of its template.
_STATEFUL_SET_FIXED: Final = ("spec.serviceName", "spec.podManagementPolicy", "spec.selector")
_JOB_FIXED: Final = ("spec.template", "spec.completions", "spec.selector", "metadata.annotations")


def comparable(body: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a wanted object that is compared field by field.

    Volumes count by name only: users write their sources, and the server drops and rewrites parts
    of them; the template's hash tells of a change there. So does it of the generation, which says
    what a Job was made for and is no reason to make another.
    """
    copy: dict[str, Any] = plain(body)
    copy["metadata"].get("annotations", {}).pop(labels.GENERATION, None)
    pod = copy.get("spec", {}).get("template", {}).get("spec")
    if pod is not None and "volumes" in pod:
        pod["volumes"] = [{"name": volume["name"]} for volume in pod["volumes"]]
    return copy


def address(want: Desired) -> str:
    """`StatefulSet/name`."""
    return f"{want.resource.kind}/{want.body['metadata']['name']}"


def is_owned(live: KubeObject, uid: str) -> bool:
    """Whether the object belongs to the Workspace with this UID."""
    references = live["metadata"].get("ownerReferences") or ()
    return any(reference["uid"] == uid for reference in references)


def is_left_behind(live: KubeObject, owner: Owner) -> bool:
    """Whether it belonged to an earlier Workspace of the same name, and will be collected."""
    references = live["metadata"].get("ownerReferences") or ()
    return any(
        reference.get("kind") == KIND
        and reference.get("name") == owner.name
        and reference["uid"] != owner.uid
        for reference in references
    )


def overlaid(live: Any, wanted: Any, path: str = "") -> Any:
    """`live` with what `wanted` sets; a pod template and lists are replaced whole."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping) and path != "spec.template":
        merged = thaw(live)
        for key, value in wanted.items():
            at = f"{path}.{key}" if path else str(key)
            merged[key] = overlaid(live.get(key), value, at)
        return merged
    return thaw(wanted)


def to_workload_view(
    want: Desired,
    live: KubeObject | None,
    *,
    changed: Sequence[str],
    taken: str,
    left_behind: bool,
) -> WorkloadView:
    """The owner of the pods as the domain sees it; `changed` are the differences of all objects."""
    if live is None:
        state = WorkloadState.DELETING if left_behind else WorkloadState.MISSING
        return WorkloadView(state=state, taken=taken)
    if "deletionTimestamp" in live["metadata"] or left_behind:
        return WorkloadView(state=WorkloadState.DELETING, taken=taken)
    here = f"{address(want)} "
    fixed = _JOB_FIXED if want.resource is JOB else _STATEFUL_SET_FIXED
    must_replace = any(path.startswith(here + prefix) for path in changed for prefix in fixed)
    older_spec, older_config = _older(want, live)
    status = live.get("status") or {}
    replicas = live["spec"].get("replicas", 1)
    return WorkloadView(
        state=WorkloadState.DIFFERENT if changed else WorkloadState.SAME,
        differences=tuple(changed),
        must_replace=must_replace,
        taken=taken,
        older_spec=older_spec,
        older_config=older_config,
        settled=status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
        and status.get("replicas", 0) == replicas
        and status.get("updatedReplicas", 0) == replicas,
        ready_replicas=status.get("readyReplicas", 0),
        active=status.get("active", 0) > 0,
        succeeded=is_true(live, "Complete"),
        failed=is_true(live, "Failed"),
        message=_failure(live),
    )


def _older(want: Desired, live: KubeObject) -> tuple[bool, bool]:
    """Whether a Job was made for an older spec, and whether it reads an older config. A
    StatefulSet rolls, whatever the reason, so for it any difference counts."""
    wanted, found = want.body["metadata"].get("annotations", {}), annotations_of(live)
    differs = found.get(labels.TEMPLATE_HASH) != wanted.get(labels.TEMPLATE_HASH)
    if want.resource is not JOB:
        return differs, differs
    older_spec = differs and found.get(labels.GENERATION) != wanted.get(labels.GENERATION)
    return older_spec, differs and _config_hash(live) != _config_hash(want.body)


def _config_hash(job: Mapping[str, Any]) -> str:
    metadata: Mapping[str, Any] = job["spec"]["template"].get("metadata") or {}
    return str((metadata.get("annotations") or {}).get(labels.CONFIG_HASH, ""))


def _failure(live: KubeObject) -> str:
    conditions = (live.get("status") or {}).get("conditions") or ()
    return next((found.get("message", "") for found in conditions if found["type"] == "Failed"), "")
