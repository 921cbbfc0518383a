"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902) on frozen or plain JSON.

Both return a new value that shares every part which the patch does not touch.
"""

from collections.abc import Callable, Mapping, Sequence

from kaito.adapters.fake.api_errors import bad_patch, bad_request
from kaito.adapters.fake.snapshots import SCALARS, share
from kaito.adapters.kube_api import Json, freeze

_Edit = Callable[[Json, str], Json]


def merge_patch(target: Json, patch: Json) -> Json:
    """`target` with the JSON merge patch applied."""
    if not isinstance(patch, dict | Mapping):  # dict is asked first, and answers at once
        return patch
    merged = dict(target) if isinstance(target, dict | Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif type(value) in SCALARS:
            merged[key] = value
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(target: Json, operations: Json) -> Json:
    """`target` with each operation applied in turn.

    Raises: InvalidObject (not a list of operations: 400; one that cannot be applied, or whose test
    fails: 422).
    """
    if not isinstance(operations, list | tuple):
        raise bad_request("a JSON patch is a list of operations")
    for operation in operations:
        if not isinstance(operation, Mapping):
            raise bad_request("an operation of a JSON patch is an object")
        target = _apply(target, operation)
    return target


def _apply(target: Json, operation: Mapping[str, Json]) -> Json:
    verb, path = operation.get("op"), _pointer(operation, "path")
    if verb == "add":
        return _add(target, path, _value(operation))
    if verb == "remove":
        return _remove(target, path)
    if verb == "replace":
        value = _value(operation)
        return value if not path else _edit(target, path, lambda at, key: _put(at, key, value))
    if verb == "move":
        source = _pointer(operation, "from")
        if path[: len(source)] == source and path != source:
            raise bad_patch("a value cannot be moved into itself")
        return _add(_remove(target, source), path, _find(target, source))
    if verb == "copy":
        return _add(target, path, _find(target, _pointer(operation, "from")))
    if verb == "test":
        found = freeze(_find(target, path))
        if share(_value(operation), found) is not found:
            raise bad_patch(f"test of {operation['path']} failed")
        return target
    raise bad_patch(f"unknown operation {verb!r}")


def _value(operation: Mapping[str, Json]) -> Json:
    if "value" not in operation:
        raise bad_patch(f"{operation.get('op')} needs a value")
    return operation["value"]


def _pointer(operation: Mapping[str, Json], key: str) -> tuple[str, ...]:
    text = operation.get(key)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise bad_patch(f"{key} must be a JSON pointer, got {text!r}")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def _find(value: Json, path: Sequence[str]) -> Json:
    for key in path:
        value = _child(value, key)
    return value


def _child(value: Json, key: str) -> Json:
    if isinstance(value, Mapping) and key in value:
        return value[key]
    if isinstance(value, list | tuple):
        return value[_index(key, len(value) - 1)]
    raise bad_patch(f"nothing at {key!r}")


def _edit(value: Json, path: Sequence[str], edit: _Edit) -> Json:
    """A copy of the containers along `path`, the last of which `edit` changed."""
    key, rest = path[0], path[1:]
    copy: Json
    if isinstance(value, Mapping):
        copy = dict(value)
    elif isinstance(value, list | tuple):
        copy = list(value)
    else:
        raise bad_patch(f"nothing to hold {key!r}")
    if not rest:
        edit(copy, key)
        return copy
    child = _edit(_child(copy, key), rest, edit)
    copy[key if isinstance(copy, dict) else _index(key, len(copy) - 1)] = child
    return copy


def _add(target: Json, path: Sequence[str], value: Json) -> Json:
    return value if not path else _edit(target, path, lambda at, key: _insert(at, key, value))


def _remove(target: Json, path: Sequence[str]) -> Json:
    if not path:
        raise bad_patch("the whole document cannot be removed")
    return _edit(target, path, _drop)


def _insert(container: Json, key: str, value: Json) -> None:
    if isinstance(container, dict):
        container[key] = value
    elif key == "-":
        container.append(value)
    else:
        container.insert(_index(key, len(container)), value)


def _put(container: Json, key: str, value: Json) -> None:
    _child(container, key)  # what is replaced must be there
    container[key if isinstance(container, dict) else _index(key, len(container) - 1)] = value


def _drop(container: Json, key: str) -> None:
    _child(container, key)  # what is removed must be there
    del container[key if isinstance(container, dict) else _index(key, len(container) - 1)]


def _index(key: str, last: int) -> int:
    if not key.isascii() or not key.isdigit() or (len(key) > 1 and key.startswith("0")):
        raise bad_patch(f"{key!r} is no index of a list")
    if int(key) > last:
        raise bad_patch(f"index {key} is out of bounds")
    return int(key)
