"""Reads the files that a user names, within bounds, and says where everything stands."""

import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from kaito.adapters import yaml_values
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.parsing import shown

SIZE_LIMIT_BYTES: Final = 4 << 20
STDIN: Final = "-"
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
_FILE_LIMIT: Final = 1_000
_LIST: Final = ("v1", "List")
_REMEDY: Final = "Give a Kubernetes manifest in YAML or JSON, or a scenario where one is run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One mapping of a file. `line` and `lines` count from 1, `lines` by dotted field."""

    body: Mapping[str, Any]
    file: str
    line: int
    lines: Mapping[str, int]

    @property
    def source(self) -> str:
        """`file:line` of its beginning."""
        return f"{self.file}:{self.line}"

    def line_of(self, path: str) -> int:
        """The line of a field, or of the nearest part of the document that it would stand in."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.line

    def problem(self, path: str, message: str, remedy: str = "") -> Problem:
        """A problem with one field of this document."""
        return _problem(self.file, self.line_of(path), path, message, remedy)

    def locate(self, problem: Problem, *, within: str = "") -> Problem:
        """`problem`, whose field is relative to the part `within`, as one of this document."""
        joint = "." if within and problem.field and not problem.field.startswith("[") else ""
        located = self.problem(f"{within}{joint}{problem.field}", problem.message, problem.remedy)
        return replace(located, rule=problem.rule)


def files_of(path: str) -> list[str]:
    """The files that `path` stands for: itself, or the manifests of a directory.

    Raises: InvalidInput (unreadable, or a directory without manifests).
    """
    if path == STDIN:
        return [path]
    try:
        return _manifests_of(Path(path)) if Path(path).is_dir() else [path]
    except (OSError, ValueError) as error:
        raise InvalidInput([_unreadable(path, error)]) from error


def read(file: str) -> list[Document]:
    """The documents of a file, or of standard input (`-`).

    Raises: InvalidInput (missing, unreadable, too big, not text, not YAML, empty, not mappings).
    """
    if file == STDIN:
        return _parse(_bounded(sys.stdin.buffer, "standard input"), "standard input")
    return _parse(_content(file), file)


def _manifests_of(directory: Path) -> list[str]:
    """The directory's own files, without those of its directories, by name."""
    found = sorted(entry for entry in directory.iterdir() if entry.suffix.lower() in _SUFFIXES)
    if not found:
        known = ", ".join(sorted(_SUFFIXES))
        message = f"the directory holds no file that ends in {known}"
        raise InvalidInput([Problem(field=str(directory), message=message)])
    if len(found) > _FILE_LIMIT:
        message = f"the directory holds {len(found):,} manifests, more than {_FILE_LIMIT:,}"
        raise InvalidInput([Problem(field=str(directory), message=message)])
    return [str(entry) for entry in found]


def _content(path: str) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            status = os.fstat(stream.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size > SIZE_LIMIT_BYTES:
                raise InvalidInput([_too_big(path, f"{status.st_size / (1 << 20):.1f} MiB")])
            return _bounded(stream, path)
    except (OSError, ValueError) as error:
        raise InvalidInput([_unreadable(path, error)]) from error


def _bounded(stream: BinaryIO, name: str) -> bytes:
    """All of a stream, never reading much more than the limit."""
    content = stream.read(SIZE_LIMIT_BYTES + 1)
    if len(content) > SIZE_LIMIT_BYTES:
        raise InvalidInput([_too_big(name, "more")])
    return content


def _parse(content: bytes, name: str) -> list[Document]:
    text = _text(content, name)
    try:
        parsed = yaml_values.parse(text)
    except yaml_values.BadText as error:
        raise InvalidInput(
            _problem(name, flaw.line, flaw.path, flaw.message, flaw.remedy) for flaw in error.flaws
        ) from error
    if not parsed:
        message = "the file is empty" if not text.strip() else "the file holds nothing but comments"
        raise InvalidInput([Problem(field=name, message=message, remedy=_REMEDY)])
    found = [one for part in parsed for one in _listed(part.value, part.line, part.lines)]
    odd = [
        _problem(name, line, "", f"must be a mapping, got {shown(value)}", _REMEDY)
        for value, line, _ in found
        if not isinstance(value, dict)
    ]
    if odd:
        raise InvalidInput(odd)
    return [Document(body=value, file=name, line=line, lines=lines) for value, line, lines in found]


def _listed(
    value: object, line: int, lines: Mapping[str, int]
) -> Iterator[tuple[Any, int, Mapping[str, int]]]:
    """The objects of a v1 List, as `kubectl get -o yaml` prints several; anything else as it is."""
    items = value.get("items") if isinstance(value, dict) else None
    if not isinstance(value, dict) or (value.get("apiVersion"), value.get("kind")) != _LIST:
        yield value, line, lines
        return
    for index, item in enumerate(items if isinstance(items, list) else ()):
        at = f"items[{index}]"
        own = {
            path.removeprefix(at).lstrip("."): number
            for path, number in lines.items()
            if path == at or path.startswith((f"{at}.", f"{at}["))
        }
        yield item, lines.get(at, line), own


def _text(content: bytes, name: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput([_binary(name, error.start)]) from error
    if "\0" in text:
        raise InvalidInput([_binary(name, content.index(0))])
    return text


def _problem(file: str, line: int, path: str, message: str, remedy: str) -> Problem:
    field = f"{file}:{line}: {path}" if path else f"{file}:{line}"
    return Problem(field=field, message=message, remedy=remedy)


def _binary(name: str, offset: int) -> Problem:
    return Problem(
        field=name,
        message=f"is not text in UTF-8: byte {offset} does not belong in a manifest",
        remedy=_REMEDY,
    )


def _too_big(name: str, size: str) -> Problem:
    limit = f"{SIZE_LIMIT_BYTES >> 20} MiB"
    return Problem(field=name, message=f"is too big: {size}, the limit is {limit}", remedy=_REMEDY)


def _unreadable(name: str, error: OSError | ValueError) -> Problem:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Problem(
        field=name, message=f"cannot be read: {reason}", remedy="Check the path and its permissions"
    )
