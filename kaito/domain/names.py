"""Names: what Kubernetes accepts, what is probably meant, and hashes that stand for an owner."""

import difflib
import hashlib
import re
from collections.abc import Iterable
from typing import Final

# KAITO v0.12's name for the StorageClass of local disks (pkg/utils/consts/consts.go,
# LocalNVMeStorageClass).
DEFAULT_STORAGE_CLASS: Final = "kaito-local-nvme-disk"

# Containers that help a pod's main one, which is named after its Workspace.
DATA_DOWNLOADER: Final = "data-downloader"
DATA_PULLER: Final = "data-puller"
RESULTS_PUSHER: Final = "pusher"

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN_LIMIT: Final = 253
# distribution/reference grammar: [host[:port]/]path components in lower case, tag, digest.
_HOST: Final = r"[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*(?:\.[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*)*(?::[0-9]+)?"
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE: Final = re.compile(
    rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@sha256:[a-f0-9]{64})?"
)
_PLACEHOLDER: Final = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*_HERE\b")
_IN_BRACKETS: Final = re.compile(r"<[^<>]+>")


def is_dns_label(name: str) -> bool:
    """RFC 1123 label: lower-case letters, digits and '-', at most 63 characters."""
    return _LABEL.fullmatch(name) is not None


def is_dns_subdomain(name: str) -> bool:
    """RFC 1123 subdomain: labels joined by dots, at most 253 characters."""
    return len(name) <= _SUBDOMAIN_LIMIT and all(is_dns_label(part) for part in name.split("."))


def is_image_reference(text: str) -> bool:
    """Whether it is `registry/repository:tag` or `@digest`, with the repository in lower case."""
    return _IMAGE.fullmatch(text) is not None


def placeholders(text: str) -> tuple[str, ...]:
    """The parts that a reader was meant to fill in, such as `ACR_REPO_HERE`, in order; or the whole
    text where that is one, such as `<YOUR IMAGE URL>`."""
    if _IN_BRACKETS.fullmatch(text):
        return (text,)
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(text)))


def nearest(name: str, known: Iterable[str], *, limit: int = 3) -> tuple[str, ...]:
    """The known names that look most like `name`, best first, ignoring case."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), sorted(by_lower), n=limit, cutoff=0.5)
    return tuple(by_lower[match] for match in found)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy sentence that names the nearest known names, or all of them when none is near."""
    names = sorted(known)
    close = nearest(name, names)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Known: {', '.join(names)}" if names else "None is known"


def machine_name(owner_uid: str, slot: int, attempt: int) -> str:
    """The machine's name: `ws` and 9 hex digits, which fits AKS's limit of 12 for an agent pool.

    It is a function of what the machine is for, so ordering it twice orders it once.
    """
    assert owner_uid, "a machine has an owner"
    assert slot >= 0, slot
    assert attempt >= 0, attempt
    return "ws" + digest(f"{owner_uid}/{slot}/{attempt}")[:9]


def adapter_puller(adapter: str) -> str:
    """The container that fetches an adapter's image."""
    return f"puller-{adapter}"


def digest(text: str) -> str:
    """sha256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
