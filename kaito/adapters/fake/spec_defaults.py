"""What the API server fills in for StatefulSets, Jobs and Services, and in statuses."""

from collections.abc import Mapping

from kaito.adapters.fake.pod_defaults import Fields, canonical, default_template
from kaito.adapters.kube_api import thaw

# Counts that Go leaves out of a status when they are zero.
_COUNTS_LEFT_OUT = frozenset(
    {"readyReplicas", "currentReplicas", "updatedReplicas", "active", "succeeded", "failed"}
)
_AFFINITY_S = 3 * 3600
_NODE_INFO = dict.fromkeys(
    (
        "machineID",
        "systemUUID",
        "bootID",
        "kernelVersion",
        "osImage",
        "containerRuntimeVersion",
        "kubeletVersion",
        "kubeProxyVersion",
        "operatingSystem",
        "architecture",
    ),
    "",
)


def default_stateful_set(spec: Fields) -> None:
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    template = spec.setdefault("template", {})
    default_template(template)
    template["spec"].setdefault("containers", None)  # shown even so: Go leaves no list out here
    for claim in spec.get("volumeClaimTemplates", ()):
        claim.update({"apiVersion": "v1", "kind": "PersistentVolumeClaim"})
        claim["metadata"] = {"creationTimestamp": None, **claim.get("metadata", {})}
        claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
        claim["status"] = {"phase": "Pending"}


def default_job(spec: Fields) -> None:
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    if "podFailurePolicy" in spec:
        spec.setdefault("podReplacementPolicy", "Failed")
        for rule in spec["podFailurePolicy"].get("rules", ()):
            for pattern in rule.get("onPodConditions", ()):
                pattern.setdefault("status", "True")
    default_template(spec.setdefault("template", {}))


def default_node(spec: Fields) -> None:
    """Pod ranges have two forms, of which the older says the first one."""
    first, ranges = spec.get("podCIDR"), spec.get("podCIDRs") or []
    if first and first not in ranges[:1]:
        ranges = [first]
    if ranges:
        spec.update(podCIDR=ranges[0], podCIDRs=ranges)


def default_service(spec: Fields) -> None:
    kind = spec.setdefault("type", "ClusterIP")
    if spec.setdefault("sessionAffinity", "None") == "ClientIP":
        seconds = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        seconds.setdefault("timeoutSeconds", _AFFINITY_S)
    else:
        spec.pop("sessionAffinityConfig", None)
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
        port["targetPort"] = port.get("targetPort") or port.get("port")
    if kind != "ExternalName":
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind in {"NodePort", "LoadBalancer"}:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def workload_status(status: Mapping[str, object]) -> Fields:
    """The status of a StatefulSet or a Job as it is stored: without counts of zero."""
    return {key: value for key, value in status.items() if value or key not in _COUNTS_LEFT_OUT}


def node_status(status: Mapping[str, object]) -> Fields:
    """The status of a Node as it is stored."""
    filled: Fields = canonical(status)
    filled.setdefault("daemonEndpoints", {}).setdefault("kubeletEndpoint", {"Port": 0})
    filled["nodeInfo"] = {**_NODE_INFO, **filled.get("nodeInfo", {})}
    _default_times(filled, "lastHeartbeatTime")
    return filled


def pod_status(status: Mapping[str, object]) -> Fields:
    """The status of a Pod as it is stored."""
    filled = {key: value for key, value in thaw(status).items() if value is not None}
    _default_times(filled, "lastProbeTime")
    return filled


def _default_times(status: Fields, observed: str) -> None:
    for condition in status.get("conditions", ()):
        condition.setdefault(observed, None)
        condition.setdefault("lastTransitionTime", None)
