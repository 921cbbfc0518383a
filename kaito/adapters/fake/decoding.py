"""From what a writer sends to an object of its kind: unknown fields dropped, types checked.

Built-in kinds are Go structs in a real API server: a value that does not fit is a 400. Custom ones
follow their CustomResourceDefinition; a store without it takes any fields.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from kaito.adapters.fake.api_errors import Problem, bad_request
from kaito.adapters.fake.schema_checks import Check, accepts, keeps
from kaito.adapters.fake.snapshots import share
from kaito.adapters.fake.structural_schema import (
    PRESERVE,
    Schema,
    defaulted,
    problems,
    pruned,
)
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    JOB,
    NODE,
    POD,
    SERVICE,
    STATEFUL_SET,
    FrozenDict,
    KubeObject,
    Resource,
    freeze,
)

_TYPED: Final = ("apiVersion", "kind", "metadata")

_STRING: Final[Schema] = {"type": "string"}
_WHOLE: Final[Schema] = {"type": "integer"}
_YES_OR_NO: Final[Schema] = {"type": "boolean"}
_STRINGS: Final[Schema] = {"type": "array", "items": _STRING}
_STRING_MAP: Final[Schema] = {"type": "object", "additionalProperties": _STRING}
_BYTES_MAP: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": "string", "format": "byte"},
}


def _open(**properties: Schema) -> Schema:
    """Fields of these types, and any others."""
    return {"type": "object", "properties": properties, PRESERVE: True}


def _list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_METADATA: Final[Schema] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("labels", "annotations"), _STRING_MAP),
        **dict.fromkeys(("generation", "deletionGracePeriodSeconds"), _WHOLE),
        **dict.fromkeys(
            (
                "name",
                "generateName",
                "namespace",
                "uid",
                "resourceVersion",
                "creationTimestamp",
                "deletionTimestamp",
                "selfLink",
            ),
            _STRING,
        ),
        "finalizers": _STRINGS,
        "ownerReferences": _list_of(
            {
                "type": "object",
                "properties": {
                    **dict.fromkeys(("apiVersion", "kind", "name", "uid"), _STRING),
                    **dict.fromkeys(("controller", "blockOwnerDeletion"), _YES_OR_NO),
                },
            }
        ),
        "managedFields": _list_of(_open()),
    },
}
_CONTAINERS: Final = _list_of(_open(name=_STRING, image=_STRING))
_POD_SPEC: Final = _open(
    containers=_CONTAINERS,
    initContainers=_CONTAINERS,
    nodeName=_STRING,
    nodeSelector=_STRING_MAP,
    restartPolicy=_STRING,
    tolerations=_list_of(_open()),
    volumes=_list_of(_open(name=_STRING)),
)
_TEMPLATE: Final = _open(metadata=_METADATA, spec=_POD_SPEC)

# As far as this store looks into them; the fields of a ConfigMap are all that it has.
_BUILT_IN: Final[Mapping[tuple[str, str], Schema]] = {
    (CONFIG_MAP.group, CONFIG_MAP.plural): {
        "type": "object",
        "properties": {"data": _STRING_MAP, "binaryData": _BYTES_MAP, "immutable": _YES_OR_NO},
    },
    (POD.group, POD.plural): _open(spec=_POD_SPEC, status=_open()),
    (SERVICE.group, SERVICE.plural): _open(
        spec=_open(
            ports=_list_of(_open(name=_STRING, port=_WHOLE, protocol=_STRING)),
            selector=_STRING_MAP,
            type=_STRING,
            clusterIP=_STRING,
        ),
        status=_open(),
    ),
    (STATEFUL_SET.group, STATEFUL_SET.plural): _open(
        spec=_open(replicas=_WHOLE, serviceName=_STRING, selector=_open(), template=_TEMPLATE),
        status=_open(),
    ),
    (JOB.group, JOB.plural): _open(
        spec=_open(
            parallelism=_WHOLE,
            completions=_WHOLE,
            backoffLimit=_WHOLE,
            selector=_open(),
            template=_TEMPLATE,
        ),
        status=_open(),
    ),
    (NODE.group, NODE.plural): _open(
        spec=_open(providerID=_STRING, unschedulable=_YES_OR_NO, taints=_list_of(_open())),
        status=_open(),
    ),
}


class _Shape:
    """A schema, with its quick checks."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        # What of an object is written may be without what is required of the whole.
        self.accepts: Check = accepts({**schema, "required": ()})
        self.keeps: Check = keeps(schema)


_METADATA_SHAPE: Final = _Shape(_METADATA)
_BUILT_IN_SHAPES: Final = {key: _Shape(schema) for key, schema in _BUILT_IN.items()}
_ANY: Final = _Shape(_open())


class Decoder:
    """What each served kind looks like."""

    def __init__(self, crds: Iterable[Mapping[str, Any]]) -> None:
        self._custom: dict[tuple[str, str, str], _Shape] = {}
        for crd in crds:
            spec = crd["spec"]
            for version in spec["versions"]:
                key = (spec["group"], spec["names"]["plural"], version["name"])
                self._custom[key] = _Shape(version["schema"]["openAPIV3Schema"])

    def decoded(
        self, resource: Resource, body: KubeObject, old: KubeObject | None = None
    ) -> dict[str, Any]:
        """A writer's object, its kind checked; parts shared with `old` are known to be good.

        Raises: InvalidObject (400).
        """
        if not isinstance(body, Mapping):
            raise bad_request(f"a {resource.kind} is an object")
        given = body.get("apiVersion") or resource.api_version
        if given != resource.api_version:
            raise bad_request(
                f"the API version in the data ({given}) does not match the expected API version"
                f" ({resource.api_version})"
            )
        kind = body.get("kind") or resource.kind
        if kind != resource.kind and not resource.is_custom:
            raise bad_request(f"{kind} in version {given} cannot be handled as a {resource.kind}")
        old = old or {}
        metadata = {} if body.get("metadata") is None else body["metadata"]
        if metadata is not old.get("metadata"):
            _fitting(resource, "metadata", metadata, _METADATA_SHAPE)
            metadata = _without_unknown(metadata, _METADATA)
        fields = {key: value for key, value in body.items() if key not in _TYPED}
        if resource.is_custom:
            shape = self._shape(resource)
            fields = fields if shape is None else _shaped(fields, shape, old)
        else:
            shape = _BUILT_IN_SHAPES.get((resource.group, resource.plural), _ANY)
            new = {key: value for key, value in fields.items() if value is not old.get(key)}
            _fitting(resource, "", new, shape)
            fields = _without_unknown(fields, shape.schema)
        return {
            "apiVersion": resource.api_version,
            "kind": kind,
            "metadata": metadata,
            **fields,
        }

    def kind_problems(self, resource: Resource, draft: KubeObject) -> list[Problem]:
        """That the object is of another kind, which is all there is to say of it then."""
        if draft["kind"] == resource.kind:
            return []
        return [Problem("kind", f'Invalid value: "{draft["kind"]}": must be {resource.kind}')]

    def problems(
        self, resource: Resource, draft: KubeObject, old: KubeObject | None = None
    ) -> list[Problem]:
        """What a custom object's schema finds wrong with it; parts shared with `old` are known to
        be good."""
        shape = self._shape(resource)
        if shape is None:
            return []
        schema = shape.schema
        missing = [key for key in schema.get("required") or () if draft.get(key) is None]
        new = {
            key: item
            for key, item in draft.items()
            if key != "metadata" and (old is None or item is not old.get(key))
        }
        if not missing and shape.accepts(new):
            return []
        if old is None:
            return list(problems(draft, schema))
        return list(problems(new, {**schema, "required": missing}))

    def presented(self, resource: Resource, obj: KubeObject) -> KubeObject:
        """A stored object in the version that is asked for, without what that does not know."""
        if obj["apiVersion"] == resource.api_version:
            return obj
        shape = self._shape(resource)
        fields = {key: value for key, value in obj.items() if key not in _TYPED}
        if shape is not None:
            fields = pruned(fields, shape.schema)
        typed = {"kind": obj["kind"], "metadata": obj["metadata"]}
        shown = share({**typed, **fields, "apiVersion": resource.api_version}, obj)
        assert isinstance(shown, FrozenDict)
        return shown

    def _shape(self, resource: Resource) -> _Shape | None:
        return self._custom.get((resource.group, resource.plural, resource.version))


def _shaped(fields: dict[str, Any], shape: _Shape, old: KubeObject) -> dict[str, Any]:
    """A custom object's fields without what its schema does not know, and with its defaults."""
    new = {key: item for key, item in fields.items() if item is not old.get(key)}
    if shape.keeps(new):
        return fields
    shaped = defaulted(pruned(new, shape.schema), shape.schema)
    assert isinstance(shaped, dict), "an object stays one"
    kept = {
        key: shaped[key] if key in new else item
        for key, item in fields.items()
        if key in shaped or key not in new
    }
    return {**shaped, **kept}


def _without_unknown(value: Any, schema: Schema) -> Any:
    if schema.get(PRESERVE):
        return value
    return {key: item for key, item in value.items() if key in schema["properties"]}


def _fitting(resource: Resource, path: str, value: Any, shape: _Shape) -> None:
    """Raises: InvalidObject (400: a value of the wrong type)."""
    if shape.accepts(value):
        return
    found = next(problems(freeze(value), shape.schema, path), None)
    if found is not None:
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a'
            f" {resource.kind}: {found.detail}"
        )
