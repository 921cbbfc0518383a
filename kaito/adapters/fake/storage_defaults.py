"""What the API server fills in for claims, volumes and StorageClasses."""

from kaito.adapters.fake.api_errors import Problem
from kaito.adapters.fake.pod_defaults import Fields


def create_claim(draft: Fields) -> list[Problem]:
    """A claim begins as Pending."""
    draft.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    draft["status"] = {"phase": "Pending"}
    return []


def create_volume(draft: Fields) -> list[Problem]:
    """A volume begins as Pending."""
    spec = draft.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    draft["status"] = {"phase": "Pending"}
    return []


def create_storage_class(draft: Fields) -> list[Problem]:
    """Volumes are deleted with their claims, and bound at once, unless it says otherwise."""
    draft.setdefault("reclaimPolicy", "Delete")
    draft.setdefault("volumeBindingMode", "Immediate")
    if draft.get("provisioner"):
        return []
    return [Problem("provisioner", "Required value")]
