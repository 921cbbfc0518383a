"""Where pods may run, as the scheduler is told."""

from typing import Any

from kaito.adapters.k8s.manifests import render
from kaito.adapters.k8s.node_affinity import node_affinity
from kaito.domain import labels
from kaito.domain.cluster_view import ClusterView
from kaito.domain.decision import Wanted, decide
from kaito.domain.machine import NodeView
from kaito.domain.own_nodes import find_nodes
from kaito.domain.workload import Workload
from tests.unit.domain.builders import A10, CATALOGUE, TUNING, byo, own_node, wanted, workspace

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def workload(*nodes: NodeView, resource: Any = None, **parts: Any) -> Workload:
    """Of a Workspace on its user's Nodes."""
    found = byo(resource, **parts)
    own = find_nodes(found, ClusterView(nodes=nodes), CATALOGUE)
    decided = decide(found, CATALOGUE, None, own)
    assert isinstance(decided, Wanted), decided
    return decided.workload


def is_in(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": [value]}


def terms(found: Workload) -> list[list[dict[str, Any]]]:
    return [
        term["matchExpressions"] for term in node_affinity(found)[REQUIRED]["nodeSelectorTerms"]
    ]


A10_TERM = [
    is_in("apps", "phi"),
    is_in(labels.GPU_COUNT, "1"),
    is_in(labels.GPU_PRODUCT, "NVIDIA-A10"),
]


def test_machines_are_found_by_kaitos_own_labels() -> None:
    found = wanted(workspace()).workload
    own = {labels.WORKSPACE: "phi", labels.WORKSPACE_NAMESPACE: "default"}
    assert terms(found) == [[is_in("apps", "phi"), *(is_in(*one) for one in own.items())]]
    assert set(node_affinity(found)) == {REQUIRED}


def test_own_nodes_are_selected_and_have_the_gpus_that_were_sized_for() -> None:
    assert terms(workload(own_node())) == [A10_TERM]
    assert set(node_affinity(workload(own_node()))) == {REQUIRED}


def test_any_of_the_labels_that_tell_of_the_same_gpus() -> None:
    by_type = own_node("b", {labels.INSTANCE_TYPE: A10})
    assert terms(workload(own_node("a"), by_type)) == [
        [is_in("apps", "phi"), is_in(labels.INSTANCE_TYPE, A10)],
        A10_TERM,
    ]


def test_expressions_are_asked_of_every_term() -> None:
    expressions = [
        {"key": "pool", "operator": "NotIn", "values": ["a", "b"]},
        {"key": "spot", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"apps": "phi"}, "matchExpressions": expressions}
    found = workload(own_node(), resource={"labelSelector": selector})
    assert terms(found) == [A10_TERM + expressions]


def test_preferred_nodes_by_name() -> None:
    found = workload(own_node(), resource={"preferredNodes": ["gpu-1", "gpu-0", "gpu-1"]})
    assert node_affinity(found)[PREFERRED] == [
        {"weight": 100, "preference": {"matchFields": [is_in("metadata.name", name)]}}
        for name in ("gpu-1", "gpu-0")
    ]


def test_what_it_was_sized_for_is_written_on_the_pods_owner() -> None:
    shape = f"{labels.GPU_COUNT}=1,{labels.GPU_PRODUCT}=NVIDIA-A10"
    for found in (workload(own_node()), workload(own_node(), tuning=TUNING)):
        owner = render(found)[-1].body
        assert owner["metadata"]["annotations"][labels.NODE_SHAPE] == shape
        pod = owner["spec"]["template"]["spec"]
        assert pod["affinity"] == {"nodeAffinity": node_affinity(found)}
        assert {"key": "nvidia.com/gpu", "operator": "Exists"} in pod["tolerations"]
    ordered = render(wanted(workspace()).workload)[-1].body
    assert labels.NODE_SHAPE not in ordered["metadata"]["annotations"]
