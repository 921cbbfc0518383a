"""Names, labels and the rest of `metadata`: what is valid, and what only the server sets."""

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache

from kaito.adapters.fake.api_errors import Problem
from kaito.adapters.kube_api import Json, KubeObject, Resource

FOREGROUND_FINALIZER = "foregroundDeletion"
ORPHAN_FINALIZER = "orphan"

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_1035_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_QUALIFIED_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_NAME_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_NAME_SUFFIX_LENGTH = 5
_GENERATED_NAME_LIMIT = 63
_ANNOTATIONS_LIMIT_BYTES = 256 * 1024

# Writers may send these back, but only the server changes them.
_SERVER_OWNED = (
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_IMMUTABLE = ("uid", "deletionTimestamp", "deletionGracePeriodSeconds")
_NEVER_KEPT = ("managedFields", "selfLink")
_DROPPED_WHEN_EMPTY = ("labels", "annotations", "finalizers", "ownerReferences", "generateName")


def generated_name(prefix: str, uid: str, attempt: int) -> str:
    """A name for `generateName`; its suffix follows from the object's uid."""
    number = int.from_bytes(hashlib.sha256(f"{uid}/{attempt}".encode()).digest()[:8], "big")
    suffix = ""
    for _ in range(_NAME_SUFFIX_LENGTH):
        number, digit = divmod(number, len(_NAME_SUFFIX_ALPHABET))
        suffix += _NAME_SUFFIX_ALPHABET[digit]
    return prefix[: _GENERATED_NAME_LIMIT - _NAME_SUFFIX_LENGTH] + suffix


def cleaned(meta: Mapping[str, Json]) -> dict[str, Json]:
    """A writer's metadata without what is empty or never stored."""
    return {
        key: value
        for key, value in meta.items()
        if key not in _NEVER_KEPT
        and value is not None
        and not (key in _DROPPED_WHEN_EMPTY and not value)
    }


def new_meta(meta: Mapping[str, Json], *, uid: str, now: str, counts: bool) -> dict[str, Json]:
    """Metadata of an object that is being created. `counts`: whether the server counts its
    generations; it leaves those of the other kinds as the writer set them."""
    fresh = {key: value for key, value in cleaned(meta).items() if key not in _SERVER_OWNED}
    fresh.pop("resourceVersion", None)
    fresh["uid"] = uid
    fresh["creationTimestamp"] = now
    if counts:
        fresh["generation"] = 1
    elif meta.get("generation"):
        fresh["generation"] = meta["generation"]
    return fresh


def updated_meta(
    meta: Mapping[str, Json], old: KubeObject
) -> tuple[dict[str, Json], list[Problem]]:
    """A writer's metadata with the server's own fields put back, and what it may not change."""
    before: Mapping[str, Json] = old["metadata"]
    if meta is before:
        return dict(meta), []
    fresh = cleaned(meta)
    if "deletionTimestamp" in before:  # whatever the writer says of it
        fresh["deletionTimestamp"] = before["deletionTimestamp"]
    problems = [
        Problem(f"metadata.{key}", f'Invalid value: "{fresh[key]}": field is immutable')
        for key in _IMMUTABLE
        if key in fresh and fresh[key] != before.get(key)
    ]
    for key in (*_SERVER_OWNED, "resourceVersion", "name", "namespace"):
        fresh.pop(key, None)
        if key in before:
            fresh[key] = before[key]
    if "deletionTimestamp" in before:
        kept = before.get("finalizers") or ()
        added = [name for name in fresh.get("finalizers") or () if name not in kept]
        if added:
            listed = ", ".join(f'"{name}"' for name in added)
            problems.append(
                Problem(
                    "metadata.finalizers",
                    "Forbidden: no new finalizers can be added if the object is being deleted,"
                    f" found new finalizers []string{{{listed}}}",
                )
            )
    return fresh, problems


def meta_problems(resource: Resource, meta: Mapping[str, Json]) -> list[Problem]:
    """What is wrong with an object's metadata."""
    return [
        *_name_problems(resource, meta),
        *_label_problems(meta.get("labels") or {}),
        *_annotation_problems(meta.get("annotations") or {}),
        *_owner_problems(meta.get("ownerReferences") or ()),
        *_finalizer_problems(resource, meta.get("finalizers") or ()),
    ]


def label_problems(labels: Mapping[str, Json], field: str) -> list[Problem]:
    """What is wrong with a set of labels that stands at `field`."""
    problems = []
    for key, value in labels.items():
        detail = label_key_problem(key)
        if detail:
            problems.append(Problem(field, f'Invalid value: "{key}": {detail}'))
        detail = label_value_problem(value)
        if detail:
            problems.append(Problem(field, f'Invalid value: "{value}": {detail}'))
    return problems


@lru_cache(maxsize=4096)  # few keys, on many objects
def label_key_problem(key: str) -> str:
    """Why a label's (or annotation's, or finalizer's) key is invalid; empty when it is valid."""
    prefix, slash, name = key.rpartition("/")
    if slash and (not _DNS_SUBDOMAIN.fullmatch(prefix) or len(prefix) > 253):
        return (
            "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric"
            " characters, '-' or '.'"
        )
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return "name part must be no more than 63 characters"
    if not _QUALIFIED_NAME.fullmatch(name):
        return (
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start"
            " and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc',"
            " regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        )
    return ""


def label_value_problem(value: object) -> str:
    """Why a label's value is invalid; empty when it is valid."""
    if not isinstance(value, str):
        return "must be a string"
    if len(value) > 63:
        return "must be no more than 63 characters"
    if value and not _QUALIFIED_NAME.fullmatch(value):
        return (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_'"
            " or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or"
            " 'my_value',  or '12345', regex used for validation is"
            " '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        )
    return ""


def _name_problems(resource: Resource, meta: Mapping[str, Json]) -> list[Problem]:
    name = meta.get("name")
    if not name:
        return [Problem("metadata.name", "Required value: name or generateName is required")]
    detail = name_problem(resource, name)
    return [Problem("metadata.name", f'Invalid value: "{name}": {detail}')] if detail else []


def name_problem(resource: Resource, name: str) -> str:
    """Why `name` cannot name an object of this kind; empty when it can."""
    if not resource.group and resource.plural == "services":
        limit, pattern = 63, _DNS_1035_LABEL
        words = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with"
            " an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or"
            " 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        )
    elif not resource.group and resource.plural == "namespaces":
        limit, pattern = 63, _DNS_LABEL
        words = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-',"
            " and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc',"
            f" regex used for validation is '{_DNS_LABEL.pattern}')"
        )
    else:
        limit, pattern = 253, _DNS_SUBDOMAIN
        words = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-'"
            " or '.', and must start and end with an alphanumeric character (e.g. 'example.com',"
            f" regex used for validation is '{_DNS_SUBDOMAIN.pattern}')"
        )
    if len(name) > limit:
        return f"must be no more than {limit} characters"
    return "" if pattern.fullmatch(name) else words


def _label_problems(labels: Mapping[str, Json]) -> list[Problem]:
    return label_problems(labels, "metadata.labels")


def _annotation_problems(annotations: Mapping[str, Json]) -> list[Problem]:
    problems = []
    size = 0
    for key, value in annotations.items():
        detail = label_key_problem(key.lower())
        if detail:
            problems.append(Problem("metadata.annotations", f'Invalid value: "{key}": {detail}'))
        size += len(key.encode()) + len(str(value).encode())
    if size > _ANNOTATIONS_LIMIT_BYTES:
        problems.append(
            Problem(
                "metadata.annotations",
                f"Too long: must have at most {_ANNOTATIONS_LIMIT_BYTES} bytes",
            )
        )
    return problems


def _owner_problems(owners: Json) -> list[Problem]:
    problems = [
        Problem(f"metadata.ownerReferences.{key}", f'Invalid value: "": {words} must not be empty')
        for owner in owners
        for key, words in (
            ("apiVersion", "version"),
            ("kind", "kind"),
            ("name", "name"),
            ("uid", "uid"),
        )
        if not owner.get(key)
    ]
    controllers = [owner.get("name") for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        problems.append(
            Problem(
                "metadata.ownerReferences",
                "Invalid value: Only one reference can have Controller set to true. Found"
                f' "true" in references for {controllers[0]} and {controllers[1]}',
            )
        )
    return problems


def _finalizer_problems(resource: Resource, finalizers: Json) -> list[Problem]:
    """Built-in kinds want a domain in the name (`example.com/name`); custom ones do not."""
    problems = []
    standard = {FOREGROUND_FINALIZER, ORPHAN_FINALIZER}
    for index, name in enumerate(finalizers):
        detail = label_key_problem(name)
        if detail:
            problems.append(Problem("metadata.finalizers", f'Invalid value: "{name}": {detail}'))
        if not resource.is_custom and "/" not in name and name not in standard:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            field = f"metadata.finalizers[{index}]"
            problems.append(Problem(field, f'Invalid value: "{name}": {detail}'))
    return problems
