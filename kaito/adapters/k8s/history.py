"""The history of a Workspace as ControllerRevisions, which users read with kubectl."""

import itertools
from typing import Any

from kaito.adapters.k8s.errors import as_port_errors
from kaito.adapters.k8s.live_workload import is_owned
from kaito.adapters.k8s.manifests import MANAGED_BY, owner_reference
from kaito.adapters.kube_api import (
    CONTROLLER_REVISION,
    WORKSPACE,
    AlreadyExists,
    KubeApi,
    KubeObject,
    ObjectNotFound,
    name_of,
)
from kaito.domain import labels
from kaito.domain.cluster_view import RevisionView
from kaito.domain.machine import Owner
from kaito.domain.revisions import content_of, content_of_data, revision_name, spec_of
from kaito.domain.workspace import Workspace


def to_revision(stored: KubeObject) -> RevisionView:
    """A revision as read, kaito's or KAITO v0.12's."""
    metadata = stored["metadata"]
    return RevisionView(
        name=metadata["name"],
        uid=metadata["uid"],
        number=stored["revision"],
        content=content_of_data(stored.get("data") or {}),
    )


def revisions_of(api: KubeApi, workspace: Workspace) -> list[KubeObject]:
    """The ControllerRevisions that the Workspace owns, sorted by name. Raises: as `PortError`."""
    found = {labels.HISTORY_OF: workspace.name}
    with as_port_errors():
        kept = api.list(CONTROLLER_REVISION, workspace.namespace, labels=found).items
    return sorted((one for one in kept if is_owned(one, workspace.uid)), key=name_of)


def create(api: KubeApi, workspace: Workspace, number: int) -> None:
    """Keep the Workspace's spec; what is kept already is success. Raises: as `PortError`."""
    with as_port_errors():
        for taken in itertools.count():
            name = revision_name(workspace, number, taken)
            try:
                api.create(CONTROLLER_REVISION, _body(workspace, name, number))
            except AlreadyExists:
                if _is_another(api, workspace, name, number):
                    continue
            return


def _is_another(api: KubeApi, workspace: Workspace, name: str, number: int) -> bool:
    """Whether what has the name is not this very revision; a cache that lags may not know yet."""
    try:
        live = api.get(CONTROLLER_REVISION, name, workspace.namespace)
    except ObjectNotFound:
        return False
    same = content_of_data(live.get("data") or {}) == content_of(workspace)
    return not (same and live["revision"] == number and is_owned(live, workspace.uid))


def _body(workspace: Workspace, name: str, number: int) -> dict[str, Any]:
    owner = Owner(uid=workspace.uid, namespace=workspace.namespace, name=workspace.name)
    return {
        "apiVersion": CONTROLLER_REVISION.api_version,
        "kind": CONTROLLER_REVISION.kind,
        "metadata": {
            "name": name,
            "namespace": workspace.namespace,
            "labels": {labels.HISTORY_OF: workspace.name, MANAGED_BY: "kaito"},
            "ownerReferences": [owner_reference(owner, WORKSPACE.api_version)],
        },
        "data": spec_of(workspace),
        "revision": number,
    }
