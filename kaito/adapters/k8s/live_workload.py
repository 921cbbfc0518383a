"""A live workload against the wanted one: what differs, and what may be done about it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kaito.adapters.k8s import adoption, ray_pod
from kaito.adapters.k8s.comparison import differences
from kaito.adapters.k8s.manifests import Desired
from kaito.adapters.k8s.plain import plain
from kaito.adapters.k8s.template_pod import comparable_template
from kaito.adapters.kube_api import (
    JOB,
    SERVICE,
    STATEFUL_SET,
    KubeObject,
    annotations_of,
    is_true,
    thaw,
)
from kaito.domain import labels
from kaito.domain.cluster_view import WorkloadState, WorkloadView
from kaito.domain.machine import Owner
from kaito.domain.workspace import KIND

_CLAIM_TEMPLATES: Final = "spec.volumeClaimTemplates"
# What a StatefulSet cannot change in place; a Job cannot change any of its template.
_STATEFUL_SET_FIXED: Final = (
    "spec.serviceName",
    "spec.podManagementPolicy",
    "spec.selector",
    _CLAIM_TEMPLATES,
)
# Where a StatefulSet says how many pods there are and which of them a change may reach.
_SCALE: Final = ("spec.replicas", "spec.updateStrategy")
_JOB_FIXED: Final = (
    "spec.template",
    "spec.completions",
    "spec.selector",
    f"metadata.annotations.{labels.TEMPLATE_HASH}",
    f"metadata.annotations.{labels.NODE_SHAPE}",
)


def comparable(body: Mapping[str, Any], *, users_template: bool = False) -> dict[str, Any]:
    """The part of a wanted object that is compared field by field.

    Volumes count by name only: users write their sources, and the server drops and rewrites parts
    of them; the template's hash tells of a change there. So does it of a probe's grace period,
    which servers before Kubernetes 1.28 may drop. The generation says what a Job was made for and
    is no reason to make another; nor is its pod failure policy, which cannot be changed, and which
    servers before 1.26 drop.
    """
    copy: dict[str, Any] = plain(body)
    copy["metadata"].get("annotations", {}).pop(labels.GENERATION, None)
    copy.get("spec", {}).pop("podFailurePolicy", None)
    if users_template:
        copy["spec"]["template"] = comparable_template(copy["spec"]["template"])
    pod = copy.get("spec", {}).get("template", {}).get("spec")
    if pod is not None and "volumes" in pod:
        pod["volumes"] = [{"name": volume["name"]} for volume in pod["volumes"]]
    for container in (pod or {}).get("containers", ()):
        container.get("livenessProbe", {}).pop("terminationGracePeriodSeconds", None)
    return copy


def deviations(want: Desired, live: KubeObject) -> list[str]:
    """The paths at which `live` is not as wanted. A Service's selector counts as a whole: one key
    more and some pods get no traffic. Claim templates, which KAITO v0.12 makes for local disks,
    would go before the pod template's volumes."""
    paths = differences(comparable(want.body, users_template=want.users_template), live)
    if want.resource is SERVICE:
        selector = live["spec"].get("selector") or {}
        wanted = want.body["spec"]["selector"]
        paths += [f"spec.selector.{key}" for key in sorted(selector) if key not in wanted]
    if want.resource is STATEFUL_SET and live["spec"].get("volumeClaimTemplates"):
        paths.append(_CLAIM_TEMPLATES)
    return paths


def updated(want: Desired, live: KubeObject) -> dict[str, Any]:
    """`live` with what `want` sets.

    Lists, a pod template and a Service's selector are replaced whole. A pod keeps the labels that
    the StatefulSet of an earlier version, or of KAITO v0.12, selects it by. Of a Job whose pods are
    as wanted their part stays as the server keeps it: it refuses any other.
    """
    wanted = want.body
    if want.resource is JOB and _template_hash(live) == _template_hash(wanted):
        wanted = _without_pods(wanted)
    body: dict[str, Any] = _overlaid(live, wanted)
    if want.resource is SERVICE:
        body["spec"]["selector"] = thaw(want.body["spec"]["selector"])
    if want.resource is STATEFUL_SET:
        selected = live["spec"]["selector"].get("matchLabels") or {}
        pod = body["spec"]["template"]["metadata"]
        pod["labels"] = thaw(selected) | pod["labels"]
    return body


def _template_hash(found: Mapping[str, Any]) -> str:
    annotations = found["metadata"].get("annotations") or {}
    return str(annotations.get(labels.TEMPLATE_HASH, ""))


def _without_pods(job: Mapping[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = plain(job)
    copy["metadata"]["annotations"].pop(labels.GENERATION)
    del copy["spec"]["podFailurePolicy"], copy["spec"]["template"]
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


def _overlaid(live: Any, wanted: Any, path: str = "") -> Any:
    if isinstance(wanted, Mapping) and isinstance(live, Mapping) and path != "spec.template":
        merged = thaw(live)
        for key, value in wanted.items():
            at = f"{path}.{key}" if path else str(key)
            merged[key] = _overlaid(live.get(key), value, at)
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
    regrouped = want.resource is STATEFUL_SET and _regroups(want, live, changed)
    inherited = adoption.is_inherited(want, live)
    older_spec, older_config = (False, False) if inherited else _older(want, live)
    status = live.get("status") or {}
    spec = live["spec"]
    replicas, pods = spec.get("replicas", 1), status.get("replicas", 0)
    updated_replicas = status.get("updatedReplicas", 0)
    observed = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    scale = tuple(here + path for path in _SCALE)
    rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
    return WorkloadView(
        state=WorkloadState.DIFFERENT if changed else WorkloadState.SAME,
        differences=tuple(changed),
        content_differs=not all(path.startswith(scale) for path in changed),
        rolls=older_spec or any(path.startswith(f"{here}spec.template") for path in changed),
        must_replace=must_replace or regrouped,
        restarts_group=regrouped,
        taken=taken,
        older_spec=older_spec,
        older_config=older_config,
        inherited=inherited,
        to_adopt=adoption.is_unmarked(live),
        observed=observed,
        settled=observed and pods == replicas == updated_replicas,
        replicas=replicas,
        partition=rolling.get("partition", 0),
        pods=pods,
        updated_replicas=updated_replicas,
        ready_replicas=status.get("readyReplicas", 0),
        active=status.get("active", 0) > 0,
        succeeded=is_true(live, "Complete"),
        failed=is_true(live, "Failed"),
        failed_pods=status.get("failed", 0),
        retries=spec.get("backoffLimit", 0),
        retry=annotations_of(live).get(labels.RETRY, ""),
        message=_failure(live),
    )


def _regroups(want: Desired, live: KubeObject, changed: Sequence[str]) -> bool:
    """Whether pods that serve together, now or then, get another template. A StatefulSet would
    roll them one by one: the first new one waits for a group that the old ones are not of."""
    template = ("spec.template", f"metadata.annotations.{labels.TEMPLATE_HASH}")
    paths = tuple(f"{address(want)} {prefix}" for prefix in template)
    is_group = ray_pod.is_of_group(live) or ray_pod.is_of_group(want.body)
    return is_group and any(path.startswith(paths) for path in changed)


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
    """On the pods of a Job of kaito's, on the Job itself where it was adopted."""
    template: Mapping[str, Any] = job["spec"]["template"].get("metadata") or {}
    on_pods, on_job = template.get("annotations") or {}, job["metadata"].get("annotations") or {}
    return str(on_pods.get(labels.CONFIG_HASH) or on_job.get(labels.CONFIG_HASH, ""))


def _failure(live: KubeObject) -> str:
    conditions = (live.get("status") or {}).get("conditions") or ()
    return next((found.get("message", "") for found in conditions if found["type"] == "Failed"), "")
