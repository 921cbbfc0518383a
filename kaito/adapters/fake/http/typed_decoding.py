"""Built-in objects as the server's Go types take them: values of wrong types are refused, unknown
fields are named, nulls are as good as absent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kaito.adapters.fake.http.built_in_schemas import NAME, OBJECT_META, Schema, expanded
from kaito.adapters.fake.http.statuses import Refusal, refusal
from kaito.adapters.fake.quantities import is_quantity
from kaito.adapters.kube_api import Json, Resource
from kaito.domain.timestamps import from_rfc3339

_QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING: Final = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_QUANTITY_PATTERN: Final = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
_LIMITS: Final = {"int32": 1 << 31, "int64": 1 << 63}
_ZEROS: Final[Mapping[str, Json]] = {"string": "", "integer": 0, "number": 0, "boolean": False}
_SCALARS: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """An object as it is understood, and the fields of it that nobody knows."""

    body: dict[str, Any]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: Go's errors name the struct and the fields, not the indices."""

    struct: str = ""
    fields: str = ""
    path: str = ""

    def below(self, struct: str, key: str) -> "_Place":
        fields = f"{self.fields}.{key}" if self.fields else key
        return _Place(struct, fields, f"{self.path}.{key}" if self.path else key)

    def under(self, key: str) -> "_Place":
        return replace(self, path=f"{self.path}.{key}" if self.path else key)

    def at(self, index: int) -> "_Place":
        return replace(self, path=f"{self.path}[{index}]")


def decoded(body: Mapping[str, Any], name: str, *, whole: bool = True) -> Decoded:
    """An object held against a built-in definition, such as `io.k8s.api.core.v1.Pod`. Required
    texts and numbers that a whole object lacks are empty and 0, as Go has them.

    Raises: Refusal (400: a value of a wrong type).
    """
    package, _dot, kind = name.rpartition(".")
    decoder = _Decoder(kind, package.rpartition(".")[2], whole=whole)
    found = decoder.struct(body, expanded(name), _Place())
    return Decoded(found, tuple(decoder.unknown))


def decoded_metadata(resource: Resource, body: Mapping[str, Any]) -> Decoded:
    """Any object with its metadata held against the type that all kinds have in common.

    Raises: Refusal (400).
    """
    decoder = _Decoder(resource.kind, resource.version)
    place = _Place().below(resource.kind, "metadata")
    found = decoder.value(body.get("metadata") or {}, expanded(OBJECT_META), place)
    return Decoded({**body, "metadata": found}, tuple(decoder.unknown))


@dataclass(slots=True)
class _Decoder:
    kind: str
    version: str
    whole: bool = True
    unknown: list[str] = field(default_factory=list)

    def value(self, value: Json, schema: Schema, place: _Place) -> Json:
        if value is None:
            return self.struct({}, schema, place) if "properties" in schema else _zero(schema)
        if schema.get(NAME) in {_QUANTITY, _INT_OR_STRING}:
            return self._text_or_number(value, schema, place)
        if "properties" in schema:
            return self.struct(value, schema, place)
        if schema.get("type") == "array":
            if not isinstance(value, list):
                raise self._mismatch(value, schema, place)
            return [
                self.value(one, schema["items"], place.at(index)) for index, one in enumerate(value)
            ]
        if schema.get("type") == "object":
            return self._map(value, schema, place)
        return self._scalar(value, schema, place)

    def struct(self, value: Json, schema: Schema, place: _Place) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise self._mismatch(value, schema, place)
        properties = schema["properties"]
        struct = _go_type(schema).rpartition(".")[2]
        required = schema.get("required", ()) if self.whole else ()
        found = {key: _ZEROS[kind] for key in required if (kind := _kind(schema, key)) in _ZEROS}
        for key, item in value.items():
            if key not in properties:
                self.unknown.append(place.under(key).path)
            elif item is not None:
                found[key] = self.value(item, properties[key], place.below(struct, key))
        return found

    def _map(self, value: Json, schema: Schema, place: _Place) -> Json:
        if not isinstance(value, Mapping):
            raise self._mismatch(value, schema, place)
        items = schema.get("additionalProperties")
        if not isinstance(items, Mapping):
            return value  # anything goes, as in the data of a ControllerRevision
        return {key: self.value(one, items, place.under(key)) for key, one in value.items()}

    def _scalar(self, value: Json, schema: Schema, place: _Place) -> Json:
        kind = str(schema.get("type", ""))
        wanted = _SCALARS.get(kind)
        if wanted is None:
            return value
        fits = isinstance(value, wanted) and (kind == "boolean" or not isinstance(value, bool))
        limit = _LIMITS.get(str(schema.get("format")))
        if not fits or (kind == "integer" and limit and not -limit <= value < limit):
            raise self._mismatch(value, schema, place)
        if schema.get("format") == "date-time":
            self._check_time(value, place)
        return value

    def _check_time(self, value: str, place: _Place) -> None:
        try:
            from_rfc3339(value)
        except ValueError as error:
            text = f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": cannot parse it'
            raise self._refusal(f"{place.path}: {text}") from error

    def _text_or_number(self, value: Json, schema: Schema, place: _Place) -> Json:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if schema[NAME] == _INT_OR_STRING:
            limit = _LIMITS["int32"]
            if isinstance(value, str) or (type(value) is int and -limit <= value < limit):
                return value
            raise self._mismatch(value, {"type": "integer", "format": "int32"}, place)
        if (is_number or isinstance(value, str)) and is_quantity(str(value)):
            return value
        words = f"quantities must match the regular expression '{_QUANTITY_PATTERN}'"
        raise self._refusal(f"{place.path}: Invalid value: {json.dumps(value)}: {words}")

    def _mismatch(self, value: Json, schema: Schema, place: _Place) -> Refusal:
        where = f"Go struct field {place.struct}.{place.fields}" if place.fields else "Go value"
        return self._refusal(
            f"json: cannot unmarshal {_json_type(value)} into {where} of type {_go_type(schema)}"
        )

    def _refusal(self, detail: str) -> Refusal:
        words = f'{self.kind} in version "{self.version}" cannot be handled as a {self.kind}'
        return refusal(400, f"{words}: {detail}")


def _kind(schema: Schema, key: str) -> str:
    return str(schema["properties"][key].get("type", ""))


def _zero(schema: Schema) -> Json:
    """What Go makes of a null in a list or a map."""
    if schema.get(NAME) in {_QUANTITY, _INT_OR_STRING}:
        return "0" if schema[NAME] == _QUANTITY else 0
    kind = str(schema.get("type", ""))
    return [] if kind == "array" else _ZEROS.get(kind, {})


def _go_type(schema: Schema) -> str:
    if "properties" in schema:
        package, _dot, name = str(schema.get(NAME, "")).rpartition(".")
        return f"{package.rpartition('.')[2]}.{name}"
    kind = schema.get("type")
    if kind == "array":
        return f"[]{_go_type(schema['items'])}"
    if kind == "object":
        items = schema.get("additionalProperties")
        return f"map[string]{_go_type(items)}" if isinstance(items, Mapping) else "object"
    if schema.get("format") == "byte":
        return "[]uint8"
    scalars = {"string": "string", "boolean": "bool", "number": "float64"}
    return scalars.get(str(kind)) or str(schema.get("format") or "int")


def _json_type(value: Json) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return (
            "number" if abs(value) < _LIMITS["int32"] and value == int(value) else f"number {value}"
        )
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
