"""A machine's record as a NodeClaim (karpenter.sh/v1), and Nodes as the domain sees them.

The content follows KAITO v0.12 (pkg/utils/nodeclaim/nodeclaim.go:134-262), so that its
gpu-provisioner or Karpenter understand it. NodeClaims are cluster-scoped and cannot be owned by a
namespaced Workspace: labels say whose they are, and the Workspace's finalizer releases them.
"""

from collections.abc import Mapping
from typing import Any, Final

from kaito.adapters.k8s import conditions_json
from kaito.adapters.kube_api import NODE_CLAIM, KubeObject, annotations_of, is_true, labels_of
from kaito.domain import labels
from kaito.domain.machine import (
    NO_SLOT,
    Attempt,
    CapacityType,
    Machine,
    MachineSpec,
    NodeView,
    Owner,
    Taint,
)
from kaito.domain.plan import WriteMachine
from kaito.domain.quantity import GIB, parse_bytes
from kaito.domain.timestamps import from_rfc3339, to_rfc3339

# Labels of what a machine turned out to be: not of what was asked for.
_PLACEMENT: Final = frozenset({labels.INSTANCE_TYPE, labels.CAPACITY_TYPE, labels.ZONE})
_NODE_CLASS: Final = {"group": "kaito.sh", "kind": "KaitoNodeClass", "name": "default"}


def to_node_claim(spec: MachineSpec) -> dict[str, Any]:
    """The NodeClaim that records `spec`."""
    offered = {spec.instance_type: spec.gpus, **dict(spec.fallbacks)}
    annotations = {labels.DO_NOT_DISRUPT: "true"}
    if spec.image_family:
        annotations[labels.NODE_IMAGE_FAMILY] = spec.image_family
    if spec.fallbacks:
        text = ",".join(f"{name}={gpus}" for name, gpus in offered.items())
        annotations[labels.OFFERED_GPUS] = text
    if spec.weights_class:
        annotations[labels.WEIGHTS_CLASS] = spec.weights_class
    if spec.retry:
        annotations[labels.RETRY] = spec.retry
    requirements = [
        _requirement(labels.NODE_POOL, [labels.NODE_POOL_KAITO]),
        _requirement(labels.INSTANCE_TYPE, list(offered)),
        _requirement(labels.OPERATING_SYSTEM, ["linux"]),
        _requirement(labels.AZURE_SKU_NAME, list(offered)),
    ]
    if spec.capacity_types != (CapacityType.ON_DEMAND,):
        bought = [each.value for each in spec.capacity_types]
        requirements.append(_requirement(labels.CAPACITY_TYPE, bought))
    return {
        "apiVersion": NODE_CLAIM.api_version,
        "kind": NODE_CLAIM.kind,
        "metadata": {
            "name": spec.name,
            "labels": dict(sorted(spec.labels.items())),
            "annotations": annotations,
            "finalizers": [labels.MACHINE_FINALIZER],
        },
        "spec": {
            "nodeClassRef": dict(_NODE_CLASS),
            "requirements": requirements,
            "resources": {
                "requests": {
                    "storage": f"{-(-spec.disk_bytes // GIB)}Gi",
                    labels.GPU_RESOURCE: str(min(offered.values())),
                }
            },
            "taints": [
                {
                    "key": labels.GPU_TAINT_KEY,
                    "value": labels.GPU_TAINT_VALUE,
                    "effect": "NoSchedule",
                }
            ],
        },
    }


def to_machine(claim: KubeObject) -> Machine | None:
    """The record that a NodeClaim holds, or None when it is not one of kaito's."""
    found = labels_of(claim)
    uid = found.get(labels.WORKSPACE_UID)
    slot = found.get(labels.SLOT, "")
    if not uid or not (slot.isascii() and slot.isdigit()):
        return None
    owner = Owner(
        uid=uid,
        namespace=found.get(labels.WORKSPACE_NAMESPACE, ""),
        name=found.get(labels.WORKSPACE, ""),
    )
    return _machine(claim, owner, int(slot))


def adoptable_labels(owner: Owner) -> dict[str, str]:
    """What KAITO v0.12 writes onto the NodeClaims of a Workspace, among other labels."""
    return {
        labels.WORKSPACE: owner.name,
        labels.WORKSPACE_NAMESPACE: owner.namespace,
        labels.NODE_POOL: labels.NODE_POOL_KAITO,
    }


def to_adoptable(claim: KubeObject, owner: Owner) -> Machine | None:
    """The machine, without a slot, that KAITO v0.12 ordered for the owner; None for any other.

    What it is made of is not recorded there: at least one GPU is expected of it.
    """
    found = labels_of(claim)
    if labels.WORKSPACE_UID in found or not adoptable_labels(owner).items() <= found.items():
        return None
    return _machine(claim, owner, NO_SLOT)


def _machine(claim: KubeObject, owner: Owner, slot: int) -> Machine:
    metadata, found = claim["metadata"], labels_of(claim)
    requests = claim["spec"].get("resources", {}).get("requests", {})
    status = claim.get("status") or {}
    instance_type, *others = _required(claim, labels.INSTANCE_TYPE) or [""]
    gpus_of = _offered_gpus(annotations_of(claim).get(labels.OFFERED_GPUS, ""))
    least = _whole(requests.get(labels.GPU_RESOURCE), 1)
    spec = MachineSpec(
        owner=owner,
        slot=slot,
        instance_type=instance_type,
        gpus=gpus_of.get(instance_type, least),
        disk_bytes=_bytes(requests.get("storage")),
        labels={key: value for key, value in found.items() if key not in _PLACEMENT},
        image_family=annotations_of(claim).get(labels.NODE_IMAGE_FAMILY, ""),
        retry=annotations_of(claim).get(labels.RETRY, ""),
        weights_class=annotations_of(claim).get(labels.WEIGHTS_CLASS, ""),
        fallbacks=tuple((name, gpus_of.get(name, least)) for name in others),
        capacity_types=_capacity_types(claim),
    )
    return Machine(
        spec=spec,
        claim_name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        generation=metadata.get("generation", 0),
        created_at_s=from_rfc3339(metadata["creationTimestamp"]),
        deleting="deletionTimestamp" in metadata,
        has_finalizer=labels.MACHINE_FINALIZER in (metadata.get("finalizers") or ()),
        attempt=_attempt(annotations_of(claim), found.get(labels.ZONE, "")),
        conditions=conditions_json.from_json(status),
        provider_id=status.get("providerID", ""),
        node_name=status.get("nodeName", ""),
        bought_type=found.get(labels.INSTANCE_TYPE, ""),
    )


def attempt_annotations(attempt: Attempt) -> dict[str, str | None]:
    """The annotations that record an attempt; None removes one (JSON merge patch)."""
    started, earliest = attempt.started_at_s, attempt.not_before_s
    return {
        labels.ATTEMPT: str(attempt.number),
        labels.ATTEMPT_INSTANCE_TYPE: attempt.instance_type or None,
        labels.ATTEMPT_STARTED_AT: to_rfc3339(started) if started is not None else None,
        labels.ATTEMPT_NOT_BEFORE: to_rfc3339(earliest) if earliest else None,
        labels.ATTEMPT_CAPACITY_TYPE: labels.CAPACITY_SPOT
        if attempt.capacity_type is CapacityType.SPOT
        else None,
        labels.ATTEMPT_ZONE: attempt.asked_zone or None,
        labels.ATTEMPT_REFUSED_ZONES: ",".join(attempt.refused_zones) or None,
        labels.ATTEMPT_HOPS: str(attempt.hops) if attempt.hops else None,
        labels.ATTEMPT_RETRY: attempt.retry or None,
    }


def attempt_labels(attempt: Attempt) -> dict[str, str | None]:
    """What the machine turned out to be, once the cloud has placed it, as Karpenter labels its
    NodeClaims; None removes a label (JSON merge patch)."""
    found = {
        labels.INSTANCE_TYPE: attempt.instance_type,
        labels.CAPACITY_TYPE: attempt.capacity_type.value,
        labels.ZONE: attempt.zone,
    }
    return {key: (value or None) if attempt.zone else None for key, value in found.items()}


def status_of(record: WriteMachine) -> dict[str, Any]:
    """The NodeClaim's status; empty names are left out."""
    status: dict[str, Any] = {"conditions": conditions_json.to_json(record.conditions)}
    if record.provider_id:
        status["providerID"] = record.provider_id
    if record.node_name:
        status["nodeName"] = record.node_name
    return status


def to_node_view(node: KubeObject) -> NodeView:
    """A Node as the domain sees it."""
    allocatable: Mapping[str, str] = (node.get("status") or {}).get("allocatable") or {}
    spec: Mapping[str, Any] = node.get("spec") or {}
    return NodeView(
        name=node["metadata"]["name"],
        provider_id=spec.get("providerID", ""),
        ready=is_true(node, "Ready"),
        gpus=_whole(allocatable.get(labels.GPU_RESOURCE), 0),
        labels=labels_of(node),
        deleting="deletionTimestamp" in node["metadata"],
        cordoned=bool(spec.get("unschedulable")),
        taints=tuple(
            Taint(key=taint["key"], value=taint.get("value") or "", effect=taint["effect"])
            for taint in spec.get("taints") or ()
        ),
        slices=tuple(
            (name, _whole(allocatable[name], 0))
            for name in sorted(allocatable)
            if name.startswith(labels.MIG_PREFIX)
        ),
    )


def _requirement(key: str, values: list[str]) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": values}


def _required(claim: KubeObject, key: str) -> list[str]:
    for requirement in claim["spec"].get("requirements") or ():
        if requirement["key"] == key and requirement.get("values"):
            return [str(value) for value in requirement["values"]]
    return []


def _capacity_types(claim: KubeObject) -> tuple[CapacityType, ...]:
    known = {each.value: each for each in CapacityType}
    found = _required(claim, labels.CAPACITY_TYPE)
    return tuple(known[text] for text in found if text in known) or (CapacityType.ON_DEMAND,)


def _attempt(annotations: Mapping[str, str], zone: str) -> Attempt:
    started = _moment(annotations.get(labels.ATTEMPT_STARTED_AT))
    refused = annotations.get(labels.ATTEMPT_REFUSED_ZONES, "")
    return Attempt(
        number=_whole(annotations.get(labels.ATTEMPT), 0),
        instance_type=annotations.get(labels.ATTEMPT_INSTANCE_TYPE, ""),
        started_at_s=started,
        not_before_s=_moment(annotations.get(labels.ATTEMPT_NOT_BEFORE)) or 0.0,
        zone=zone,
        capacity_type=CapacityType.SPOT
        if annotations.get(labels.ATTEMPT_CAPACITY_TYPE) == labels.CAPACITY_SPOT
        else CapacityType.ON_DEMAND,
        asked_zone=annotations.get(labels.ATTEMPT_ZONE, ""),
        refused_zones=tuple(filter(None, refused.split(","))),
        hops=_whole(annotations.get(labels.ATTEMPT_HOPS), 0),
        retry=annotations.get(labels.ATTEMPT_RETRY, ""),
    )


# People can edit what stands in objects. What cannot be read counts as not there: a machine that
# was ordered under another attempt is then found as a stray and given back.


def _offered_gpus(text: str) -> dict[str, int]:
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name: _whole(gpus, 1) for name, _, gpus in pairs if gpus}


def _whole(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else otherwise


def _bytes(text: str | None) -> int:
    try:
        return parse_bytes(text) if text is not None else 0
    except ValueError:
        return 0


def _moment(text: str | None) -> float | None:
    try:
        return from_rfc3339(text) if text else None
    except ValueError:
        return None
