"""From YAML text to plain values, strictly and within bounds.

The text is read as a stream of events, without recursion, so that depth, size and aliases are
bounded before anything is built. What Kubernetes objects cannot hold (keys that are no texts, NaN,
dates, tags) is refused rather than guessed. JSON is read too.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml

from kaito.domain.parsing import shown

DEPTH_LIMIT: Final = 64
NODE_LIMIT: Final = 200_000

_LOADER: Final = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_TAG: Final = "tag:yaml.org,2002:"
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})
_FALSE: Final = frozenset({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})
_INTEGER: Final = re.compile(
    r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)", re.ASCII
)
_FLOAT: Final = re.compile(
    r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    re.ASCII,
)
_INT64: Final = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """One thing wrong with a text: in which line (from 1), at which field, and what to do."""

    line: int
    path: str
    message: str
    remedy: str = ""


class BadText(Exception):
    """The text is refused; `flaws` says why."""

    def __init__(self, flaws: list[Flaw]) -> None:
        self.flaws = tuple(flaws)
        super().__init__("\n".join(flaw.message for flaw in flaws))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """One document of a text, and in which line (from 1) each of its fields stands."""

    value: Any
    line: int
    lines: Mapping[str, int]


def parse(text: str) -> list[Parsed]:
    """The documents of a YAML or JSON text; empty ones are left out.

    Raises: BadText.
    """
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        raise BadText([*builder.flaws, _syntax_flaw(error, text)]) from error
    if builder.flaws:
        raise BadText(builder.flaws)
    return builder.documents


def parse_mapping(text: str) -> dict[str, Any]:
    """The one document of a text, which must be a mapping; an empty text is an empty one.

    Raises: BadText.
    """
    documents = parse(text)
    if not documents:
        return {}
    if len(documents) > 1:
        message = "there must be one document, and this begins another"
        raise BadText([Flaw(line=documents[1].line, path="", message=message)])
    value = documents[0].value
    if not isinstance(value, dict):
        raise BadText([Flaw(line=documents[0].line, path="", message="must be a mapping")])
    return value


@dataclass(frozen=True, slots=True)
class _Node:
    """A finished value: how many values it holds with itself, and how deep they are nested."""

    value: Any
    line: int
    size: int = 1
    height: int = 1
    plain_key: bool = True


class _NoKey:
    """In place of a key: none is waiting for its value."""


class _SkippedKey:
    """In place of a key that is refused: its value is read and dropped."""


class _MergeKey:
    """In place of `<<`: its value is laid under the mapping."""


_Key: TypeAlias = str | type[_NoKey] | type[_SkippedKey] | type[_MergeKey]


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end is not reached."""

    value: Any
    path: str
    anchor: str | None
    line: int
    key: _Key = _NoKey
    size: int = 1
    height: int = 1
    merged: list[dict[str, Any]] = field(default_factory=list)

    @property
    def child_path(self) -> str:
        if isinstance(self.value, list):
            return f"{self.path}[{len(self.value)}]"
        if not isinstance(self.key, str):
            return self.path
        return f"{self.path}.{self.key}" if self.path else self.key


class _Builder:
    """Builds values from events; notes what it can go on after, and stops at the rest."""

    def __init__(self) -> None:
        self.documents: list[Parsed] = []
        self.flaws: list[Flaw] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Node | None] = {}  # None: its value is still open
        self._lines: dict[str, int] = {}
        self._nodes = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._anchors, self._lines = {}, {}
        elif isinstance(event, yaml.ScalarEvent):
            self._finish(self._scalar(event, line), event.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._finish(self._alias(event.anchor or "", line), None)
        elif isinstance(event, yaml.MappingStartEvent):
            self._open({}, event, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._open([], event, line)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()

    def _open(self, value: Any, event: yaml.CollectionStartEvent, line: int) -> None:
        path = self._stack[-1].child_path if self._stack else ""
        if event.tag not in {None, "!", f"{_TAG}map", f"{_TAG}seq"}:
            self._flaw(line, path, f"has the tag {event.tag}", "Remove the tag")
        self._count(1, len(self._stack) + 1, line)
        self._lines.setdefault(path, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(value, path, event.anchor, line))

    def _close(self) -> None:
        done = self._stack.pop()
        for extra in done.merged:
            for key, value in extra.items():
                done.value.setdefault(key, value)
        node = _Node(done.value, done.line, done.size, done.height, plain_key=False)
        self._finish(node, done.anchor)

    def _finish(self, node: _Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            if node.value is not None:
                self.documents.append(Parsed(value=node.value, line=node.line, lines=self._lines))
            return
        parent = self._stack[-1]
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)
        if isinstance(parent.value, list):
            self._lines.setdefault(parent.child_path, node.line)
            parent.value.append(node.value)
        elif parent.key is _NoKey:
            parent.key = self._key(parent, node)
        else:
            self._set(parent, node)
            parent.key = _NoKey

    def _key(self, parent: _Open, node: _Node) -> _Key:
        key = node.value
        if key == "<<" and node.plain_key:
            return _MergeKey
        if not isinstance(key, str):
            kind = "a list or mapping" if isinstance(key, list | dict) else shown(key)
            remedy = "" if isinstance(key, list | dict) else f'Put it in quotes: "{key}"'
            self._flaw(node.line, parent.path, f"has the key {kind}, which is no text", remedy)
            return _SkippedKey
        path = f"{parent.path}.{key}" if parent.path else key
        if key in parent.value:
            first = self._lines.get(path, parent.line)
            self._flaw(node.line, path, f"is given twice, first in line {first}", "Remove one")
            return _SkippedKey
        parent.value[key] = None  # so that keys keep their order
        self._lines.setdefault(path, node.line)
        return key

    def _set(self, parent: _Open, node: _Node) -> None:
        if isinstance(parent.key, str):
            parent.value[parent.key] = node.value
        elif parent.key is _MergeKey:
            layers = node.value if isinstance(node.value, list) else [node.value]
            if all(isinstance(layer, dict) for layer in layers):
                parent.merged += layers
            else:
                self._flaw(node.line, parent.path, "merges (<<) something that is no mapping", "")

    def _alias(self, name: str, line: int) -> _Node:
        path = self._stack[-1].child_path if self._stack else ""
        if name not in self._anchors:
            self._flaw(line, path, f"*{name} refers to nothing", f"Define &{name} before it")
            return _Node(None, line)
        found = self._anchors[name]
        if found is None:
            self._flaw(line, path, f"*{name} refers to itself", "Write the value out")
            raise BadText(self.flaws)
        self._count(found.size, len(self._stack) + found.height, line)
        return _Node(_copy(found.value), line, found.size, found.height, found.plain_key)

    def _count(self, nodes: int, depth: int, line: int) -> None:
        self._nodes += nodes
        path = self._stack[-1].path if self._stack else ""
        if depth > DEPTH_LIMIT:
            message = f"is nested more than {DEPTH_LIMIT} levels deep"
            self._flaw(line, path, message, "No Kubernetes object needs that; check the brackets")
            raise BadText(self.flaws)
        if self._nodes > NODE_LIMIT:
            message = f"the file holds more than {NODE_LIMIT:,} values once aliases are expanded"
            self._flaw(line, "", message, "Split it, and write out what aliases repeat")
            raise BadText(self.flaws)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> _Node:
        self._count(1, len(self._stack) + 1, line)
        text, tag, plain = event.value, event.tag, event.implicit[0]
        if tag is None or tag == "!":
            value = _plain(text) if plain else text
        elif tag == f"{_TAG}str":
            value, plain = text, False
        elif tag in {f"{_TAG}{kind}" for kind in ("int", "float", "bool", "null")}:
            value = _plain(text)
        else:
            path = self._stack[-1].child_path if self._stack else ""
            self._flaw(line, path, f"has the tag {tag}", "Remove the tag")
            value = text
        if _is_no_json_number(value):
            path = self._stack[-1].child_path if self._stack else ""
            self._flaw(line, path, f"{shown(text)} is no number that JSON can hold", "")
            value = 0
        return _Node(value, line, plain_key=plain)

    def _flaw(self, line: int, path: str, message: str, remedy: str) -> None:
        self.flaws.append(Flaw(line=line, path=path, message=message, remedy=remedy))


def _plain(text: str) -> Any:
    """The value of an unquoted scalar: null, boolean, number or text.

    As Kubernetes reads it (YAML 1.1 booleans), but without base-60 numbers and dates.
    """
    if text in _NULLS:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _float(text)
    return text


def _integer(text: str) -> int | float | str:
    digits = text.replace("_", "").lower()
    if len(digits) > 80:  # far beyond 64 bits in any base
        return math.inf
    unsigned = digits.lstrip("+-")
    if len(unsigned) > 1 and unsigned.startswith("0") and unsigned[1].isdigit():
        digits = digits.replace("0", "0o", 1)
    try:
        value = int(digits, 0)
    except ValueError:  # only underscores after the prefix
        return text
    return value if value in _INT64 else math.inf


def _float(text: str) -> float:
    number = text.replace("_", "").lower()
    return float(number.replace(".inf", "inf").replace(".nan", "nan"))


def _is_no_json_number(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _copy(value: Any) -> Any:
    """A copy that shares nothing; the depth is bounded by `DEPTH_LIMIT`."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _syntax_flaw(error: yaml.YAMLError, text: str) -> Flaw:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return Flaw(line=1, path="", message=f"is not valid YAML: {str(error).splitlines()[0]}")
    number = error.problem_mark.line
    lines = text.splitlines()
    source = lines[number] if number < len(lines) else ""
    reason = ", ".join(part for part in (error.context, error.problem) if part)
    near = f" near {shown(source.strip())}" if source.strip() else ""
    return Flaw(
        line=number + 1,
        path="",
        message=f"is not valid YAML: {reason}{near}",
        remedy=_syntax_remedy(source),
    )


def _syntax_remedy(source: str) -> str:
    if "\t" in source[: len(source) - len(source.lstrip())]:
        return "Indent with spaces, not tabs"
    if "{{" in source:
        return "Fill in the template first; this reads plain manifests"
    return "Check indentation and brackets, and quote texts that start with a special character"
