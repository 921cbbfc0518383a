"""What a pod template of the user's must be, and what it may not contradict."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.domain import labels
from kaito.domain.provisioner import Provisioner
from kaito.domain.template_rules import gpus_of, required_terms, service_port
from kaito.domain.validation import validate
from tests.unit.domain.builders import A10, CATALOGUE, byo, template, templated, workspace

Json = dict[str, Any]
AFFINITY = "inference.template.spec.affinity.nodeAffinity"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def told(found: Any) -> list[str]:
    at = "inference.template."
    return [
        str(problem).removeprefix(at)
        for problem in validate(workspace(inference={"template": found}), CATALOGUE)
    ]


def container(**more: Any) -> Json:
    return {"name": "server", "image": "r.io/server:1", **more}


def requiring(*terms: Any) -> Json:
    needed = {REQUIRED: {"nodeSelectorTerms": list(terms)}}
    return template(affinity={"nodeAffinity": needed})


def expression(key: str, operator: str, *values: str) -> Json:
    return {"key": key, "operator": operator} | ({"values": list(values)} if values else {})


@pytest.mark.parametrize(
    "found",
    [
        template(),
        template(initContainers=[container(name="fetch")], restartPolicy="Always"),
        template(nodeSelector={"apps": "phi", "disk": "ssd", labels.INSTANCE_TYPE: A10.lower()}),
        template(tolerations=[], nodeSelector=None, affinity=None, volumes=[{"name": "x"}]),
        template(affinity={"podAffinity": {}, "nodeAffinity": {}}),
        template(affinity={"nodeAffinity": {REQUIRED: None}}),
        template(affinity={"nodeAffinity": {PREFERRED: [{"weight": 1, "preference": {}}]}}),
        {**template(), "metadata": {"labels": {labels.WORKSPACE: "phi", "team": "a"}}},
        {**template(), "metadata": {"labels": None, "annotations": {"a": "b"}}},
        requiring({"matchExpressions": [expression("disk", "Exists")]}),
        requiring({"matchExpressions": [expression("cpus", "Gt", "4")]}),
        requiring({"matchFields": [expression("metadata.name", "In", "n")]}),
        requiring(
            {"matchExpressions": [expression("apps", "In", "other")]},
            {"matchExpressions": [expression("apps", "In", "phi", "other")]},
        ),
        requiring({"matchExpressions": [expression(labels.INSTANCE_TYPE, "In", A10.lower())]}),
        template(containers=[container(resources={"limits": None, "requests": {}}, ports=[])]),
        template(containers=[container(image="YOUR_IMAGE_HERE/server")]),
    ],
)
def test_what_is_accepted(found: Json) -> None:
    assert [one for one in told(found) if "placeholder" not in one] == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, "spec: is required. Give a pod's spec"),
        ({"spec": "x"}, "spec: must be a mapping, got 'x'"),
        ({**template(), "spce": {}}, "spce: unknown key. Did you mean spec?"),
        ({**template(), "metadata": []}, "metadata: must be a mapping, got []"),
        (
            {**template(), "metadata": {"labels": {"a": 1}}},
            "metadata.labels: must be a mapping of texts, got {'a': 1}. Put numbers",
        ),
        ({**template(), "metadata": {"annotations": "a"}}, "metadata.annotations: must be"),
        (template(containers=None), "spec.containers: needs at least one container, got None"),
        (template(containers=[]), "spec.containers: needs at least one container, got []"),
        (template(containers={"a": 1}), "spec.containers: must be a list, got {'a': 1}"),
        (template(initContainers=[]), "spec.initContainers: needs at least one container"),
        (template(containers=["x"]), "spec.containers[0]: must be a mapping, got 'x'"),
        (template(containers=[{"image": "a"}]), "spec.containers[0].name: is required"),
        (
            template(containers=[container(name="A")]),
            "spec.containers[0].name: 'A' is not a DNS label",
        ),
        (template(containers=[{"name": "a"}]), "spec.containers[0].image: is required"),
        (
            template(containers=[container(image=5)]),
            "spec.containers[0].image: must be a text, got 5",
        ),
        (
            template(containers=[container(image="r.io/Server")]),
            "spec.containers[0].image: 'r.io/Server' is not an image reference",
        ),
        (
            template(initContainers=[container()]),
            "spec.containers[0].name: 'server' is there twice",
        ),
        (
            template(containers=[container(resources=[1])]),
            "spec.containers[0].resources: must be limits and requests by name, got [1]",
        ),
        (
            template(containers=[container(resources={"limits": "1"})]),
            "spec.containers[0].resources: must be limits and requests",
        ),
        (
            template(containers=[container(ports=[{"containerPort": "http"}])]),
            "spec.containers[0].ports: must be a list of ports",
        ),
        (
            template(containers=[container(ports=[{"containerPort": 0}])]),
            "spec.containers[0].ports",
        ),
        (template(containers=[container(ports={"a": 1})]), "spec.containers[0].ports"),
        (template(nodeSelector=["a"]), "spec.nodeSelector: must be a mapping, got ['a']"),
        (template(tolerations={"a": 1}), "spec.tolerations: must be a list, got {'a': 1}"),
        (template(restartPolicy="Never"), "spec.restartPolicy: must be Always, got 'Never'"),
        (template(nodeName="gpu-0"), "spec.nodeName: would put the pods past the scheduler"),
        (template(affinity="x"), "spec.affinity: must be a mapping, got 'x'"),
        (template(affinity={"nodeAffinity": 1}), "spec.affinity.nodeAffinity: must be a mapping"),
        (
            template(affinity={"nodeAffinity": {REQUIRED: []}}),
            f"spec.affinity.nodeAffinity.{REQUIRED}: needs nodeSelectorTerms",
        ),
        (
            template(affinity={"nodeAffinity": {PREFERRED: 5}}),
            f"spec.affinity.nodeAffinity.{PREFERRED}: must be a list of weighted preferences",
        ),
        (
            template(affinity={"nodeAffinity": {PREFERRED: [True]}}),
            f"spec.affinity.nodeAffinity.{PREFERRED}: must be a list of weighted preferences",
        ),
        (requiring(), f"spec.affinity.nodeAffinity.{REQUIRED}: needs nodeSelectorTerms"),
        (requiring({}), f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0]: must have"),
        (requiring("x"), f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0]"),
        (
            requiring({"matchExpressions": [{"key": "a", "operator": "Is"}]}),
            f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0]",
        ),
        (
            requiring({"matchExpressions": ["a"]}),
            f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0]",
        ),
        (
            {**template(), "metadata": {"labels": {labels.WORKSPACE: "other"}}},
            "metadata.labels: kaito.sh/workspace is 'other', but the pods belong to 'phi'",
        ),
        (
            template(nodeSelector={"apps": "other"}),
            "spec.nodeSelector: asks for apps=other, the machines have apps=phi",
        ),
        (
            template(nodeSelector={labels.INSTANCE_TYPE: "Standard_D2s_v3"}),
            "spec.nodeSelector: asks for node.kubernetes.io/instance-type=Standard_D2s_v3",
        ),
        (
            requiring({"matchExpressions": [expression("apps", "NotIn", "phi")]}),
            f"spec.affinity.nodeAffinity.{REQUIRED}: excludes every machine",
        ),
    ],
)
def test_what_is_refused(found: Any, words: str) -> None:
    (problem,) = told(found)
    assert problem.startswith(words)


def test_what_a_preset_takes_means_nothing_to_a_template() -> None:
    adapter = {"source": {"name": "one", "image": "r.io/a:1"}}
    parts = {"template": template(), "adapters": [adapter], "config": "settings"}
    problems = validate(workspace(inference=parts), CATALOGUE)
    assert [one.field for one in problems] == ["inference.adapters", "inference.config"]


def test_nodes_that_users_bring_have_the_labels_asked_for() -> None:
    wrong = byo(inference={"template": template(nodeSelector={"apps": "other"})})
    (problem,) = validate(wrong, CATALOGUE, provisioner=Provisioner.BYO)
    assert problem.field == "inference.template.spec.nodeSelector"
    free = byo(inference={"template": template(nodeSelector={labels.INSTANCE_TYPE: "any"})})
    assert validate(free, CATALOGUE, provisioner=Provisioner.BYO) == []


@pytest.mark.parametrize(
    ("containers", "port"),
    [
        ([container()], 5000),
        ([container(ports=[{"containerPort": 8000}, {"containerPort": 9000}])], 8000),
        (
            [
                container(name="a", ports=[{"containerPort": 9090, "name": "metrics"}]),
                container(name="b", ports=[{"containerPort": 8080, "name": "http"}]),
            ],
            8080,
        ),
    ],
)
def test_the_port_behind_the_service(containers: list[Json], port: int) -> None:
    assert service_port(template(containers=containers)) == port


@pytest.mark.parametrize(
    ("resources", "gpus"),
    [
        ([None], 0),
        ([{"limits": {labels.GPU_RESOURCE: 1}}, {"limits": {labels.GPU_RESOURCE: "2"}}], 3),
        ([{"requests": {labels.GPU_RESOURCE: 1}, "limits": {labels.GPU_RESOURCE: 1}}], 1),
        ([{"requests": {labels.GPU_RESOURCE: 4}, "limits": {"cpu": "1"}}], 4),
        ([{"limits": {labels.GPU_RESOURCE: "half"}}], 0),
    ],
)
def test_how_many_gpus_a_pod_asks_for(resources: list[Any], gpus: int) -> None:
    found = [container(name=f"c{at}", resources=one) for at, one in enumerate(resources)]
    assert gpus_of(template(containers=found)) == gpus


ANYTHING = st.recursive(
    st.sampled_from([None, True, 0, 1, 2**16, "", "a", "In", "A b"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "spec",
                    "metadata",
                    "containers",
                    "name",
                    "image",
                    "affinity",
                    "nodeAffinity",
                    "labels",
                    "ports",
                    "resources",
                    "limits",
                    "containerPort",
                    REQUIRED,
                    PREFERRED,
                    "nodeSelectorTerms",
                    "matchExpressions",
                    "key",
                    "operator",
                    "nodeSelector",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["spec", "metadata", "x"]), ANYTHING, max_size=3))
def test_whatever_is_written_there_is_judged_and_what_passes_can_be_read(
    found: Mapping[str, Any],
) -> None:
    if not told(found):
        assert service_port(found) > 0
        assert gpus_of(found) >= 0
        assert all(required_terms(found))


@settings(deadline=None)
@given(ANYTHING)
def test_whatever_a_container_is(found: Any) -> None:
    assert told(template(containers=[found])) or gpus_of(template(containers=[found])) >= 0


def test_the_builder_is_a_good_one() -> None:
    assert validate(templated(), CATALOGUE) == []
