"""A pod template of the user's own, with what keeps its pods on the Workspace's machines.

KAITO v0.12 puts its own node affinity in the place of the user's (pkg/workspace/manifests/
manifests.go); here nothing of the user's is taken away, and what contradicts was refused.
"""

from collections.abc import Mapping
from typing import Any, Final

from kaito.adapters.k8s.plain import plain
from kaito.domain.template_rules import required_terms
from kaito.domain.workload import Workload

_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
# What the API server stores as it is written. Amounts it writes its own way, and what it does not
# know or what is empty it drops: for those only the hash of the whole template tells of a change.
_STORED_AS_WRITTEN: Final = ("name", "image", "command", "args")


def pod_template(
    workload: Workload,
    *,
    own_labels: Mapping[str, str],
    node_affinity: Mapping[str, Any],
    tolerations: list[dict[str, Any]],
) -> dict[str, Any]:
    """The template of the pods."""
    assert workload.template is not None, "a template's workload"
    found: dict[str, Any] = plain(workload.template)
    metadata, spec = dict(found.get("metadata") or {}), dict(found["spec"])
    metadata["labels"] = {**own_labels, **(metadata.get("labels") or {})}
    given = list(spec.get("tolerations") or ())
    spec["tolerations"] = given + [one for one in tolerations if one not in given]
    affinity = dict(spec.get("affinity") or {})
    theirs = affinity.get("nodeAffinity") or {}
    affinity["nodeAffinity"] = _both(theirs, required_terms(found), node_affinity)
    return {"metadata": metadata, "spec": {**spec, "affinity": affinity}}


def comparable_template(template: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a user's template that can be compared field by field with a live one."""
    metadata, spec = template["metadata"], template["spec"]
    kept: dict[str, Any] = {
        key: [
            {part: one[part] for part in _STORED_AS_WRITTEN if one.get(part)} for one in spec[key]
        ]
        for key in ("containers", "initContainers")
        if spec.get(key)
    }
    known = {key: metadata[key] for key in ("labels", "annotations") if metadata.get(key)}
    return {"metadata": known, "spec": kept}


def _both(theirs: Mapping[str, Any], terms: list[Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """A Node that both allow. Terms are alternatives: each of theirs goes with each of ours."""
    needed = ours[_REQUIRED]["nodeSelectorTerms"]
    if terms:
        needed = [
            {
                **theirs_,
                "matchExpressions": [*(theirs_.get("matchExpressions") or ()), *expressions],
            }
            for theirs_ in terms
            for expressions in (one["matchExpressions"] for one in needed)
        ]
    merged = {**theirs, _REQUIRED: {"nodeSelectorTerms": needed}}
    preferred = [*(theirs.get(_PREFERRED) or ()), *ours.get(_PREFERRED, ())]
    return merged | ({_PREFERRED: preferred} if preferred else {})
