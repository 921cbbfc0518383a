"""Bodies in Kubernetes' protobuf form, for the few kinds that kubectl sends so.

kubectl's typed commands (`create configmap`, `create secret`, `create service`, `create job`,
`create token`, `auth can-i`, `drain`) know no other form; they take answers in JSON. Of a Service
and a Job only what these commands can set is read.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from kaito.adapters.fake.http.statuses import refusal

CONTENT_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Field(NamedTuple):
    """How a field is read: `kind` is text, bytes, int, bool, or a message's name."""

    name: str
    kind: str = "text"
    repeated: bool = False
    mapping: bool = False


_Message = Mapping[int, _Field]
_META: Final = _Field("metadata", "ObjectMeta")
_MESSAGES: Final[Mapping[str, _Message]] = {
    "Unknown": {1: _Field("typeMeta", "TypeMeta"), 2: _Field("raw", "bytes")},
    "TypeMeta": {1: _Field("apiVersion"), 2: _Field("kind")},
    "ObjectMeta": {
        1: _Field("name"),
        2: _Field("generateName"),
        3: _Field("namespace"),
        5: _Field("uid"),
        6: _Field("resourceVersion"),
        11: _Field("labels", mapping=True),
        12: _Field("annotations", mapping=True),
        13: _Field("ownerReferences", "OwnerReference", repeated=True),
        14: _Field("finalizers", repeated=True),
    },
    "OwnerReference": {
        1: _Field("kind"),
        3: _Field("name"),
        4: _Field("uid"),
        5: _Field("apiVersion"),
        6: _Field("controller", "bool"),
        7: _Field("blockOwnerDeletion", "bool"),
    },
    "LocalReference": {1: _Field("name")},
    "ConfigMap": {
        1: _META,
        2: _Field("data", mapping=True),
        3: _Field("binaryData", "bytes", mapping=True),
        4: _Field("immutable", "bool"),
    },
    "Secret": {
        1: _META,
        2: _Field("data", "bytes", mapping=True),
        3: _Field("type"),
        4: _Field("stringData", mapping=True),
        5: _Field("immutable", "bool"),
    },
    "Namespace": {1: _META},
    "ServiceAccount": {
        1: _META,
        3: _Field("imagePullSecrets", "LocalReference", repeated=True),
        4: _Field("automountServiceAccountToken", "bool"),
    },
    "TokenRequest": {1: _META, 2: _Field("spec", "TokenRequestSpec")},
    "TokenRequestSpec": {
        1: _Field("audiences", repeated=True),
        4: _Field("expirationSeconds", "int"),
    },
    "Eviction": {1: _META, 2: _Field("deleteOptions", "DeleteOptions")},
    "DeleteOptions": {
        1: _Field("gracePeriodSeconds", "int"),
        2: _Field("preconditions", "Preconditions"),
        3: _Field("orphanDependents", "bool"),
        4: _Field("propagationPolicy"),
        5: _Field("dryRun", repeated=True),
    },
    "Preconditions": {1: _Field("uid"), 2: _Field("resourceVersion")},
    "Service": {1: _META, 2: _Field("spec", "ServiceSpec")},
    "ServiceSpec": {
        1: _Field("ports", "ServicePort", repeated=True),
        2: _Field("selector", mapping=True),
        3: _Field("clusterIP"),
        4: _Field("type"),
        10: _Field("externalName"),
    },
    "ServicePort": {
        1: _Field("name"),
        2: _Field("protocol"),
        3: _Field("port", "int"),
        4: _Field("targetPort", "int or text"),
        5: _Field("nodePort", "int"),
    },
    "Job": {1: _META, 2: _Field("spec", "JobSpec")},
    "JobSpec": {6: _Field("template", "PodTemplate")},
    "PodTemplate": {1: _META, 2: _Field("spec", "PodSpec")},
    "PodSpec": {2: _Field("containers", "Container", repeated=True), 3: _Field("restartPolicy")},
    "Container": {
        1: _Field("name"),
        2: _Field("image"),
        3: _Field("command", repeated=True),
        4: _Field("args", repeated=True),
    },
    "IntOrString": {1: _Field("type", "int"), 2: _Field("number", "int"), 3: _Field("text")},
    "SelfSubjectAccessReview": {1: _META, 2: _Field("spec", "AccessReviewSpec")},
    "AccessReviewSpec": {1: _Field("resourceAttributes", "ResourceAttributes")},
    "ResourceAttributes": {
        1: _Field("namespace"),
        2: _Field("verb"),
        3: _Field("group"),
        4: _Field("version"),
        5: _Field("resource"),
        6: _Field("subresource"),
        7: _Field("name"),
    },
    "SelfSubjectRulesReview": {1: _META, 2: _Field("spec", "RulesReviewSpec")},
    "RulesReviewSpec": {1: _Field("namespace")},
    "SelfSubjectReview": {1: _META},
}
_TOP: Final = frozenset(
    name for name in _MESSAGES if _MESSAGES[name].get(1) == _META and name != "PodTemplate"
)
SENDABLE: Final = frozenset({*_TOP, "DeleteOptions"})


def decoded(body: bytes) -> dict[str, Any]:
    """The object in the envelope. Raises: Refusal (400: damaged, 415: a kind that is not read)."""
    if not body.startswith(_MAGIC):
        raise refusal(400, "the body of the request is not in Kubernetes' protobuf form")
    try:
        envelope = _message(body[len(_MAGIC) :], _MESSAGES["Unknown"])
        types = envelope.get("typeMeta") or {}
        kind = str(types.get("kind", ""))
        if kind not in SENDABLE:
            raise refusal(
                415,
                f"this server does not read {kind or 'objects without a kind'} in protobuf form:"
                " send JSON",
            )
        raw = base64.b64decode(envelope.get("raw", ""))
        return {**types, **_message(raw, _MESSAGES[kind])}
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise refusal(400, f"the body of the request cannot be decoded: {error}") from error


def _message(raw: bytes, fields: _Message) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, value in _parts(raw):
        field = fields.get(number)
        if field is None:
            continue
        if field.mapping:
            pair = _message(_as_bytes(value), {1: _Field("key"), 2: _Field("value", field.kind)})
            found.setdefault(field.name, {})[pair.get("key", "")] = pair.get("value", "")
        elif field.repeated:
            found.setdefault(field.name, []).append(_value(field, value))
        else:
            read = _value(field, value)
            if read not in ("", {}):  # Go writes what is empty too
                found[field.name] = read
    return found


def _value(field: _Field, value: int | bytes) -> Any:
    match field.kind:
        case "int":
            return value - (1 << 64) if isinstance(value, int) and value >= 1 << 63 else value
        case "bool":
            return bool(value)
        case "int or text":
            either = _message(_as_bytes(value), _MESSAGES["IntOrString"])
            return either.get("text", "") if either.get("type") else either.get("number", 0)
        case "text":
            return _as_bytes(value).decode()
        case "bytes":
            return base64.b64encode(_as_bytes(value)).decode()
    return _message(_as_bytes(value), _MESSAGES[field.kind])


def _parts(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(raw, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(raw, at)
        elif wire in {_FIXED64, _FIXED32}:
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {wire}")
        if at + size > len(raw):
            raise ValueError("it ends in the middle of a field")
        yield number, raw[at : at + size]
        at += size


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where text is expected")
    return value
