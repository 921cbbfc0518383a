"""Rules of Kubernetes objects that a Workspace carries inside or names: labels, volume sources,
images, Secrets and ConfigMaps."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from kaito.domain import labels
from kaito.domain.errors import Problem
from kaito.domain.names import (
    did_you_mean,
    is_dns_subdomain,
    is_image_reference,
    placeholders,
)
from kaito.domain.parsing import shown
from kaito.domain.workspace import LabelSelectorRequirement

_LABEL_PART: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
# Whoever sets these on a Node would be overruled by, or overrule, the kubelet, AKS or kaito.
_SYSTEM_DOMAINS: Final = (
    "kubernetes.io",
    "k8s.io",
    "karpenter.sh",
    "kubernetes.azure.com",
    "kaito.sh",
)
# A volume source (core/v1 VolumeSource) and the key it cannot do without, if there is one.
_VOLUME_KINDS: Final[Mapping[str, str]] = {
    "configMap": "name",
    "csi": "driver",
    "emptyDir": "",
    "ephemeral": "volumeClaimTemplate",
    "hostPath": "path",
    "image": "reference",
    "nfs": "server",
    "persistentVolumeClaim": "claimName",
    "projected": "sources",
    "secret": "secretName",
}


def label_problems(field: str, found: Mapping[str, str]) -> Iterator[Problem]:
    """What the API server, or somebody else's claim on a label, would not let stand."""
    for key, value in found.items():
        if key in labels.RESERVED:
            continue  # left out, as KAITO does
        unusable = list(_key_problems(field, key))
        yield from unusable
        if not unusable and (key == labels.ACCELERATOR or is_system_label(key)):
            yield Problem(
                field=field,
                message=f"{key!r} is a label of the system",
                remedy="Use a label of your own, such as apps: my-model",
                rule="label-system",
            )
        yield from value_problems(f"{field}.{key}", value)


def selected_label_problems(field: str, found: Mapping[str, str]) -> Iterator[Problem]:
    """What no label of a Node can be; whose label it is does not matter to who looks for it."""
    for key, value in found.items():
        yield from _key_problems(field, key)
        yield from value_problems(f"{field}.{key}", value)


def expression_problems(field: str, found: Iterable[LabelSelectorRequirement]) -> Iterator[Problem]:
    """What the API server would not take as a node affinity's expression."""
    for index, one in enumerate(found):
        at = f"{field}[{index}]"
        yield from _key_problems(f"{at}.key", one.key)
        lists = one.operator in {"In", "NotIn"}
        if lists != bool(one.values):
            yield Problem(
                field=f"{at}.values",
                message=f"{'is required' if lists else 'is not possible'} with {one.operator}",
                remedy="In and NotIn have values; Exists and DoesNotExist have none",
                rule="selector-values",
            )
        for value in one.values:
            yield from value_problems(f"{at}.values", value)


def value_problems(field: str, value: str) -> Iterator[Problem]:
    """Whether it can be a label's value."""
    if value and not _LABEL_PART.fullmatch(value):
        yield Problem(
            field=field,
            message=f"{value!r} is not a label value",
            remedy="Use letters, digits, '-', '_' and '.', at most 63 and no spaces",
            rule="label-value",
        )


def _key_problems(field: str, key: str) -> Iterator[Problem]:
    prefix, _, name = key.rpartition("/")
    if not _LABEL_PART.fullmatch(name) or (prefix and not is_dns_subdomain(prefix)):
        yield Problem(
            field=field,
            message=f"{key!r} is not a label key",
            remedy="Use letters, digits, '-', '_' and '.', at most 63, as in apps: my-model",
            rule="label-key",
        )


def volume_problems(field: str, source: Mapping[str, Any] | None) -> Iterator[Problem]:
    """Whether it is exactly one volume source with the key that its kind needs."""
    if source is None:
        return
    if len(source) != 1:
        kinds = ", ".join(source) or "none"
        yield Problem(
            field=field,
            message=f"needs exactly one kind of volume, has {kinds}",
            remedy="For example persistentVolumeClaim: {claimName: my-claim}",
            rule="volume-one-kind",
        )
        return
    ((kind, settings),) = source.items()
    if kind not in _VOLUME_KINDS:
        remedy = did_you_mean(kind, _VOLUME_KINDS)
        yield Problem(
            field=f"{field}.{kind}",
            message="unknown kind of volume",
            remedy=remedy,
            rule="volume-kind",
        )
        return
    if not isinstance(settings, Mapping):
        yield Problem(
            field=f"{field}.{kind}",
            message=f"must be a mapping, got {shown(settings)}",
            rule="volume-settings",
        )
        return
    needed = _VOLUME_KINDS[kind]
    if needed and not settings.get(needed):
        yield Problem(
            field=f"{field}.{kind}.{needed}", message="is required", rule="volume-settings"
        )


def is_system_label(key: str) -> bool:
    """Whether others than the user set it, and mean something by it."""
    prefix = key.rpartition("/")[0]
    return any(prefix == domain or prefix.endswith(f".{domain}") for domain in _SYSTEM_DOMAINS)


def image_problems(field: str, text: str) -> Iterator[Problem]:
    """Whether it is an image reference, if it is given and no placeholder."""
    if not text or placeholders(text) or is_image_reference(text):
        return
    yield Problem(
        field=field,
        message=f"{text!r} is not an image reference",
        remedy="Use registry/repository:tag, the repository in lower case",
        rule="image-reference",
    )


def secret_problems(field: str, found: Iterable[str]) -> Iterator[Problem]:
    """Whether each can be the name of a Secret."""
    for index, name in enumerate(found):
        yield from object_name_problems(f"{field}[{index}]", name)


def object_name_problems(field: str, name: str) -> Iterator[Problem]:
    """Whether it can be the name of a Secret or a ConfigMap, if one is named."""
    if not name or placeholders(name) or is_dns_subdomain(name):
        return
    yield Problem(
        field=field,
        message=f"{name!r} cannot be the name of an object",
        remedy="Use lower-case letters, digits, '-' and '.'",
        rule="object-name",
    )
