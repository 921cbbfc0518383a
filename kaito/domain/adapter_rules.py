"""Rules of LoRA adapters that are served beside a model.

KAITO v0.12 asks most of them of updates only (api/v1beta1/workspace_validation.go:248-280); kaito
asks them of new Workspaces too.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from kaito.domain import names
from kaito.domain.errors import Problem
from kaito.domain.object_rules import image_problems, secret_problems, volume_problems
from kaito.domain.workspace import Adapter, DataSource

# Containers (puller-...), volumes (adapter-...) and a variable are named after an adapter.
MAX_ADAPTER_NAME_CHARS: Final = 55


def adapter_problems(field: str, adapters: Iterable[Adapter]) -> Iterator[Problem]:
    """Every broken rule of the adapters that stand in `field`."""
    seen: set[str] = set()
    for index, adapter in enumerate(adapters):
        at = f"{field}[{index}]"
        yield from _name_problems(f"{at}.source.name", adapter.source.name, seen)
        yield from _source_problems(f"{at}.source", adapter.source)
        yield from _strength_problems(f"{at}.strength", adapter.strength)


def _name_problems(field: str, name: str, seen: set[str]) -> Iterator[Problem]:
    if not names.is_dns_label(name):
        yield Problem(
            field=field,
            message=f"{name!r} is not a DNS label",
            remedy="Use lower-case letters, digits and '-'",
            rule="adapter-name",
        )
    elif len(name) > MAX_ADAPTER_NAME_CHARS or not name[0].isalpha():
        yield Problem(
            field=field,
            message=f"{name!r} cannot name a container, a volume and a variable",
            remedy=f"Use at most {MAX_ADAPTER_NAME_CHARS} characters, the first of them a letter",
            rule="adapter-name-length",
        )
    if name in seen:
        yield Problem(field=field, message=f"{name!r} is there twice", rule="adapter-duplicate")
    seen.add(name)


def _source_problems(field: str, source: DataSource) -> Iterator[Problem]:
    if source.urls:
        yield Problem(
            field=f"{field}.urls",
            message="adapters cannot be read from URLs",
            remedy="Use an image or a volumeSource",
            rule="adapter-urls",
        )
    elif bool(source.image) == (source.volume_source is not None):
        yield Problem(
            field=field,
            message="needs exactly one of image and volumeSource",
            rule="adapter-source",
        )
    yield from volume_problems(f"{field}.volumeSource", source.volume_source)
    yield from image_problems(f"{field}.image", source.image)
    yield from secret_problems(f"{field}.imagePullSecrets", source.image_pull_secrets)


def _strength_problems(field: str, text: str) -> Iterator[Problem]:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        yield Problem(
            field=field,
            message=f"must be a number from 0 to 1 as text, got {text!r}",
            rule="adapter-strength",
        )
