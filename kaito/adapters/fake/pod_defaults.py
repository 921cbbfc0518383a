"""What the API server fills in, and leaves out, in pods and pod templates."""

from collections.abc import Mapping
from typing import Any

from kaito.adapters.fake.quantities import canonical_quantity
from kaito.adapters.fake.snapshots import SCALARS
from kaito.adapters.kube_api import Json

Fields = dict[str, Any]

# Go leaves these out when they are empty; other empty objects (`emptyDir: {}`) are kept.
_EMPTY_MAPS_LEFT_OUT = frozenset(
    {"labels", "annotations", "nodeSelector", "matchLabels", "limits", "requests"}
    | {"selector", "data", "binaryData", "stringData", "capacity", "allocatable"}
)
_ZERO_LEFT_OUT = frozenset(
    {"readOnly", "hostNetwork", "hostPID", "hostIPC", "stdin", "stdinOnce", "tty"}
    | {"publishNotReadyAddresses", "unschedulable", "paused"}
    | {"initialDelaySeconds", "hostPort", "nodePort", "minReadySeconds"}
    | {"value", "subPath", "nodeName", "serviceAccountName", "serviceAccount", "hostname"}
    | {"subdomain", "workingDir", "priorityClassName", "serviceName", "medium", "namespace"}
)
_QUANTITIES = ("limits", "requests", "capacity", "allocatable")
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_TAINT_PATIENCE_S = 300


def canonical(value: Json) -> Json:
    """A plain copy without what the server leaves out (null, empty), quantities canonical."""
    if type(value) in SCALARS:
        return value
    if isinstance(value, dict | Mapping):
        return _canonical_fields(value)
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return value


def _canonical_fields(value: Mapping[str, Json]) -> Fields:
    fields: Fields = {}
    for key, item in value.items():
        if _left_out(key, item):
            continue
        if type(item) in SCALARS and key != "sizeLimit":
            fields[key] = item
        elif key in _QUANTITIES and isinstance(item, dict | Mapping):
            fields[key] = {name: canonical_quantity(amount) for name, amount in item.items()}
        elif key == "sizeLimit":
            fields[key] = canonical_quantity(item)
        else:
            fields[key] = canonical(item)
    return fields


def _left_out(key: str, item: Json) -> bool:
    if item is None:
        return True
    if item:
        return False
    if isinstance(item, list | tuple):
        return True
    return key in (_EMPTY_MAPS_LEFT_OUT if isinstance(item, dict | Mapping) else _ZERO_LEFT_OUT)


def default_template(template: Fields) -> None:
    """Fill in a pod template (of a StatefulSet or a Job)."""
    template["metadata"] = {"creationTimestamp": None, **template.get("metadata", {})}
    default_pod_spec(template.setdefault("spec", {}))


def default_pod_spec(spec: Fields) -> None:
    """Fill in what a pod and a pod template have in common."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for volume in spec.get("volumes", ()):
        _default_volume(volume)
    for container in _containers(spec):
        _default_container(container, host_network=bool(spec.get("hostNetwork")))


def default_pod(spec: Fields) -> None:
    """Fill in what only a pod gets, from the server and its standard admission plug-ins."""
    default_pod_spec(spec)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    for container in _containers(spec):
        resources = container["resources"]
        if "limits" in resources:
            resources["requests"] = {**resources["limits"], **resources.get("requests", {})}
    tolerations = list(spec.get("tolerations", ()))
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(_tolerates(toleration, key) for toleration in tolerations):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _TAINT_PATIENCE_S,
                }
            )
    spec["tolerations"] = tolerations


def quality_of_service(spec: Mapping[str, Json]) -> str:
    """`status.qosClass`: who is evicted first when a node runs short."""
    wanted = [container.get("resources", {}) for container in _containers(spec)]
    named = [
        (resources.get("requests", {}).get(name), resources.get("limits", {}).get(name))
        for resources in wanted
        for name in ("cpu", "memory")
    ]
    if not any(request or limit for request, limit in named):
        return "BestEffort"
    guaranteed = all(limit and request in {None, limit} for request, limit in named)
    return "Guaranteed" if guaranteed else "Burstable"


def _containers(spec: Mapping[str, Json]) -> list[Fields]:
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def _tolerates(toleration: Mapping[str, Json], key: str) -> bool:
    return toleration.get("key") in {None, "", key} and toleration.get("effect") in {
        None,
        "",
        "NoExecute",
    }


def _default_container(container: Fields, *, host_network: bool) -> None:
    image = str(container.get("image", ""))
    _name, _slash, last = image.rpartition("/")
    tag = "latest" if ":" not in last else last.partition(":")[2]
    latest = tag == "latest" and "@" not in image
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
        if host_network and "containerPort" in port:
            port.setdefault("hostPort", port["containerPort"])
    for variable in container.get("env", ()):
        if "fieldRef" in variable.get("valueFrom", {}):
            variable["valueFrom"]["fieldRef"].setdefault("apiVersion", "v1")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            for key, value in _PROBE.items():
                container[name].setdefault(key, value)
            _default_handler(container[name])
    for handler in container.get("lifecycle", {}).values():
        if isinstance(handler, dict):
            _default_handler(handler)


def _default_handler(handler: Fields) -> None:
    if "httpGet" in handler:
        handler["httpGet"].setdefault("path", "/")
        handler["httpGet"].setdefault("scheme", "HTTP")


def _default_volume(volume: Fields) -> None:
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        if source in volume:
            volume[source].setdefault("defaultMode", 0o644)
    if "ephemeral" in volume:
        claim = volume["ephemeral"].get("volumeClaimTemplate", {})
        claim["metadata"] = {"creationTimestamp": None, **claim.get("metadata", {})}
        claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    for source in volume.get("projected", {}).get("sources", ()):
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
