"""AdmissionReview (admission.k8s.io/v1): what the API server asks a webhook, and what it is told.

Pure: JSON in, JSON out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kaito.adapters.k8s.admission import Verdict, refusal
from kaito.adapters.kube_api import WORKSPACE, KubeObject
from kaito.domain.workspace import KIND

API_VERSION: Final = "admission.k8s.io/v1"
REVIEW_KIND: Final = "AdmissionReview"
PATH: Final = "/validate"  # where a webhook is asked
INVALID_CODE: Final = 422
FAILURE_CODE: Final = 500

Answer: TypeAlias = dict[str, Any]

_JUDGED: Final = frozenset({"CREATE", "UPDATE"})


class BadReview(ValueError):
    """The request is no AdmissionReview that can be answered; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One write that the API server asks about."""

    uid: str
    operation: str
    group: str
    plural: str
    subresource: str
    namespace: str
    name: str
    new: KubeObject | None
    old: KubeObject | None

    @property
    def is_judged(self) -> bool:
        """Whether there are rules for it: what a user asks of a Workspace, not its status."""
        about = (self.group, self.plural, self.subresource)
        return self.operation in _JUDGED and about == (WORKSPACE.group, WORKSPACE.plural, "")

    @property
    def subject(self) -> str:
        """Such as `UPDATE default/phi-3`, for logs."""
        return f"{self.operation} {self.namespace}/{self.name}"


def read_review(document: object) -> Question:
    """The question in an AdmissionReview. Raises: BadReview."""
    review = _mapping(document, "the body")
    told = (review.get("apiVersion"), review.get("kind"))
    if told != (API_VERSION, REVIEW_KIND):
        raise BadReview(f"expected {API_VERSION} {REVIEW_KIND}, got {told[0]!r} {told[1]!r}")
    request = _mapping(review.get("request"), "request")
    resource = _mapping(request.get("resource"), "request.resource")
    operation = _text(request, "operation")
    question = Question(
        uid=_text(request, "uid"),
        operation=operation,
        group=_optional_text(resource, "group"),
        plural=_optional_text(resource, "resource"),
        subresource=_optional_text(request, "subResource"),
        namespace=_optional_text(request, "namespace"),
        name=_optional_text(request, "name"),
        new=_object(request, "object"),
        old=_object(request, "oldObject"),
    )
    if question.is_judged and question.new is None:
        raise BadReview("request.object is missing")
    if question.is_judged and operation == "UPDATE" and question.old is None:
        raise BadReview("request.oldObject is missing")
    return question


def answer(question: Question, verdict: Verdict) -> Answer:
    """Allowed with warnings, or refused with every problem.

    `details` are filled in as the API server itself does for a built-in kind: kubectl then prints
    the problems on a line each.
    """
    if not verdict.problems:
        warnings = {"warnings": list(verdict.warnings)} if verdict.warnings else {}
        return _review(question, allowed=True, **warnings)
    assert question.new is not None, "only an object can be wrong"
    told = [str(problem) for problem in verdict.problems]
    text = refusal(
        question.new, told[0] if len(told) == 1 else "".join(f"\n* {one}" for one in told)
    )
    causes = [
        {
            "reason": "FieldValueInvalid",
            "field": problem.field,
            "message": str(problem).removeprefix(f"{problem.field}: "),
        }
        for problem in verdict.problems
    ]
    details = {
        "name": question.name or question.new["metadata"].get("name", ""),
        "group": question.group,
        "kind": KIND,
        "causes": causes,
    }
    status = _failure(INVALID_CODE, "Invalid", text) | {"details": details}
    return _review(question, allowed=False, status=status)


def failure(question: Question) -> Answer:
    """Refused because the rules themselves failed."""
    text = (
        f"kaito could not check this Workspace: an error of kaito's own, logged by its webhook "
        f"with uid {question.uid}. Nothing was stored"
    )
    return _review(question, allowed=False, status=_failure(FAILURE_CODE, "InternalError", text))


def _review(question: Question, **response: Any) -> Answer:
    return {
        "apiVersion": API_VERSION,
        "kind": REVIEW_KIND,
        "response": {"uid": question.uid, **response},
    }


def _failure(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"status": "Failure", "code": code, "reason": reason, "message": message}


def _object(request: Mapping[str, Any], key: str) -> KubeObject | None:
    if request.get(key) is None:
        return None
    found = _mapping(request[key], f"request.{key}")
    _mapping(found.get("metadata"), f"request.{key}.metadata")
    return found


def _mapping(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadReview(f"{what} must be a JSON object, got {type(value).__name__}")
    return value


def _text(fields: Mapping[str, Any], key: str) -> str:
    found = _optional_text(fields, key)
    if not found:
        raise BadReview(f"{key} is missing")
    return found


def _optional_text(fields: Mapping[str, Any], key: str) -> str:
    found = fields.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise BadReview(f"{key} must be a text, got {type(found).__name__}")
    return found
