"""Label and field selectors, in their mapping form and in Kubernetes' text form."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kaito.adapters.fake.api_errors import bad_request
from kaito.adapters.fake.object_meta import label_key_problem, label_value_problem
from kaito.adapters.kube_api import KubeObject, Resource, labels_of

_TOKEN = re.compile(r"\s*(?:(?P<op>==|!=|=|!|,|\(|\)|<|>)|(?P<word>[^\s=!,()<>]+))")

# What each kind can be selected by besides its name and namespace; a dotted path into the object.
SELECTABLE_FIELDS: Mapping[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "source",
        "type",
    ),
    "secrets": ("type",),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "jobs": ("status.successful",),
}
# Of `matchExpressions`, as `Requirement` has them.
EXPRESSION_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
_IMPLIED = {"spec.unschedulable": "false", "status.successful": "0"}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on a label: `values` holds what `in`, `notin`, `<` and `>` compare with."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
        if value is None or not value.lstrip("-").isdigit():
            return False
        limit = int(self.values[0])
        return int(value) > limit if self.operator == ">" else int(value) < limit


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Requirements that must all hold; `equal` are those that an index can answer."""

    equal: tuple[tuple[str, str], ...] = ()
    others: tuple[Requirement, ...] = ()

    def matches(self, obj: KubeObject) -> bool:
        labels = labels_of(obj)
        for key, value in self.equal:
            if labels.get(key) != value:
                return False
        return all(requirement.matches(labels) for requirement in self.others)


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Fields (dotted paths) that must have, or must not have, a value."""

    equal: tuple[tuple[str, str], ...] = ()
    unequal: tuple[tuple[str, str], ...] = ()

    @property
    def names_one(self) -> bool:
        """Whether only one object of a namespace can match."""
        return any(path == "metadata.name" for path, _value in self.equal)

    def matches(self, obj: KubeObject) -> bool:
        return all(field_of(obj, path) == value for path, value in self.equal) and all(
            field_of(obj, path) != value for path, value in self.unequal
        )


EVERY_LABEL = LabelSelector()
EVERY_FIELD = FieldSelector()


def label_selector(labels: Mapping[str, str] | str | None) -> LabelSelector:
    """The selector that `labels` says. Raises: InvalidObject (400)."""
    if not labels:
        return EVERY_LABEL
    if isinstance(labels, str):
        return _parse(labels)
    return _equal_to(tuple(labels.items()))


def object_selector(selector: Mapping[str, Any]) -> LabelSelector:
    """What an object's own `matchLabels` and `matchExpressions` select; empty: everything."""
    return LabelSelector(
        equal=tuple((selector.get("matchLabels") or {}).items()),
        others=tuple(
            Requirement(
                one["key"], EXPRESSION_OPERATORS[one["operator"]], tuple(one.get("values") or ())
            )
            for one in selector.get("matchExpressions") or ()
        ),
    )


@lru_cache(
    maxsize=128
)  # those that are asked for over and over; each Workspace has some of its own
def _equal_to(terms: tuple[tuple[str, str], ...]) -> LabelSelector:
    for key, value in terms:
        _check(key, value)
    return LabelSelector(equal=terms)


def field_selector(resource: Resource, fields: Mapping[str, str] | str | None) -> FieldSelector:
    """The selector that `fields` says. Raises: InvalidObject (400, also for an unknown field)."""
    if not fields:
        return EVERY_FIELD
    equal: list[tuple[str, str]] = []
    unequal: list[tuple[str, str]] = []
    if isinstance(fields, str):
        for term in filter(None, (part.strip() for part in fields.split(","))):
            path, operator, value = _field_term(term)
            (unequal if operator == "!=" else equal).append((path, value))
    else:
        equal = list(fields.items())
    known: tuple[str, ...] = ("metadata.name",)
    if resource.namespaced:
        known += ("metadata.namespace",)
    if not resource.group or resource.group == "batch":
        known += SELECTABLE_FIELDS.get(resource.plural, ())
    for path, _value in (*equal, *unequal):
        if path not in known:
            raise bad_request(f"field label not supported: {path}")
    return FieldSelector(tuple(equal), tuple(unequal))


def field_of(obj: KubeObject, path: str) -> str:
    """A field's value as selectors compare it: text, empty or the kind's default when absent."""
    value: object = obj
    for part in path.split("."):
        if not isinstance(value, dict):
            return _IMPLIED.get(path, "")
        value = value.get(part)
    if path == "source":
        value = value.get("component") if isinstance(value, Mapping) else value
    if value is None:
        return _IMPLIED.get(path, "")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _field_term(term: str) -> tuple[str, str, str]:
    for operator in ("!=", "==", "="):
        path, found, value = term.partition(operator)
        if found:
            return path, operator, value
    raise bad_request(f"invalid selector: '{term}'; can't understand '{term}'")


@lru_cache(maxsize=1024)
def _parse(text: str) -> LabelSelector:
    words = _words(text)
    equal: list[tuple[str, str]] = []
    others: list[Requirement] = []
    while words:
        requirement = _requirement(words)
        if requirement.operator == "in" and len(requirement.values) == 1:
            equal.append((requirement.key, requirement.values[0]))
        else:
            others.append(requirement)
        if words and words.pop(0) != ",":
            raise _unparsable("expected: ',' or the end")
        # A comma at the end is accepted, as by the server.
    return LabelSelector(tuple(equal), tuple(others))


def _words(text: str) -> list[str]:
    words, position = [], 0
    text = text.rstrip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise _unparsable(f"found {text[position:]!r}")
        words.append(found["op"] or found["word"])
        position = found.end()
    return words


def _requirement(words: list[str]) -> Requirement:
    negated = words[0] == "!"
    if negated:
        words.pop(0)
    key = words.pop(0) if words else ""
    _check(key)
    if negated or not words or words[0] == ",":
        return Requirement(key, "!" if negated else "exists")
    operator = words.pop(0)
    if operator in {"=", "==", "!=", "<", ">"}:
        value = words.pop(0) if words and words[0] not in {",", ")"} else ""
        _check(key, value)
        if operator in {"<", ">"}:
            if not value.lstrip("-").isdigit():
                raise _unparsable(f"for '{operator}' the value must be an integer, got '{value}'")
            return Requirement(key, operator, (value,))
        return Requirement(key, "notin" if operator == "!=" else "in", (value,))
    if operator in {"in", "notin"}:
        return Requirement(key, operator, _value_set(key, words))
    raise _unparsable(f"found '{operator}', expected: '=', '!=', '==', 'in', notin'")


def _value_set(key: str, words: list[str]) -> tuple[str, ...]:
    if not words or words.pop(0) != "(":
        raise _unparsable("expected: '('")
    values: list[str] = []
    value = ""
    while words:
        word = words.pop(0)
        if word in {",", ")"}:
            _check(key, value)
            values.append(value)
            value = ""
            if word == ")":
                return tuple(dict.fromkeys(values))
        elif value:
            break
        else:
            value = word
    raise _unparsable("found '', expected: ',', ')' or identifier")


def _check(key: str, value: str = "") -> None:
    problem = label_key_problem(key)
    if problem:
        raise _unparsable(f'invalid label key "{key}": {problem}')
    problem = label_value_problem(value)
    if problem:
        raise _unparsable(f'invalid label value: "{value}": at key: "{key}": {problem}')


def _unparsable(detail: str) -> Exception:
    return bad_request(f"unable to parse requirement: {detail}")
