"""What the programs write: for each kind good bodies and edits, and such as must be refused.

Bodies leave out the name; edits and statuses are merge patches. Labels are those that the programs
select by.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

Body = dict[str, Any]
Make = Callable[[Random], Body]

_IMAGES = ("registry.test/one:1", "registry.test/two", "registry.test/two:latest")


def labels(rng: Random) -> Body:
    """Some of the labels that selectors ask for."""
    chosen = {"app": rng.choice("xy"), "tier": rng.choice("123")}
    return {key: value for key, value in chosen.items() if rng.random() < 0.7}


# --- good bodies ---------------------------------------------------------------------------------


def _workspace(rng: Random) -> Body:
    resource: Body = {"labelSelector": {"matchLabels": {"apps": rng.choice("xy")}}}
    if rng.random() < 0.7:
        resource["count"] = rng.randint(1, 4)
    if rng.random() < 0.7:
        resource["instanceType"] = rng.choice(["Standard_NC24ads_A100_v4", "Standard_NC6s_v3"])
    body: Body = {"resource": resource}
    match rng.randrange(4):
        case 0:
            body["inference"] = {"preset": {"name": "phi-4", "accessMode": "public"}}
        case 1:
            template = {"spec": {"containers": [{"name": "a", "image": "b", "own": [1, {}]}]}}
            body["inference"] = {"template": template}
        case 2:
            source = {"source": {"image": "registry.test/adapter:1"}, "strength": "0.5"}
            body["inference"] = {"preset": {"name": "phi-4"}, "adapters": [source]}
        case _:
            body["tuning"] = {
                "preset": {"name": "phi-4"},
                "method": "lora",
                "input": {"urls": ["https://example.com/data"]},
                "output": {"image": "registry.test/out:1"},
            }
    if rng.random() < 0.3:
        body["surprise"] = {"deep": [1]}
        body["resource"]["surprise"] = "unknown"
    if rng.random() < 0.2:
        body["status"] = {"workerNodes": ["mine"]}
    return body


def _workspace_v1alpha1(rng: Random) -> Body:
    body = _workspace(rng)
    if rng.random() < 0.3:
        body["resource"]["partition"] = {"mode": "mig"}  # not known to this version
    return body


def _node_claim(rng: Random) -> Body:
    spec: Body = {"requirements": [{"key": "zone", "operator": "In", "values": ["1", "2"]}]}
    spec["resources"] = {"requests": {"storage": rng.choice(["64Gi", "65536Mi"])}}
    body: Body = {"spec": spec}
    if rng.random() < 0.3:
        body["surprise"] = {"deep": [1]}
    if rng.random() < 0.3:
        spec["nothing"] = None
        spec["empty"] = {"map": {}, "list": []}
    return body


def _config_map(rng: Random) -> Body:
    body: Body = {}
    if rng.random() < 0.8:
        body["data"] = {"key": rng.choice("123"), "file.yaml": "a: 1\n"}
    if rng.random() < 0.3:
        body["binaryData"] = {"blob": "AAEC"}
    if rng.random() < 0.1:
        body["data"] = {}
    if rng.random() < 0.15:
        body["immutable"] = True
    return body


def _container(rng: Random) -> Body:
    container: Body = {"name": "main", "image": rng.choice(_IMAGES)}
    if rng.random() < 0.5:
        amount = {"cpu": rng.choice(["1", "1000m", "0.5"]), "memory": rng.choice(["1Gi", "1024Mi"])}
        parts = rng.choice([("limits",), ("requests",), ("limits", "requests")])
        container["resources"] = dict.fromkeys(parts, amount)
    if rng.random() < 0.4:
        container["env"] = [{"name": "KEY", "value": rng.choice(["", "1"])}]
    if rng.random() < 0.4:
        container["ports"] = [{"containerPort": 8080}]
    if rng.random() < 0.3:
        container["readinessProbe"] = {"httpGet": {"port": 8080}, "initialDelaySeconds": 0}
    if rng.random() < 0.3:
        container["command"] = []
    return container


def _pod_spec(rng: Random) -> Body:
    spec: Body = {"containers": [_container(rng)], "automountServiceAccountToken": False}
    if rng.random() < 0.3:
        spec["volumes"] = [{"name": "work", "emptyDir": {}}]
    if rng.random() < 0.3:
        spec["tolerations"] = [{"key": "sku", "operator": "Equal", "value": "gpu"}]
    if rng.random() < 0.3:
        spec["nodeSelector"] = rng.choice([{}, {"apps": "x"}])
    if rng.random() < 0.3:
        spec["initContainers"] = [{"name": "first", "image": rng.choice(_IMAGES)}]
    return spec


def _pod(rng: Random) -> Body:
    spec = _pod_spec(rng)
    if rng.random() < 0.3:
        spec["nodeName"] = "node-of-nobody"
    if rng.random() < 0.3:
        spec["terminationGracePeriodSeconds"] = rng.choice([0, 5, 60])
    return {"spec": spec, **({"status": {"phase": "Running"}} if rng.random() < 0.2 else {})}


def _service(rng: Random) -> Body:
    ports: list[Body] = [{"port": 80}]
    if rng.random() < 0.4:
        ports = [
            {"name": "http", "port": 80, "targetPort": 5000},
            {"name": "other", "port": 81, "targetPort": "named"},
        ]
    spec: Body = {"ports": ports, "selector": {"app": rng.choice("xy")}}
    match rng.randrange(5):
        case 0:
            spec["clusterIP"] = "None"
            if rng.random() < 0.5:
                del spec["ports"]
        case 1:
            spec["type"] = "LoadBalancer"
        case 2:
            spec["type"] = "NodePort"
    if rng.random() < 0.2:
        spec["publishNotReadyAddresses"] = rng.random() < 0.5
    return {"spec": spec}


def _stateful_set(rng: Random) -> Body:
    spec: Body = {
        "serviceName": "headless",
        "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": _pod_spec(rng)},
    }
    if rng.random() < 0.6:
        spec["replicas"] = rng.randint(0, 3)
    if rng.random() < 0.4:
        spec["podManagementPolicy"] = rng.choice(["Parallel", "OrderedReady"])
    if rng.random() < 0.4:
        spec["updateStrategy"] = rng.choice(
            [{"type": "OnDelete"}, {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}]
        )
    return {"spec": spec}


def _job(rng: Random) -> Body:
    template: Body = {
        "spec": {**_pod_spec(rng), "restartPolicy": rng.choice(["Never", "OnFailure"])}
    }
    spec: Body = {"template": template}
    if rng.random() < 0.4:
        spec["parallelism"] = rng.randint(0, 2)
    if rng.random() < 0.4:
        spec["completions"] = rng.randint(1, 3)
    if rng.random() < 0.4:
        spec["backoffLimit"] = rng.randint(0, 3)
    if rng.random() < 0.3:
        spec["activeDeadlineSeconds"] = 60
    return {"spec": spec}


def _node(rng: Random) -> Body:
    body: Body = {}
    if rng.random() < 0.5:
        body["status"] = {"capacity": {"cpu": rng.choice(["4", "4000m"]), "nvidia.com/gpu": "1"}}
    if rng.random() < 0.5:
        body["spec"] = {"providerID": "azure:///one", "unschedulable": rng.random() < 0.5}
    if rng.random() < 0.3:
        taint = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}
        body.setdefault("spec", {})["taints"] = [taint]
    return body


def _event(rng: Random) -> Body:
    return {"involvedObject": {"kind": "Pod", "name": "one"}, "reason": rng.choice(["A", "B"])}


BODIES: Mapping[str, Make] = {
    "Workspace": _workspace,
    "Workspace/v1alpha1": _workspace_v1alpha1,
    "NodeClaim": _node_claim,
    "ConfigMap": _config_map,
    "Pod": _pod,
    "Service": _service,
    "StatefulSet": _stateful_set,
    "Job": _job,
    "Node": _node,
    "Event": _event,
}

# --- edits ---------------------------------------------------------------------------------------

_CONTAINERS_OF_TWO = [{"name": "main", "image": "registry.test/three:3"}]

EDITS: Mapping[str, tuple[Body, ...]] = {
    "Workspace": (
        {"resource": {"count": 2}},
        {"resource": {"count": 3, "instanceType": None}},
        {"resource": {"preferredNodes": ["one"]}},
        {"resource": {"partition": {"mode": "accelerator", "count": 2}}},
        {"inference": {"config": "settings"}},
        {"inference": None, "tuning": None},
        {"inference": {"surprise": True}},
        {"surprise": 1},
        {"status": {"state": "Ready"}},
    ),
    "NodeClaim": (
        {"spec": {"size": 2}},
        {"spec": {"size": {"now": "a map"}}},
        {"spec": {"requirements": None}},
        {"surprise": 1},
        {"status": {"ready": True}},
    ),
    "ConfigMap": (
        {"data": {"key": "4"}},
        {"data": {"more": "", "file.yaml": None}},
        {"data": None},
        {"binaryData": {"blob": "AQ=="}},
        {"immutable": True},
        {"surprise": 1},
    ),
    "Pod": (
        {"spec": {"activeDeadlineSeconds": 30}},
        {"spec": {"tolerations": [{"key": "only", "operator": "Exists"}]}},
        {"spec": {"hostname": "new"}},
        {"spec": {"containers": _CONTAINERS_OF_TWO}},
        {"spec": {"priority": 5}},
    ),
    "Service": (
        {"spec": {"ports": [{"port": 8080}]}},
        {"spec": {"ports": None}},
        {"spec": {"selector": None}},
        {"spec": {"type": "NodePort"}},
        {"spec": {"type": "ClusterIP"}},
        {"spec": {"type": "LoadBalancer"}},
        {"spec": {"clusterIP": "10.0.0.77"}},
        {"spec": {"sessionAffinity": "ClientIP"}},
    ),
    "StatefulSet": (
        {"spec": {"replicas": 2}},
        {"spec": {"replicas": None}},
        {"spec": {"serviceName": "else"}},
        {"spec": {"selector": {"matchLabels": {"app": "y"}}}},
        {"spec": {"template": {"spec": {"containers": _CONTAINERS_OF_TWO}}}},
        {"spec": {"template": {"metadata": {"labels": {"app": "y"}}}}},
        {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}},
        {"spec": {"podManagementPolicy": "Parallel"}},
        {"spec": {"revisionHistoryLimit": 3}},
    ),
    "Job": (
        {"spec": {"parallelism": 2}},
        {"spec": {"backoffLimit": 5}},
        {"spec": {"completions": 7}},
        {"spec": {"activeDeadlineSeconds": 90}},
        {"spec": {"template": {"spec": {"restartPolicy": "Never"}}}},
        {"spec": {"template": {"metadata": {"labels": {"more": "1"}}}}},
    ),
    "Node": (
        {"spec": {"unschedulable": True}},
        {"spec": {"unschedulable": False}},
        {"spec": {"providerID": "azure:///two"}},
        {"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}},
        {"spec": {"taints": None}},
        {"spec": {"podCIDR": "10.1.0.0/24"}},
    ),
    "Event": ({"count": 2}, {"message": "text"}),
}

STATUSES: Mapping[str, tuple[Body, ...]] = {
    "Workspace": (
        {"workerNodes": ["one", "two"]},
        {"state": "Pending", "targetNodeCount": 1},
        {"state": "Nonsense"},
        {"targetNodeCount": "two"},
        {"surprise": True, "workerNodes": ["one"]},
        {"conditions": [{"type": "A", "status": "True"}]},
        {
            "conditions": [
                {
                    "type": "A",
                    "status": "True",
                    "reason": "R",
                    "message": "m",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                    "observedGeneration": 1,
                }
            ]
        },
    ),
    "NodeClaim": ({"ready": True}, {"ready": None, "nodeName": "n"}, {"conditions": []}),
    "Pod": (
        {"phase": "Running", "podIP": "10.9.0.1", "podIPs": [{"ip": "10.9.0.1"}]},
        {"phase": "Failed", "reason": "Evicted", "message": "out of memory"},
        {"conditions": [{"type": "Ready", "status": "True"}]},
        {"startTime": "2026-01-01T00:00:00Z"},
    ),
    "Service": ({"loadBalancer": {"ingress": [{"ip": "10.9.0.1"}]}},),
    "StatefulSet": (
        {"replicas": 2, "readyReplicas": 1, "currentRevision": "a", "observedGeneration": 1},
        {"replicas": 0, "readyReplicas": 0},
        {"replicas": -1},
    ),
    "Job": (
        {"active": 1, "startTime": "2026-01-01T00:00:00Z"},
        {"active": 0, "succeeded": 1},
        {"failed": -1},
    ),
    "Node": (
        {"capacity": {"cpu": "8", "memory": "1024Ki"}, "allocatable": {"cpu": "7500m"}},
        {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]},
        {"addresses": [{"type": "InternalIP", "address": "10.9.0.1"}]},
    ),
    "ConfigMap": ({"anything": 1},),
    "Event": ({"anything": 1},),
}

# --- what must be refused ------------------------------------------------------------------------

_GOOD_CONTAINER = {"name": "main", "image": "registry.test/one:1"}
_GOOD_TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [_GOOD_CONTAINER]}}
_GOOD_SET: Body = {
    "serviceName": "headless",
    "selector": {"matchLabels": {"app": "x"}},
    "template": _GOOD_TEMPLATE,
}
_GOOD_RESOURCE: Body = {"labelSelector": {}}

BAD_METADATA: tuple[Body, ...] = (
    {"labels": {"a b": "c"}},
    {"labels": {"app": "a" * 64}},
    {"labels": {"app": 1}},
    {"annotations": {"a b": "c"}},
    {"finalizers": ["not qualified"]},
    {"ownerReferences": [{"kind": "Pod", "name": "a"}]},
    {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": ""}]},
    {"resourceVersion": "1"},
    {"name": "Upper"},
    {"name": ""},
    {"name": "-dash"},
    {"name": "dot."},
    {"labels": "text"},
)

BAD_BODIES: Mapping[str, tuple[Body, ...]] = {
    "Workspace": (
        {},
        {"resource": {}},
        {"resource": None},
        {"resource": "text"},
        {"resource": {**_GOOD_RESOURCE, "count": 0}},
        {"resource": {**_GOOD_RESOURCE, "count": "two"}},
        {"resource": {**_GOOD_RESOURCE, "count": 1.5}},
        {"resource": {"labelSelector": {"matchLabels": {"a": 1}}}},
        {"resource": {"labelSelector": {"matchExpressions": [{"key": "a"}]}}},
        {"resource": {"labelSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}},
        {"resource": _GOOD_RESOURCE, "inference": {"preset": {}}},
        {"resource": _GOOD_RESOURCE, "inference": {"preset": {"name": "a", "accessMode": "b"}}},
        {"resource": _GOOD_RESOURCE, "inference": {"adapters": [{"strength": "1"}]}},
        {"resource": _GOOD_RESOURCE, "inference": {"adapters": {"not": "a list"}}},
        {"resource": _GOOD_RESOURCE, "inference": {"config": 7}, "tuning": {"method": False}},
    ),
    "NodeClaim": ({"spec": "text"}, {"spec": [1]}, {"spec": 1, "status": {}}),
    "ConfigMap": (
        {"data": {"a b": "c"}},
        {"data": {"key": 1}},
        {"data": {"same": "1"}, "binaryData": {"same": "AA=="}},
        {"binaryData": {"blob": "not base64!"}},
        {"data": "text"},
    ),
    "Pod": (
        {"spec": {}},
        {"spec": {"containers": []}},
        {"spec": {"containers": [{"name": "main"}]}},
        {"spec": {"containers": [{"image": "one"}]}},
        {"spec": {"containers": [{"name": "Not Valid", "image": "one"}]}},
        {"spec": {"containers": [_GOOD_CONTAINER, _GOOD_CONTAINER]}},
        {"spec": {"containers": [_GOOD_CONTAINER], "restartPolicy": "Sometimes"}},
        {"spec": {"containers": {"not": "a list"}}},
    ),
    "Service": (
        {"spec": {}},
        {"spec": {"ports": [{"port": 0}]}},
        {"spec": {"ports": [{"port": 80}, {"port": 81}]}},
        {"spec": {"ports": [{"port": 80, "protocol": "ICMP"}]}},
        {"spec": {"ports": [{"port": 80}], "type": "Unknown"}},
        {"spec": {"ports": [{"port": 80}], "clusterIP": "not an address"}},
    ),
    "StatefulSet": (
        {"spec": {}},
        {"spec": {**_GOOD_SET, "replicas": -1}},
        {"spec": {**_GOOD_SET, "selector": {"matchLabels": {"app": "y"}}}},
        {"spec": {**_GOOD_SET, "podManagementPolicy": "Random"}},
        {"spec": {**_GOOD_SET, "updateStrategy": {"type": "Sometimes"}}},
        {"spec": {**_GOOD_SET, "template": {"metadata": {"labels": {"app": "x"}}}}},
    ),
    "Job": (
        {"spec": {}},
        {"spec": {"template": _GOOD_TEMPLATE}},
        {
            "spec": {
                "parallelism": -1,
                "template": {"spec": {"containers": [_GOOD_CONTAINER], "restartPolicy": "Never"}},
            }
        },
        {
            "spec": {
                "backoffLimit": -1,
                "template": {"spec": {"containers": [_GOOD_CONTAINER], "restartPolicy": "Never"}},
            }
        },
    ),
    "Node": (
        {"spec": {"taints": [{"key": "a b", "effect": "NoSchedule"}]}},
        {"spec": {"taints": [{"key": "a", "effect": "Sometimes"}]}},
    ),
    "Event": ({"involvedObject": {"kind": "Pod", "namespace": "elsewhere"}},),
}
