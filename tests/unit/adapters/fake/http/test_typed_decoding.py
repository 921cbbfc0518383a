"""What the server says of values that do not fit a built-in kind, word for word."""

from typing import Any

import pytest

from kaito.adapters.fake.http.statuses import Refusal
from kaito.adapters.fake.http.typed_decoding import decoded, decoded_metadata
from kaito.adapters.kube_api import WORKSPACE

POD = "io.k8s.api.core.v1.Pod"
CONFIG_MAP = "io.k8s.api.core.v1.ConfigMap"
SERVICE = "io.k8s.api.core.v1.Service"


def pod(**container: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "main", "image": "i", **container}]}}


@pytest.mark.parametrize(
    ("name", "body", "wanted"),
    [
        (POD, {"spec": "x"}, "string into Go struct field Pod.spec of type v1.PodSpec"),
        (POD, {"spec": [1]}, "array into Go struct field Pod.spec of type v1.PodSpec"),
        (
            POD,
            {"spec": {"containers": {"a": 1}}},
            "object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            POD,
            pod(name=7),
            "number into Go struct field Container.spec.containers.name of type string",
        ),
        (
            POD,
            pod(ports=[{"containerPort": 1.5}]),
            "number 1.5 into Go struct field ContainerPort.spec.containers.ports.containerPort"
            " of type int32",
        ),
        (
            POD,
            pod(ports=[{"containerPort": 1 << 40}]),
            "number 1099511627776 into Go struct field"
            " ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            POD,
            pod(tty="yes"),
            "string into Go struct field Container.spec.containers.tty of type bool",
        ),
        (
            POD,
            {"metadata": {"labels": {"a": 1}}},
            "number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            POD,
            {"metadata": {"labels": ["a"]}},
            "array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        (CONFIG_MAP, {"data": {"a": True}}, "bool into Go struct field ConfigMap.data of type"),
        (
            SERVICE,
            {"spec": {"ports": [{"targetPort": True}]}},
            "bool into Go struct field ServicePort.spec.ports.targetPort of type int32",
        ),
    ],
)
def test_a_value_of_a_wrong_type(name: str, body: dict[str, Any], wanted: str) -> None:
    kind = name.rpartition(".")[2]
    with pytest.raises(Refusal) as caught:
        decoded(body, name)
    assert caught.value.status["code"] == 400
    message = caught.value.status["message"]
    begin = f'{kind} in version "v1" cannot be handled as a {kind}: json: cannot unmarshal '
    assert message.startswith(begin + wanted)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (
            pod(resources={"limits": {"cpu": "much"}}),
            'spec.containers[0].resources.limits.cpu: Invalid value: "much": quantities must match',
        ),
        (pod(resources={"limits": {"cpu": True}}), "quantities must match"),
        ({"metadata": {"creationTimestamp": "soon"}}, 'metadata.creationTimestamp: parsing time "'),
    ],
)
def test_a_text_that_says_no_such_thing(body: dict[str, Any], wanted: str) -> None:
    with pytest.raises(Refusal, match="cannot be handled as a Pod") as caught:
        decoded(body, POD)
    assert wanted in caught.value.status["message"]


def test_unknown_fields_are_named_and_dropped() -> None:
    found = decoded({**pod(imagge="x"), "metadata": {"labells": {}}, "sppec": {}}, POD)
    assert set(found.unknown) == {"spec.containers[0].imagge", "metadata.labells", "sppec"}
    assert found.body == {**pod(), "metadata": {}}


def test_null_is_as_good_as_absent() -> None:
    body = {"metadata": None, "spec": {"containers": [None], "nodeSelector": {"a": None}}}
    assert decoded(body, POD).body == {
        "spec": {"containers": [{"name": ""}], "nodeSelector": {"a": ""}}
    }
    limits = decoded(pod(resources={"limits": {"cpu": None}}), POD).body["spec"]["containers"][0]
    assert limits["resources"] == {"limits": {"cpu": "0"}}
    nulls = {"data": {"a": None}, "binaryData": None}
    assert decoded(nulls, CONFIG_MAP).body == {"data": {"a": ""}}


def test_numbers_where_texts_or_numbers_may_stand() -> None:
    body = pod(resources={"limits": {"cpu": 1}}, readinessProbe={"httpGet": {"port": 80}})
    assert decoded(body, POD).body == body


def test_a_part_lacks_what_it_lacks() -> None:
    port = {"ports": [{"targetPort": 80}]}
    assert decoded({"spec": port}, SERVICE, whole=False).body == {"spec": port}
    assert decoded({"spec": port}, SERVICE).body["spec"]["ports"] == [{"targetPort": 80, "port": 0}]


def test_metadata_of_custom_resources_is_typed_too() -> None:
    found = decoded_metadata(WORKSPACE, {"metadata": {"name": "a", "nam": 1}, "resource": 7})
    assert found.unknown == ("metadata.nam",)
    assert found.body == {"metadata": {"name": "a"}, "resource": 7}
    with pytest.raises(Refusal, match=r"Go struct field ObjectMeta.metadata.annotations of type"):
        decoded_metadata(WORKSPACE, {"metadata": {"annotations": {"a": 1}}})
