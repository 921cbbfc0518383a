"""The codes and messages of an error as Azure writes it, from the outside in."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

_DEEPEST: Final = 8
# In a message: Code="SkuNotAvailable", 'code': "QuotaExceeded", with quotes escaped or not.
_IN_TEXT: Final = re.compile(
    r"\b(?:sub)?code\\*[\"']?\s*[=:]\s*\\*[\"']?([a-z]\w{2,80})", re.IGNORECASE
)


class ErrorNode(NamedTuple):
    """One error within an error. `depth` 0 is the outermost; `named` is False for one that stands
    in a message's text only."""

    code: str
    message: str
    depth: int
    named: bool = True


def nodes_of(body: object) -> tuple[ErrorNode, ...]:
    """Every error in `body`: Azure Resource Manager's, within `error`, or AKS's, which stands there
    by itself and may have a `subcode`. Empty where it is something else.

    Source: https://github.com/Azure/azure-resource-manager-rpc (v1.0/common-api-details.md, error
    response content); https://github.com/Azure/AKS-Construction/issues/701 for AKS's form.
    """
    return tuple(_walk(body, 0))


def _walk(body: object, depth: int) -> Iterator[ErrorNode]:
    if not isinstance(body, Mapping) or depth > _DEEPEST:
        return
    inner = body.get("error")
    if isinstance(inner, Mapping):
        yield from _walk(inner, depth)
        return
    code, message = _text(body.get("code")), _text(body.get("message"))
    if code:
        yield ErrorNode(code, message, depth)
    subcode = _text(body.get("subcode"))
    if subcode:
        yield ErrorNode(subcode, message, depth + 1, named=False)
    for found in _IN_TEXT.finditer(message):
        yield ErrorNode(found[1], message, depth + 1, named=False)
    for detail in _list(body.get("details")):
        yield from _walk(detail, depth + 1)
    for key in ("innererror", "innerError"):
        yield from _walk(body.get(key), depth + 1)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
