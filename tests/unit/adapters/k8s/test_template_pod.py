"""A user's pod template as it is written: everything of his, and what keeps it on the machines."""

import json
from typing import Any

import pytest

from kaito.adapters.k8s.live_workload import deviations
from kaito.adapters.k8s.manifests import MANAGED_BY, render
from kaito.adapters.kube_api import SERVICE, STATEFUL_SET, Resource, thaw
from kaito.domain import labels
from kaito.domain.decision import Wanted, decide
from kaito.domain.own_nodes import find_nodes
from kaito.domain.workload import Workload
from tests.unit.domain.builders import (
    A10_LABELS,
    CATALOGUE,
    byo,
    cluster,
    own_node,
    template,
    templated,
    wanted,
)

Json = dict[str, Any]
SPOT = labels.AZURE_SPOT
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
OURS = [
    {"key": "apps", "operator": "In", "values": ["phi"]},
    {"key": labels.WORKSPACE, "operator": "In", "values": ["phi"]},
    {"key": labels.WORKSPACE_NAMESPACE, "operator": "In", "values": ["default"]},
]


def body(found: Workload, resource: Resource = STATEFUL_SET, name: str = "phi") -> Json:
    (one,) = [
        desired.body
        for desired in render(found)
        if desired.resource is resource and desired.body["metadata"]["name"] == name
    ]
    plain: Json = json.loads(json.dumps(one))
    return plain


def pods(found: Json | None = None, **parts: Any) -> Json:
    made: Json = body(wanted(templated(found, **parts)).workload)["spec"]["template"]
    return made


def test_the_objects_are_those_of_a_preset() -> None:
    objects = render(wanted(templated()).workload)
    kinds = [(one.resource.kind, one.body["metadata"]["name"]) for one in objects]
    assert kinds == [("Service", "phi"), ("Service", "phi-headless"), ("StatefulSet", "phi")]
    stateful = body(wanted(templated(resource={"count": 2})).workload)
    assert stateful["spec"]["replicas"] == 2
    assert stateful["spec"]["selector"] == {"matchLabels": {labels.WORKSPACE: "phi"}}


def test_a_bare_template_gets_machines_and_nothing_else() -> None:
    made = pods()
    assert made["metadata"] == {
        "labels": {
            labels.WORKSPACE: "phi",
            labels.WORKSPACE_NAMESPACE: "default",
            MANAGED_BY: "kaito",
        }
    }
    spec = made["spec"]
    assert spec["containers"] == template()["spec"]["containers"]
    assert set(spec) == {"containers", "affinity", "tolerations"}
    required = spec["affinity"]["nodeAffinity"]
    assert required == {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": OURS}]}}
    assert [one["key"] for one in spec["tolerations"]] == [labels.GPU_RESOURCE, "sku", SPOT]


def test_nothing_of_the_users_is_overwritten() -> None:
    theirs = {
        "metadata": {"labels": {"team": "a", MANAGED_BY: "me"}, "annotations": {"scrape": "yes"}},
        **template(
            tolerations=[
                {"key": labels.GPU_RESOURCE, "operator": "Exists"},
                {"key": "mine", "operator": "Exists"},
            ],
            nodeSelector={"disk": "ssd"},
            priorityClassName="high",
            affinity={
                "podAntiAffinity": {"x": 1},
                "nodeAffinity": {
                    PREFERRED: [{"weight": 1, "preference": {"matchExpressions": []}}],
                    REQUIRED: {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "zone", "operator": "Exists"}]},
                            {"matchFields": [{"key": "metadata.name", "operator": "In"}]},
                        ]
                    },
                },
            },
        ),
    }
    theirs["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"][1]["matchFields"][0][
        "values"
    ] = ["n"]
    made = pods(theirs)
    assert made["metadata"]["annotations"] == {"scrape": "yes"}
    assert made["metadata"]["labels"] == {
        "team": "a",
        MANAGED_BY: "me",
        labels.WORKSPACE: "phi",
        labels.WORKSPACE_NAMESPACE: "default",
    }
    spec = made["spec"]
    assert (spec["priorityClassName"], spec["nodeSelector"]) == ("high", {"disk": "ssd"})
    assert [one["key"] for one in spec["tolerations"]] == [
        labels.GPU_RESOURCE,
        "mine",
        "sku",
        SPOT,
    ]
    affinity = spec["affinity"]
    assert affinity["podAntiAffinity"] == {"x": 1}
    assert len(affinity["nodeAffinity"][PREFERRED]) == 1
    first, second = affinity["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    assert first == {"matchExpressions": [{"key": "zone", "operator": "Exists"}, *OURS]}
    assert second["matchExpressions"] == OURS
    assert second["matchFields"][0]["values"] == ["n"]


def test_on_nodes_that_users_bring_each_alternative_goes_with_each() -> None:
    terms = [{"matchExpressions": [{"key": key, "operator": "Exists"}]} for key in ("a", "b")]
    found = byo(
        {"preferredNodes": ["gpu-1"]},
        inference={
            "template": template(
                affinity={"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}
            )
        },
    )
    around = cluster(
        nodes=(
            own_node("gpu-0"),
            own_node("gpu-1", {labels.INSTANCE_TYPE: "Standard_NV36ads_A10_v5"}),
        )
    )
    own = find_nodes(found, around, CATALOGUE)
    decided = decide(found, CATALOGUE, None, own)
    assert isinstance(decided, Wanted), decided
    affinity = body(decided.workload)["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    keys = [
        [one["key"] for one in term["matchExpressions"]]
        for term in affinity[REQUIRED]["nodeSelectorTerms"]
    ]
    gpus = [key for key in sorted(A10_LABELS) if key != labels.GPU_MEMORY]
    assert sorted(map(sorted, keys)) == sorted(
        sorted([mine, "apps", *more]) for mine in "ab" for more in (gpus, [labels.INSTANCE_TYPE])
    )
    assert len(affinity[PREFERRED]) == 1


def test_the_service_leads_to_the_port_of_the_template() -> None:
    server = {"name": "s", "image": "r.io/s:1", "ports": [{"containerPort": 8000, "name": "http"}]}
    found = wanted(templated(template(containers=[server]))).workload
    (port,) = body(found, SERVICE)["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, 8000)
    (headless,) = body(found, SERVICE, "phi-headless")["spec"]["ports"]
    assert (headless["port"], headless["targetPort"]) == (8000, 8000)


# --- compared with what the API server stores ---

AWKWARD = template(
    containers=[
        {
            "name": "server",
            "image": "registry.test/server:1",
            "command": None,
            "args": [],
            "env": [{"name": "EMPTY", "value": ""}],
            "resources": {"limits": {labels.GPU_RESOURCE: 1, "cpu": "1000m", "memory": "1024Mi"}},
            "imagePulPolicy": "Always",
        }
    ],
    volumes=[{"name": "cache", "emptyDir": {"sizeLimit": "0.5Gi"}}],
)


def as_stored(found: Json) -> Json:
    """Amounts in canonical form; without nulls, empty texts and fields that it does not know."""
    made: Json = thaw(found)
    (server,) = made["spec"]["template"]["spec"]["containers"]
    server["resources"]["limits"] = {labels.GPU_RESOURCE: "1", "cpu": "1", "memory": "1Gi"}
    server["env"] = [{"name": "EMPTY"}]
    for key in ("command", "args", "imagePulPolicy"):
        del server[key]
    made["spec"]["template"]["spec"]["volumes"][0]["emptyDir"] = {"sizeLimit": "512Mi"}
    return made


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda spec: None, ""),
        (lambda spec: spec["containers"][0].update(image="r.io/other:1"), "containers[0].image"),
        (lambda spec: spec["containers"].append({"name": "more"}), "containers"),
    ],
)
def test_what_the_server_writes_its_own_way_is_no_change(change: Any, path: str) -> None:
    want = render(wanted(templated(AWKWARD)).workload)[-1]
    live = as_stored(json.loads(json.dumps(want.body)))
    change(live["spec"]["template"]["spec"])
    expected = [f"spec.template.spec.{path}"] if path else []
    assert deviations(want, live) == expected


def test_every_change_of_the_template_is_one() -> None:
    before = render(wanted(templated(AWKWARD)).workload)[-1]
    live = as_stored(json.loads(json.dumps(before.body)))
    changed = json.loads(json.dumps(AWKWARD))
    changed["spec"]["volumes"][0]["emptyDir"]["sizeLimit"] = "1Gi"
    want = render(wanted(templated(changed)).workload)[-1]
    assert deviations(want, live) == [f"metadata.annotations.{labels.TEMPLATE_HASH}"]
