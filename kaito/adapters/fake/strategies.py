"""What is particular to each kind: defaults, what a create starts with, what may not change.

A draft is the object that is about to be stored: a plain dict, its parts plain or frozen.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any

from kaito.adapters.fake.api_errors import Problem, bad_request
from kaito.adapters.fake.disruption import POD_DISRUPTION_BUDGET
from kaito.adapters.fake.disruption_rules import create_budget, update_budget
from kaito.adapters.fake.pod_defaults import (
    Fields,
    canonical,
    default_pod,
    quality_of_service,
)
from kaito.adapters.fake.snapshots import share
from kaito.adapters.fake.spec_defaults import (
    default_job,
    default_node,
    default_service,
    default_stateful_set,
    node_status,
    pod_status,
    workload_status,
)
from kaito.adapters.fake.storage_defaults import (
    create_claim,
    create_storage_class,
    create_volume,
)
from kaito.adapters.fake.validation import (
    config_map_problems,
    frozen_config_map_problems,
    job_problems,
    node_change_problems,
    node_problems,
    pod_change_problems,
    pod_problems,
    service_problems,
    stateful_set_problems,
    status_count_problems,
)
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    EVENT,
    JOB,
    NAMESPACE,
    NODE,
    PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    STORAGE_CLASS,
    KubeObject,
    Resource,
    freeze,
)

_STATEFUL_SET_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)


def counts_generations(resource: Resource) -> bool:
    """Whether the server keeps `metadata.generation` for this kind."""
    return resource.is_custom or (bool(resource.group) and resource.status_subresource)


def spec_changed(resource: Resource, draft: KubeObject, old: KubeObject) -> bool:
    """Whether a write (that shares what is equal with `old`) is one that raises `generation`."""
    if not resource.is_custom:
        return draft.get("spec") is not old.get("spec")
    ignored = {"apiVersion", "kind", "metadata"}
    if resource.status_subresource:
        ignored.add("status")
    return any(draft.get(key) is not old.get(key) for key in {*draft, *old} - ignored)


def prepare_create(resource: Resource, draft: Fields) -> list[Problem]:
    """Complete a new object, and say what is wrong with it.

    Raises: InvalidObject (400: it cannot be decoded).
    """
    if resource.status_subresource and _key(resource) != _key(NODE):
        draft.pop("status", None)
    if resource.is_custom:
        return []
    _leave_out_empty(resource, draft)
    if "spec" in draft:
        draft["spec"] = canonical(draft["spec"])
    create = _CREATE.get(_key(resource))
    return create(draft) if create else []


def prepare_update(resource: Resource, draft: Fields, old: KubeObject) -> list[Problem]:
    """Complete a changed object (its status is the old one's), and say what may not change."""
    if resource.is_custom:
        return []
    _leave_out_empty(resource, draft)
    if "spec" in old:
        draft.setdefault("spec", {})
    if draft.get("spec") is not old.get("spec"):
        draft["spec"] = canonical(draft["spec"])
        default = _DEFAULTS.get(_key(resource))
        if default is not None:
            default(draft["spec"])
        draft["spec"] = share(draft["spec"], old.get("spec"))
    update = _UPDATE.get(_key(resource))
    return update(draft, old) if update else []


def prepare_status(resource: Resource, draft: Fields) -> list[Problem]:
    """Complete an object whose status a writer changed, and say what is wrong with the status."""
    if _key(resource) == _key(JOB):
        _label_job(draft)
    if "status" not in draft:
        return []
    complete = _STATUSES.get(_key(resource))
    if complete is not None:
        draft["status"] = complete(draft["status"])
    return status_count_problems(resource, draft["status"])


def _leave_out_empty(resource: Resource, draft: Fields) -> None:
    if not resource.status_subresource:
        draft.pop("status", None)
    for field in [field for field in draft if field not in {"metadata", "spec", "status"}]:
        if draft[field] is None or (draft[field] == {} and field in {"data", "binaryData"}):
            del draft[field]


def _key(resource: Resource) -> tuple[str, str]:
    return resource.group, resource.plural


# --- create --------------------------------------------------------------------------------------


def _create_namespace(draft: Fields) -> list[Problem]:
    spec = draft.setdefault("spec", {})
    finalizers = spec.setdefault("finalizers", [])
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")
    meta = draft["metadata"]
    meta["labels"] = {**meta.get("labels", {}), "kubernetes.io/metadata.name": meta.get("name", "")}
    draft["status"] = {"phase": "Active"}
    return []


def _create_node(draft: Fields) -> list[Problem]:
    default_node(draft.setdefault("spec", {}))
    draft["status"] = status = node_status(draft.get("status", {}))
    if "capacity" in status:
        status.setdefault("allocatable", dict(status["capacity"]))
    return node_problems(draft["spec"])


def _create_pod(draft: Fields) -> list[Problem]:
    spec = draft.setdefault("spec", {})
    default_pod(spec)
    draft["status"] = {"phase": "Pending", "qosClass": quality_of_service(spec)}
    return pod_problems(spec, "spec")


def _create_stateful_set(draft: Fields) -> list[Problem]:
    spec = draft.setdefault("spec", {})
    default_stateful_set(spec)
    draft["status"] = {"replicas": 0, "availableReplicas": 0}
    return stateful_set_problems(spec)


def _create_job(draft: Fields) -> list[Problem]:
    spec = draft.setdefault("spec", {})
    default_job(spec)
    meta = draft["metadata"]
    if not spec.get("manualSelector"):
        uid = {"batch.kubernetes.io/controller-uid": meta["uid"], "controller-uid": meta["uid"]}
        name = {"batch.kubernetes.io/job-name": meta["name"], "job-name": meta["name"]}
        template = spec["template"]["metadata"]
        template["labels"] = {**template.get("labels", {}), **uid, **name}
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": meta["uid"]}}
    _label_job(draft)
    draft["status"] = {}
    return job_problems(spec)


def _create_service(draft: Fields) -> list[Problem]:
    spec = draft.setdefault("spec", {})
    default_service(spec)
    draft["status"] = {"loadBalancer": {}}
    return service_problems(spec)


def _create_secret(draft: Fields) -> list[Problem]:
    draft.setdefault("type", "Opaque")
    _decode_secret(draft)
    return []


def _create_event(draft: Fields) -> list[Problem]:
    involved = (draft.get("involvedObject") or {}).get("namespace", "")
    home = draft["metadata"]["namespace"]
    if involved == home or (not involved and home in {"default", "kube-system"}):
        return []
    detail = f'Invalid value: "{involved}": does not match event.namespace'
    return [Problem("involvedObject.namespace", detail)]


# --- update --------------------------------------------------------------------------------------


def _update_namespace(draft: Fields, old: KubeObject) -> list[Problem]:
    draft["spec"] = old["spec"]  # its finalizers change only through `finalize`
    return []


def _create_config_map(draft: Fields) -> list[Problem]:
    return config_map_problems(draft)


def _update_config_map(draft: Fields, old: KubeObject) -> list[Problem]:
    return [*config_map_problems(draft), *frozen_config_map_problems(draft, old)]


def _update_node(draft: Fields, old: KubeObject) -> list[Problem]:
    problems = node_problems(draft["spec"])
    return [*problems, *node_change_problems(draft["spec"], old["spec"])]


def _update_pod(draft: Fields, old: KubeObject) -> list[Problem]:
    spec, before = draft.get("spec", {}), old["spec"]
    if spec is before:
        return []
    return [*pod_problems(spec, "spec"), *pod_change_problems(spec, before)]


def _update_stateful_set(draft: Fields, old: KubeObject) -> list[Problem]:
    spec, before = draft.get("spec", {}), old["spec"]
    if spec is before:
        return []
    problems = stateful_set_problems(spec)
    keys = {*spec, *before} - set(_STATEFUL_SET_MUTABLE)
    if any(spec.get(key) != before.get(key) for key in keys):
        names = ", ".join(f"'{name}'" for name in _STATEFUL_SET_MUTABLE[:-1])
        detail = (
            f"Forbidden: updates to statefulset spec for fields other than {names} and"
            f" '{_STATEFUL_SET_MUTABLE[-1]}' are forbidden"
        )
        problems.append(Problem("spec", detail))
    return problems


def _update_job(draft: Fields, old: KubeObject) -> list[Problem]:
    _label_job(draft)
    spec, before = draft.get("spec", {}), old["spec"]
    return [
        *job_problems(spec),
        *(
            Problem(f"spec.{key}", f"Invalid value: {spec.get(key)}: field is immutable")
            for key in ("completions", "selector", "template", "completionMode", "podFailurePolicy")
            if spec.get(key) != before.get(key)
        ),
    ]


def _update_service(draft: Fields, old: KubeObject) -> list[Problem]:
    spec, before = draft.get("spec", {}), old["spec"]
    if spec is before:
        return []
    spec = draft["spec"] = dict(spec)
    address = before.get("clusterIP")
    if spec["type"] == "ExternalName" or before["type"] == "ExternalName" or not address:
        return service_problems(spec)
    problems = []
    if (spec.get("clusterIP") or address) != address:
        detail = f'Invalid value: ["{spec["clusterIP"]}"]: may not change once set'
        problems.append(Problem("spec.clusterIPs[0]", detail))
    spec["clusterIP"] = spec.get("clusterIP") or address
    spec["clusterIPs"] = before["clusterIPs"]
    spec["ports"] = _same_node_ports(spec, before)
    if not spec["ports"]:
        del spec["ports"]
    if spec["type"] == "ClusterIP":
        spec.pop("externalTrafficPolicy", None)
        spec.pop("allocateLoadBalancerNodePorts", None)
    return [*problems, *service_problems(spec)]


def _update_secret(draft: Fields, old: KubeObject) -> list[Problem]:
    draft.setdefault("type", "Opaque")
    _decode_secret(draft)
    if draft["type"] == old["type"]:
        return []
    return [Problem("type", f'Invalid value: "{draft["type"]}": field is immutable')]


# --- parts ---------------------------------------------------------------------------------------


def _label_job(draft: Fields) -> None:
    """A Job without labels of its own has those of its pods."""
    labels = draft["spec"]["template"]["metadata"].get("labels")
    if labels and not draft["metadata"].get("labels"):
        draft["metadata"] = {**draft["metadata"], "labels": labels}


def _same_node_ports(spec: Mapping[str, Any], before: Mapping[str, Any]) -> list[Fields]:
    given = {
        (port["port"], port["protocol"]): port["nodePort"]
        for port in before.get("ports", ())
        if "nodePort" in port
    }
    ports = [dict(port) for port in spec.get("ports", ())]
    for port in ports:
        if spec["type"] == "ClusterIP":
            port.pop("nodePort", None)
        elif (port["port"], port["protocol"]) in given:
            port.setdefault("nodePort", given[port["port"], port["protocol"]])
    return ports


def _decode_secret(draft: Fields) -> None:
    """Move `stringData` into `data`, as the server does when it decodes a Secret."""
    plain = draft.pop("stringData", None) or {}
    data = {**(draft.get("data") or {})}
    for key, text in data.items():
        try:
            base64.b64decode(text or "", validate=True)
        except (ValueError, TypeError) as error:
            raise bad_request(
                f'Secret in version "v1" cannot be handled as a Secret: data["{key}"]: {error}'
            ) from error
    data.update((key, base64.b64encode(text.encode()).decode()) for key, text in plain.items())
    if data:
        draft["data"] = freeze(data)


_CREATE: Mapping[tuple[str, str], Callable[[Fields], list[Problem]]] = {
    _key(NAMESPACE): _create_namespace,
    _key(CONFIG_MAP): _create_config_map,
    _key(NODE): _create_node,
    _key(POD): _create_pod,
    _key(STATEFUL_SET): _create_stateful_set,
    _key(JOB): _create_job,
    _key(SERVICE): _create_service,
    _key(SECRET): _create_secret,
    _key(EVENT): _create_event,
    _key(PERSISTENT_VOLUME_CLAIM): create_claim,
    _key(PERSISTENT_VOLUME): create_volume,
    _key(STORAGE_CLASS): create_storage_class,
    _key(POD_DISRUPTION_BUDGET): create_budget,
}
_UPDATE: Mapping[tuple[str, str], Callable[[Fields, KubeObject], list[Problem]]] = {
    _key(NAMESPACE): _update_namespace,
    _key(CONFIG_MAP): _update_config_map,
    _key(NODE): _update_node,
    _key(POD): _update_pod,
    _key(STATEFUL_SET): _update_stateful_set,
    _key(JOB): _update_job,
    _key(SERVICE): _update_service,
    _key(SECRET): _update_secret,
    _key(POD_DISRUPTION_BUDGET): update_budget,
}
_DEFAULTS: Mapping[tuple[str, str], Callable[[Fields], None]] = {
    _key(NODE): default_node,
    _key(POD): default_pod,
    _key(STATEFUL_SET): default_stateful_set,
    _key(JOB): default_job,
    _key(SERVICE): default_service,
}
_STATUSES: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], Fields]] = {
    _key(NODE): node_status,
    _key(POD): pod_status,
    _key(STATEFUL_SET): workload_status,
    _key(JOB): workload_status,
}
