"""What a client accepts, and what it sends: content types and the views they ask for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from kaito.adapters import yaml_values
from kaito.adapters.fake.http import protobuf
from kaito.adapters.fake.http.statuses import refusal
from kaito.adapters.kube_api import Json

JSON: Final = "application/json"
YAML: Final = "application/yaml"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

_META: Final = "meta.k8s.io"
_PLAIN: Final = frozenset({JSON, "application/*", "*/*"})
_BODIES: Final = frozenset({JSON, YAML, "text/yaml", "application/x-yaml", "*/*", ""})
_ACCEPTED: Final = f"only the following media types are accepted: {JSON}"


@dataclass(frozen=True, slots=True)
class Media:
    """One media type of an Accept header, such as `application/json;as=Table;g=meta.k8s.io`."""

    type: str
    params: Mapping[str, str]

    @property
    def view(self) -> str:
        return self.params.get("as", "")


def accepted(header: str) -> list[Media]:
    """The media types of an Accept header, in the client's order."""
    found = []
    for part in (header or "*/*").split(","):
        kind, *params = (piece.strip() for piece in part.split(";"))
        pairs = (param.partition("=") for param in params)
        found.append(Media(kind.lower(), {key.strip(): value.strip() for key, _, value in pairs}))
    return found


def view_of(header: str) -> str:
    """How to show objects: "" as they are, or Table, PartialObjectMetadata(List).

    Raises: Refusal (406).
    """
    for media in accepted(header):
        if media.type not in _PLAIN:
            continue
        if not media.view:
            return ""
        fits = media.params.get("g") == _META and media.params.get("v") == "v1"
        if fits and media.view in {"Table", "PartialObjectMetadata", "PartialObjectMetadataList"}:
            return media.view
    raise refusal(406, _ACCEPTED)


def decoded(body: bytes, content_type: str) -> Mapping[str, Any]:
    """A body that holds one object. Raises: Refusal (400, 415)."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == protobuf.CONTENT_TYPE:
        return protobuf.decoded(body)
    if kind not in _BODIES:
        message = (
            f"the body of the request was in an unknown format - accepted media types include:"
            f" {JSON}, {YAML}"
        )
        raise refusal(415, message)
    found = parsed(body)
    if not isinstance(found, Mapping):
        raise refusal(400, "the body of the request must be an object")
    return found


def parsed(body: bytes) -> Json:
    """JSON or YAML. Raises: Refusal (400)."""
    if not body:
        raise refusal(400, "the request has no body")
    try:
        text = body.decode()
        found = _json(text) if text[:1] in {"{", "["} else _yaml(text)
    except (yaml_values.BadText, ValueError) as error:
        raise refusal(400, f"the body of the request cannot be decoded: {error}") from error
    return found


def _json(text: str) -> Json:
    try:
        found = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError:
        return _yaml(text)  # YAML in flow style begins with a bracket as well
    except RecursionError as error:
        raise ValueError("exceeded max depth") from error
    _check_depth(found)
    # A lone surrogate is no character, and no text could hold it: Go puts this sign in its place.
    return json.loads(_mended(found)) if "\\ud" in text.lower() else found


def _yaml(text: str) -> Json:
    documents = yaml_values.parse(text)
    if len(documents) > 1:
        raise ValueError("more than one document")
    return documents[0].value if documents else None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _check_depth(value: Json) -> None:
    level = [value]
    for _ in range(yaml_values.DEPTH_LIMIT):
        level = [item for one in level for item in _items(one)]
        if not level:
            return
    raise ValueError("exceeded max depth")


def _items(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _mended(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
