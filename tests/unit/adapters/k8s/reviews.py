"""AdmissionReviews as an API server sends them."""

from collections.abc import Mapping
from typing import Any

from tests.unit.domain.builders import manifest

Json = dict[str, Any]
UID = "705ab4f5-6393-11e8-b7cc-42010a800002"


def asked(
    new: Mapping[str, Any] | None = None,
    old: Mapping[str, Any] | None = None,
    *,
    operation: str = "",
    **request: Any,
) -> Json:
    """About a Workspace: CREATE, or UPDATE where there is an old one; `request` replaces fields."""
    new = manifest() if new is None else new
    version = new["apiVersion"].rpartition("/")[2]
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": UID,
            "kind": {"group": "kaito.sh", "version": version, "kind": "Workspace"},
            "resource": {"group": "kaito.sh", "version": version, "resource": "workspaces"},
            "name": new["metadata"]["name"],
            "namespace": "default",
            "operation": operation or ("CREATE" if old is None else "UPDATE"),
            "userInfo": {"username": "someone", "groups": ["system:authenticated"]},
            "object": new,
            "oldObject": old,
            "dryRun": False,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
            **request,
        },
    }
