"""Texts that a copied example wants filled in, wherever they stand in a Workspace."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kaito.domain import labels, names
from kaito.domain.errors import Problem
from kaito.domain.workspace import Workspace

_HINTS: Final[Mapping[str, str]] = {
    "ACR_REPO_HERE": "the name of your container registry",
    "ADAPTER_HERE": "the repository that holds the adapter",
    "IMAGE_NAME_HERE": "the repository to push the result to",
    "ACR_REGISTRY_SECRET_HERE": "the name of a Secret with the registry's credentials",
}


def placeholder_problems(workspace: Workspace) -> Iterator[Problem]:
    """A problem for each text with placeholders. What other programs annotate is theirs: `kubectl
    apply` keeps a copy of the manifest there."""
    manifest = workspace.model_dump(by_alias=True, exclude_unset=True)
    annotations = manifest.get("metadata", {}).get("annotations", {})
    for key in [key for key in annotations if not key.startswith(labels.PREFIX)]:
        del annotations[key]
    for path, text in _texts(manifest, ""):
        left = names.placeholders(text)
        if left:
            hints = [_HINTS.get(name, "a value of your own") for name in left]
            put = "; ".join(
                f"put {hint} in place of {name}" for name, hint in zip(left, hints, strict=True)
            )
            yield Problem(
                field=path,
                message=f"{text!r} still has the placeholder{'s' if len(left) > 1 else ''} "
                f"{', '.join(left)}",
                remedy=put[0].upper() + put[1:],
                rule="placeholder",
            )


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")
