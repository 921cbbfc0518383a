"""What the API server fills in for StatefulSets, Jobs, Services and Workspaces."""

from collections.abc import Mapping

from kaito.adapters.fake.pod_defaults import Fields, default_template
from kaito.adapters.kube_api import WORKSPACE, Resource
from kaito.domain.workspace import V1ALPHA1_INSTANCE_TYPE

# Counts that Go leaves out of a status when they are zero.
_COUNTS_LEFT_OUT = frozenset(
    {"readyReplicas", "currentReplicas", "updatedReplicas", "active", "succeeded", "failed"}
)


def default_custom(resource: Resource, draft: Fields) -> None:
    """The defaults of kaito's CRD: only v1alpha1 of the Workspace has one."""
    if (resource.kind, resource.version) == (WORKSPACE.kind, "v1alpha1"):
        spec = draft.get("resource")
        if isinstance(spec, Mapping) and "instanceType" not in spec:
            draft["resource"] = {**spec, "instanceType": V1ALPHA1_INSTANCE_TYPE}


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
    default_template(spec.setdefault("template", {}))
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
    default_template(spec.setdefault("template", {}))


def default_service(spec: Fields) -> None:
    kind = spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
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
