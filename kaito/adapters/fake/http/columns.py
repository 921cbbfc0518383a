"""The columns that `kubectl get` shows: for each kind, how a cell comes from an object."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kaito.adapters.fake.http.ages import age_of, between, human_duration
from kaito.adapters.fake.http.budget_columns import (
    allowed_disruptions,
    max_unavailable,
    min_available,
)
from kaito.adapters.fake.http.pod_columns import (
    pod_ip,
    pod_node,
    pod_nominated_node,
    pod_readiness_gates,
    pod_ready,
    pod_restarts,
    pod_status,
)
from kaito.adapters.fake.http.slice_columns import slice_endpoints, slice_ports
from kaito.adapters.kube_api import Json, KubeObject, annotations_of, condition_of, labels_of
from kaito.domain.timestamps import from_rfc3339

NONE: Final = "<none>"
Cell: TypeAlias = Callable[[KubeObject, float], Json]

_ROLE_PREFIX: Final = "node-role.kubernetes.io/"
_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_SHORT_MODES: Final[Mapping[str, str]] = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_ROLE_LABEL: Final = "kubernetes.io/role"
_PART: Final = re.compile(
    r"""\.(?P<key>(?:\\.|[^.\[\\])+)|\[(?P<index>\d+)\]"""
    r"""|\[\?\(@\.(?P<field>[\w-]+)\s*==\s*["'](?P<wanted>[^"']*)["']\)\]"""
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column; kubectl shows those of priority 1 only with `-o wide`."""

    name: str
    value: Cell
    type: str = "string"
    priority: int = 0
    format: str = ""
    description: str = ""

    def definition(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or f"{self.name} of the object",
            "priority": self.priority,
        }


def crd_columns(columns: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """The columns of a CRD's version: its `additionalPrinterColumns` behind the name."""
    own = tuple(
        Column(
            name=column["name"],
            value=_path_cell(column["jsonPath"], column["type"]),
            type=column["type"],
            priority=column.get("priority", 0),
            format=column.get("format", ""),
            description=column.get("description", ""),
        )
        for column in columns
    )
    return (_NAME, *(own or (_AGE,)))


def at_path(obj: Json, path: str) -> Json:
    """What a JSON path of a printer column finds first; None where there is nothing."""
    position = 0
    while position < len(path):
        found = _PART.match(path, position)
        if found is None:
            return None
        key, index, field, wanted = found.group("key", "index", "field", "wanted")
        if key is not None:
            obj = obj.get(key.replace("\\", "")) if isinstance(obj, Mapping) else None
        elif not isinstance(obj, list):
            return None
        elif index is not None:
            obj = obj[int(index)] if int(index) < len(obj) else None
        else:
            obj = next((one for one in obj if str(one.get(field, "")) == wanted), None)
        position = found.end()
    return obj


def _path_cell(path: str, kind: str) -> Cell:
    def cell(obj: KubeObject, now_s: float) -> Json:
        value = at_path(obj, path)
        if value is None:
            return None
        if kind == "date":
            return human_duration(now_s - from_rfc3339(str(value)))
        if kind == "string" and not isinstance(value, str):
            return str(value).lower() if isinstance(value, bool) else str(value)
        return value

    return cell


# --- cells ---------------------------------------------------------------------------------------


def _name(obj: KubeObject, _now_s: float) -> str:
    return str(obj["metadata"]["name"])


def _count(key: str) -> Cell:
    return lambda obj, _now_s: len(obj.get(key) or ())


def _field(path: str, default: str = "") -> Cell:
    return lambda obj, _now_s: at_path(obj, path) or default


def _config_map_data(obj: KubeObject, _now_s: float) -> int:
    return len(obj.get("data") or ()) + len(obj.get("binaryData") or ())


def _node_status(obj: KubeObject, _now_s: float) -> str:
    ready = condition_of(obj, "Ready")
    words = ["Unknown" if ready is None else "Ready" if ready["status"] == "True" else "NotReady"]
    if (obj.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(obj: KubeObject, _now_s: float) -> str:
    roles = [
        key.removeprefix(_ROLE_PREFIX) if key.startswith(_ROLE_PREFIX) else value
        for key, value in labels_of(obj).items()
        if key.startswith(_ROLE_PREFIX) or key == _ROLE_LABEL
    ]
    return ",".join(sorted(roles)) or NONE


def _node_address(kind: str) -> Cell:
    path = f'.status.addresses[?(@.type=="{kind}")].address'
    return _field(path, NONE)


def _node_info(key: str) -> Cell:
    return _field(f".status.nodeInfo.{key}", "<unknown>")


def _node_version(obj: KubeObject, _now_s: float) -> str:
    return str(at_path(obj, ".status.nodeInfo.kubeletVersion") or "")


def _service_ports(obj: KubeObject, _now_s: float) -> str:
    shown = []
    for port in obj["spec"].get("ports") or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        shown.append(f"{port['port']}{node}/{port.get('protocol', 'TCP')}")
    return ",".join(shown) or NONE


def _service_external(obj: KubeObject, _now_s: float) -> str:
    spec = obj["spec"]
    if spec.get("type") == "ExternalName":
        return str(spec.get("externalName", NONE))
    given = list(spec.get("externalIPs") or ())
    if spec.get("type") == "LoadBalancer":
        ingress = at_path(obj, ".status.loadBalancer.ingress") or ()
        given = [one.get("ip") or one.get("hostname", "") for one in ingress] + given
        return ",".join(given) or "<pending>"
    return ",".join(given) or NONE


def _selector(obj: KubeObject, _now_s: float) -> str:
    return _labels_text(obj["spec"].get("selector") or {})


def _labels_text(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or NONE


def _stateful_set_ready(obj: KubeObject, _now_s: float) -> str:
    status = obj.get("status") or {}
    return f"{status.get('readyReplicas', 0)}/{obj['spec'].get('replicas', 1)}"


def _containers(key: str) -> Cell:
    def cell(obj: KubeObject, _now_s: float) -> str:
        template = at_path(obj, ".spec.template.spec.containers") or ()
        return ",".join(str(one.get(key, "")) for one in template)

    return cell


def _job_status(obj: KubeObject, _now_s: float) -> str:
    for kind, word in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        condition = condition_of(obj, kind)
        if condition is not None and condition["status"] == "True":
            return word
    return "Terminating" if "deletionTimestamp" in obj["metadata"] else "Running"


def _job_completions(obj: KubeObject, _now_s: float) -> str:
    done = (obj.get("status") or {}).get("succeeded", 0)
    wanted = obj["spec"].get("completions")
    if wanted is not None:
        return f"{done}/{wanted}"
    parallel = obj["spec"].get("parallelism", 1)
    return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"


def _job_duration(obj: KubeObject, now_s: float) -> str:
    status = obj.get("status") or {}
    if "startTime" not in status:
        return ""
    end_s = from_rfc3339(status["completionTime"]) if "completionTime" in status else now_s
    return human_duration(end_s - from_rfc3339(status["startTime"]))


def _job_selector(obj: KubeObject, _now_s: float) -> str:
    return _labels_text(at_path(obj, ".spec.selector.matchLabels") or {})


def _event_last_seen(obj: KubeObject, now_s: float) -> str:
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = obj.get("lastTimestamp") or first
    if not last:
        return "<unknown>"
    count = obj.get("count", 1)
    if count > 1 and first:
        return f"{between(last, now_s)} (x{count} over {between(first, now_s)})"
    return between(last, now_s)


def _event_first_seen(obj: KubeObject, now_s: float) -> str:
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    return between(first, now_s) if first else "<unknown>"


def _event_object(obj: KubeObject, _now_s: float) -> str:
    about = obj.get("involvedObject") or {}
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _event_source(obj: KubeObject, _now_s: float) -> str:
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent") or ""
    return ", ".join(filter(None, [component, source.get("host", "")]))


def _access_modes(path: str) -> Cell:
    return lambda obj, _now_s: ",".join(
        _SHORT_MODES.get(mode, mode) for mode in at_path(obj, path) or ()
    )


def _bound_status(obj: KubeObject, _now_s: float) -> str:
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    return str(at_path(obj, ".status.phase") or "")


def _volume_claim(obj: KubeObject, _now_s: float) -> str:
    claim = obj["spec"].get("claimRef") or {}
    return f"{claim['namespace']}/{claim['name']}" if claim else ""


def _expandable(obj: KubeObject, _now_s: float) -> str:
    return "true" if obj.get("allowVolumeExpansion") else "false"


def _class_name(obj: KubeObject, _now_s: float) -> str:
    default = annotations_of(obj).get(_DEFAULT_CLASS) == "true"
    return f"{obj['metadata']['name']} (default)" if default else str(obj["metadata"]["name"])


def _revision_controller(obj: KubeObject, _now_s: float) -> str:
    owners = obj["metadata"].get("ownerReferences") or ()
    owner = next((one for one in owners if one.get("controller")), None)
    if owner is None:
        return NONE
    group = str(owner["apiVersion"]).rpartition("/")[0]
    kind = str(owner["kind"]).lower()
    return f"{kind}.{group}/{owner['name']}" if group else f"{kind}/{owner['name']}"


_NAME: Final = Column(
    "Name",
    _name,
    format="name",
    description="Name must be unique within a namespace.",
)
_AGE: Final = Column("Age", age_of, description="Time since the object was created.")


def _wide(name: str, value: Cell, kind: str = "string") -> Column:
    return Column(name, value, type=kind, priority=1)


BUILT_IN_COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = {
    "": (_NAME, _AGE),
    "namespaces": (_NAME, Column("Status", _field(".status.phase")), _AGE),
    "nodes": (
        _NAME,
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        _AGE,
        Column("Version", _node_version),
        _wide("Internal-IP", _node_address("InternalIP")),
        _wide("External-IP", _node_address("ExternalIP")),
        _wide("OS-Image", _node_info("osImage")),
        _wide("Kernel-Version", _node_info("kernelVersion")),
        _wide("Container-Runtime", _node_info("containerRuntimeVersion")),
    ),
    "pods": (
        _NAME,
        Column("Ready", pod_ready),
        Column("Status", pod_status),
        Column("Restarts", pod_restarts),
        _AGE,
        _wide("IP", pod_ip),
        _wide("Node", pod_node),
        _wide("Nominated Node", pod_nominated_node),
        _wide("Readiness Gates", pod_readiness_gates),
    ),
    "services": (
        _NAME,
        Column("Type", _field(".spec.type", "ClusterIP")),
        Column("Cluster-IP", _field(".spec.clusterIP", NONE)),
        Column("External-IP", _service_external),
        Column("Port(s)", _service_ports),
        _AGE,
        _wide("Selector", _selector),
    ),
    "configmaps": (_NAME, Column("Data", _config_map_data, type="integer"), _AGE),
    "secrets": (
        _NAME,
        Column("Type", _field(".type", "Opaque")),
        Column("Data", _count("data"), type="integer"),
        _AGE,
    ),
    "events": (
        Column("Last Seen", _event_last_seen),
        Column("Type", _field(".type")),
        Column("Reason", _field(".reason")),
        Column("Object", _event_object),
        _wide("Subobject", _field(".involvedObject.fieldPath")),
        _wide("Source", _event_source),
        Column("Message", lambda obj, _now_s: str(obj.get("message", "")).strip()),
        _wide("First Seen", _event_first_seen),
        _wide("Count", lambda obj, _now_s: obj.get("count", 1), "integer"),
        Column("Name", _name, priority=1, format="name"),
    ),
    "statefulsets": (
        _NAME,
        Column("Ready", _stateful_set_ready),
        _AGE,
        _wide("Containers", _containers("name")),
        _wide("Images", _containers("image")),
    ),
    "controllerrevisions": (
        _NAME,
        Column("Controller", _revision_controller),
        Column("Revision", lambda obj, _now_s: obj.get("revision", 0), type="integer"),
        _AGE,
    ),
    "jobs": (
        _NAME,
        Column("Status", _job_status),
        Column("Completions", _job_completions),
        Column("Duration", _job_duration),
        _AGE,
        _wide("Containers", _containers("name")),
        _wide("Images", _containers("image")),
        _wide("Selector", _job_selector),
    ),
    "persistentvolumeclaims": (
        _NAME,
        Column("Status", _bound_status),
        Column("Volume", _field(".spec.volumeName")),
        Column("Capacity", _field(".status.capacity.storage")),
        Column("Access Modes", _access_modes(".status.accessModes")),
        Column("StorageClass", _field(".spec.storageClassName")),
        Column("VolumeAttributesClass", _field(".spec.volumeAttributesClassName", "<unset>")),
        _AGE,
        _wide("VolumeMode", _field(".spec.volumeMode", "<unset>")),
    ),
    "persistentvolumes": (
        _NAME,
        Column("Capacity", _field(".spec.capacity.storage")),
        Column("Access Modes", _access_modes(".spec.accessModes")),
        Column("Reclaim Policy", _field(".spec.persistentVolumeReclaimPolicy")),
        Column("Status", _bound_status),
        Column("Claim", _volume_claim),
        Column("StorageClass", _field(".spec.storageClassName")),
        Column("VolumeAttributesClass", _field(".spec.volumeAttributesClassName", "<unset>")),
        Column("Reason", _field(".status.reason")),
        _AGE,
        _wide("VolumeMode", _field(".spec.volumeMode", "<unset>")),
    ),
    "storageclasses": (
        Column("Name", _class_name, format="name"),
        Column("Provisioner", _field(".provisioner")),
        Column("ReclaimPolicy", _field(".reclaimPolicy", "Delete")),
        Column("VolumeBindingMode", _field(".volumeBindingMode", "<unset>")),
        Column("AllowVolumeExpansion", _expandable),
        _AGE,
    ),
    "serviceaccounts": (_NAME, Column("Secrets", _count("secrets"), type="integer"), _AGE),
    "endpointslices": (
        _NAME,
        Column("AddressType", _field(".addressType")),
        Column("Ports", slice_ports),
        Column("Endpoints", slice_endpoints),
        _AGE,
    ),
    "poddisruptionbudgets": (
        _NAME,
        Column("Min Available", min_available),
        Column("Max Unavailable", max_unavailable),
        Column("Allowed Disruptions", allowed_disruptions, type="integer"),
        _AGE,
    ),
    "leases": (_NAME, Column("Holder", _field(".spec.holderIdentity")), _AGE),
    "customresourcedefinitions": (
        _NAME,
        Column("Created At", _field(".metadata.creationTimestamp"), type="date"),
    ),
}
