import pytest

from kaito.adapters.fake.node_fit import mismatch
from kaito.adapters.fake.pod_resources import pod_requests, thousandths
from kaito.adapters.kube_api import NODE, POD, KubeObject, condition_of
from tests.unit.adapters.fake.cluster import Cluster, container

GPU_TAINT = {"key": "sku", "value": "gpu", "effect": "NoSchedule"}


def node(labels: dict[str, str] | None = None, *taints: dict[str, str]) -> KubeObject:
    return {
        "metadata": {"name": "n0", "labels": labels or {}},
        "spec": {"taints": list(taints)},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def pod(**spec: object) -> KubeObject:
    return {"metadata": {"name": "p"}, "spec": spec}


def affinity(*expressions: dict[str, object]) -> dict[str, object]:
    terms = [{"matchExpressions": list(expressions)}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"nodeAffinity": required}


def node_of(cluster: Cluster, name: str) -> str:
    return cluster.pod(name)["spec"].get("nodeName", "")


def why_not(cluster: Cluster, name: str) -> str:
    condition = condition_of(cluster.pod(name), "PodScheduled")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    return str(condition["message"])


def test_takes_the_first_node_by_name_that_has_room(cluster: Cluster) -> None:
    for name in ("n2", "n1", "n0"):
        cluster.add_node(name)
    cluster.add_pod("a")
    cluster.add_pod("b")
    cluster.run(1)
    assert [node_of(cluster, name) for name in ("a", "b")] == ["n0", "n1"]
    condition = condition_of(cluster.pod("a"), "PodScheduled")
    assert condition is not None
    assert condition["status"] == "True"
    assert cluster.reasons("a")[0] == "Scheduled"


def test_says_why_no_node_is_good_enough(cluster: Cluster) -> None:
    cluster.add_node("busy", labels={"apps": "phi"}, allocatable={"nvidia.com/gpu": "0"})
    cluster.add_node("tainted", labels={"apps": "phi"}, spec={"taints": [GPU_TAINT]})
    cluster.add_node("other")
    cluster.add_node("booting", ready=False)
    cluster.add_node("cordoned", spec={"unschedulable": True})
    cluster.add_pod("p", nodeSelector={"apps": "phi"})
    cluster.run(1)
    assert why_not(cluster, "p") == (
        "0/5 nodes are available: 1 Insufficient nvidia.com/gpu,"
        " 1 node(s) didn't match Pod's node affinity/selector,"
        " 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: },"
        " 1 node(s) had untolerated taint {sku: gpu},"
        " 1 node(s) were unschedulable."
    )
    assert cluster.reasons("p") == ["FailedScheduling"]


def test_without_nodes(cluster: Cluster) -> None:
    cluster.add_pod("p")
    cluster.run(1)
    assert why_not(cluster, "p") == "no nodes available to schedule pods"


def test_a_message_is_written_only_when_it_changes(cluster: Cluster) -> None:
    cluster.add_node("n0", allocatable={"cpu": "8"})
    cluster.add_pod("p")
    cluster.run(1)
    version = cluster.pod("p")["metadata"]["resourceVersion"]
    cluster.api.patch(NODE, "n0", None, {"metadata": {"annotations": {"beat": "1"}}})
    cluster.run(600)
    assert cluster.pod("p")["metadata"]["resourceVersion"] == version


def test_binds_as_soon_as_the_gpus_appear(cluster: Cluster) -> None:
    cluster.add_node("n0", allocatable={"cpu": "8"})
    cluster.add_pod("p")
    cluster.run(30)
    assert why_not(cluster, "p") == "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    status = {"allocatable": {"cpu": "8", "nvidia.com/gpu": "1"}}
    cluster.api.patch(NODE, "n0", None, {"status": status}, subresource="status")
    cluster.run(0)
    assert node_of(cluster, "p") == "n0"


def test_what_concerns_only_other_nodes_shows_later(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_pod("p", nodeSelector={"apps": "phi"})
    cluster.run(1)
    cluster.add_node("n1")
    cluster.run(299)
    assert why_not(cluster, "p").startswith("0/1 nodes")
    cluster.run(2)
    assert why_not(cluster, "p").startswith("0/2 nodes")


def test_room_that_a_pod_leaves_is_used(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_pod("a")
    cluster.run(60)
    cluster.add_pod("b")
    cluster.run(60)
    assert node_of(cluster, "b") == ""
    cluster.api.delete(POD, "a", "default")
    cluster.run(60)
    assert node_of(cluster, "b") == "n0"


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ({"key": "gpu", "operator": "In", "values": ["a100", "h100"]}, True),
        ({"key": "gpu", "operator": "In", "values": ["t4"]}, False),
        ({"key": "gpu", "operator": "NotIn", "values": ["t4"]}, True),
        ({"key": "zone", "operator": "NotIn", "values": ["1"]}, True),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"key": "zone", "operator": "Exists"}, False),
        ({"key": "zone", "operator": "DoesNotExist"}, True),
        ({"key": "count", "operator": "Gt", "values": ["3"]}, True),
        ({"key": "count", "operator": "Gt", "values": ["4"]}, False),
        ({"key": "count", "operator": "Lt", "values": ["5"]}, True),
        ({"key": "gpu", "operator": "Lt", "values": ["5"]}, False),
    ],
)
def test_node_affinity(expression: dict[str, object], matches: bool) -> None:
    found = node({"gpu": "a100", "count": "4"})
    reason = mismatch(pod(affinity=affinity(expression)), found)
    assert (reason == "") is matches


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}, True),
        ({"key": "sku", "value": "gpu"}, True),
        ({"key": "sku", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "sku", "value": "cpu"}, False),
        ({"key": "sku", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations(toleration: dict[str, str], tolerated: bool) -> None:
    reason = mismatch(pod(tolerations=[toleration]), node(None, GPU_TAINT))
    assert reason == ("" if tolerated else "node(s) had untolerated taint {sku: gpu}")


def test_a_preference_does_not_keep_a_pod_away() -> None:
    taint = {"key": "sku", "value": "gpu", "effect": "PreferNoSchedule"}
    assert mismatch(pod(), node(None, taint)) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1000), ("250m", 250), ("1Gi", 2**30 * 1000), ("1.5k", 1_500_000), ("1e3", 10**6)],
)
def test_quantities(text: str, expected: int) -> None:
    assert thousandths(text) == expected


def test_a_wrong_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="'1Gb' is not a quantity"):
        thousandths("1Gb")


def test_init_containers_count_by_the_largest_with_the_sidecars_before_it() -> None:
    def cpu(amount: str, **more: str) -> dict[str, object]:
        return container("c", resources={"requests": {"cpu": amount}}, **more)

    spec = {
        "initContainers": [cpu("1", restartPolicy="Always"), cpu("4"), cpu("2")],
        "containers": [cpu("1"), cpu("2")],
    }
    assert pod_requests(pod(**spec)) == {"cpu": 5000, "pods": 1000}


def test_prefers_what_the_pod_would_rather_have(cluster: Cluster) -> None:
    for name in ("n0", "n1", "n2"):
        cluster.add_node(name, labels={"disk": "ssd"} if name == "n2" else {})
    wishes = [
        (1, {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}),
        (5, {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}),
    ]
    preferred = [{"weight": weight, "preference": wish} for weight, wish in wishes]
    key = "preferredDuringSchedulingIgnoredDuringExecution"
    for name in ("a", "b", "c"):
        cluster.add_pod(name, affinity={"nodeAffinity": {key: preferred}})
    cluster.run(1)
    assert [node_of(cluster, name) for name in ("a", "b", "c")] == ["n1", "n2", "n0"]
