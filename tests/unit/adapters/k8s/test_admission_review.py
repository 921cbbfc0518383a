"""AdmissionReview in, AdmissionReview out."""

from typing import Any

import pytest

from kaito.adapters.k8s.admission import Verdict, WorkspaceAdmission
from kaito.adapters.k8s.admission_review import BadReview, answer, failure, read_review
from tests.unit.adapters.k8s.reviews import UID, Json, asked
from tests.unit.domain.builders import CATALOGUE, MINI, T4, V100, manifest

ADMISSION = WorkspaceAdmission(CATALOGUE)


def judged(document: Json) -> Json:
    """The response to a review about a Workspace."""
    question = read_review(document)
    assert question.is_judged
    assert question.new is not None
    told = answer(question, ADMISSION.judge(question.new, question.old))
    assert (told["apiVersion"], told["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: Json = told["response"]
    assert response["uid"] == UID
    return response


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
def test_a_good_workspace_is_allowed(version: str) -> None:
    assert judged(asked(manifest(version=version))) == {"uid": UID, "allowed": True}


def test_what_the_user_should_know_is_a_warning() -> None:
    response = judged(asked(manifest(instance_type=V100)))
    assert response["allowed"]
    (text,) = response["warnings"]
    assert "V100" in text


def test_a_problem_is_told_with_field_value_and_remedy() -> None:
    response = judged(asked(manifest(inference={"preset": {"name": "phi-3-mini"}})))
    assert not response["allowed"]
    status = response["status"]
    assert (status["code"], status["reason"]) == (422, "Invalid")
    message = status["message"]
    assert message.startswith("Workspace 'phi' is refused: inference.preset.name: unknown model")
    assert "phi-3-mini" in message
    assert "Did you mean" in message
    assert "\n" not in message
    details = status["details"]
    (cause,) = details.pop("causes")
    assert details == {"name": "phi", "group": "kaito.sh", "kind": "Workspace"}
    assert cause["field"] == "inference.preset.name"
    assert cause["reason"] == "FieldValueInvalid"
    assert message.endswith(f"inference.preset.name: {cause['message']}")


def test_several_problems_are_told_on_lines_of_their_own() -> None:
    bad = manifest(name="a.b", instance_type="Standard_None", inference={})
    status = judged(asked(bad))["status"]
    first, *lines = status["message"].split("\n* ")
    causes = status["details"]["causes"]
    assert first.rstrip() == "Workspace 'a.b' is refused:"
    assert [f"{cause['field']}: {cause['message']}" for cause in causes] == lines
    assert [cause["field"] for cause in causes] == [
        "metadata.name",
        "resource.instanceType",
        "inference.preset",
    ]


def test_what_does_not_parse_is_refused_like_the_rest() -> None:
    bad = manifest(inference={"preset": {"name": MINI}, "adapter": []})
    (cause,) = judged(asked(bad))["status"]["details"]["causes"]
    assert cause["field"] == "inference.adapter"
    assert cause["message"] == "unknown key. Did you mean adapters?"


def test_an_update_is_held_against_the_object_before() -> None:
    old = manifest(resource={"count": 1})
    new = manifest(resource={"count": 2})
    status = judged(asked(new, old))["status"]
    assert "resource.count: cannot be changed, from 1 to 2" in status["message"]
    assert judged(asked(old, old))["allowed"]


def test_what_rules_would_refuse_now_passes_if_it_was_so_before() -> None:
    old = manifest(instance_type=T4, inference={"preset": {"name": "gone"}})
    assert judged(asked({**old, "metadata": {"name": "phi", "labels": {"a": "b"}}}, old))["allowed"]
    deleting = {**old, "metadata": {"name": "phi", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert judged(asked({**deleting, "inference": {}}, deleting))["allowed"]


def test_a_generated_name_is_named_by_the_object() -> None:
    bad = manifest(name="phi-x7k2p", inference={})
    details = judged(asked(bad, name=""))["status"]["details"]
    assert details["name"] == "phi-x7k2p"


@pytest.mark.parametrize(
    "request_",
    [
        {"operation": "DELETE", "object": None, "oldObject": {"metadata": {"name": "phi"}}},
        {"operation": "CONNECT", "object": None},
        {"subResource": "status"},
        {"resource": {"group": "", "version": "v1", "resource": "pods"}},
        {"resource": {"group": "kaito.sh", "version": "v1", "resource": "inferencesets"}},
    ],
)
def test_what_there_are_no_rules_for_is_not_judged(request_: Json) -> None:
    document = asked(manifest(inference={}))
    document["request"] |= request_
    question = read_review(document)
    assert not question.is_judged
    assert answer(question, Verdict())["response"] == {"uid": UID, "allowed": True}


def without(key: str, *parents: str) -> Json:
    document = asked()
    part = document
    for name in parents:
        part = part[name]
    del part[key]
    return document


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (None, "the body must be a JSON object, got NoneType"),
        ([], "the body must be a JSON object, got list"),
        ({}, "expected admission.k8s.io/v1 AdmissionReview, got None None"),
        (
            {**asked(), "apiVersion": "admission.k8s.io/v1beta1"},
            "expected admission.k8s.io/v1 AdmissionReview, got 'admission.k8s.io/v1beta1'",
        ),
        (without("request"), "request must be a JSON object, got NoneType"),
        ({**asked(), "request": "x"}, "request must be a JSON object, got str"),
        (without("uid", "request"), "uid is missing"),
        (without("operation", "request"), "operation is missing"),
        (without("resource", "request"), "request.resource must be a JSON object"),
        (without("object", "request"), "request.object is missing"),
        (asked(operation="UPDATE"), "request.oldObject is missing"),
        (asked(uid=1), "uid must be a text, got int"),
        (asked(object=[]), "request.object must be a JSON object, got list"),
        (asked(object={"kind": "Workspace"}), "request.object.metadata must be a JSON object"),
    ],
)
def test_what_is_no_review_is_not_answered(document: Any, reason: str) -> None:
    with pytest.raises(BadReview) as caught:
        read_review(document)
    assert str(caught.value).startswith(reason)


def test_a_failure_of_the_rules_is_a_refusal_that_owns_up() -> None:
    response = failure(read_review(asked()))["response"]
    assert (response["uid"], response["allowed"]) == (UID, False)
    status = response["status"]
    assert (status["code"], status["reason"]) == (500, "InternalError")
    assert UID in status["message"]
    assert "error of kaito's own" in status["message"]
