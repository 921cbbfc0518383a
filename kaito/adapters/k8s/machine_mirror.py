"""NodeClaims shown as Machines (karpenter.sh/v1alpha5), for tools written for KAITO up to v0.2.

One way only: kaito writes Machines and never acts on one. A Machine has its NodeClaim's name and is
owned by it, so that garbage collection takes it away.

Fields: Karpenter v0.31 (pkg/apis/v1alpha5/machine.go, machine_status.go); labels and requirements:
KAITO v0.2 (pkg/machine/machine.go).
"""

import logging
from collections.abc import Generator, Mapping
from typing import Any, Final

from kaito.adapters.k8s.errors import as_port_errors
from kaito.adapters.k8s.node_claims import to_machine
from kaito.adapters.kube_api import (
    MACHINE,
    NODE,
    NODE_CLAIM,
    Forbidden,
    KubeApi,
    KubeObject,
    ObjectNotFound,
    Resource,
    ServerUnavailable,
    condition_of,
    labels_of,
    name_of,
)
from kaito.domain import labels
from kaito.domain.errors import InvalidInput, PortError, Problem
from kaito.reconcile import RESYNC_S, Outcome, Steps

# A NodeClaim's condition -> the Machine's; what only NodeClaims have is left out.
_CONDITIONS: Final = {
    "Launched": "MachineLaunched",
    "Registered": "MachineRegistered",
    "Initialized": "MachineInitialized",
    "Ready": "Ready",
}
# v1alpha5's conditions have no observedGeneration: Karpenter's own CRD would drop it.
_OF_CONDITION: Final = ("status", "reason", "message", "lastTransitionTime")
_OF_REQUIREMENT: Final = ("key", "operator", "values")
_OF_SPEC: Final = ("taints", "startupTaints", "resources")
_RESOURCES: Final = ("capacity", "allocatable")
_FLAG: Final = "--mirror-machines"

_LOG = logging.getLogger("kaito.operator")


def mirror_of(claim: KubeObject, node: KubeObject | None = None) -> dict[str, Any]:
    """The Machine that shows a NodeClaim, status included.

    `node`: whose capacity it has while the NodeClaim does not say, as Karpenter's do.
    """
    shown = {key: text for key, text in labels_of(claim).items() if key != labels.NODE_POOL}
    return {
        "apiVersion": MACHINE.api_version,
        "kind": MACHINE.kind,
        "metadata": {
            "name": name_of(claim),
            "labels": {**shown, labels.PROVISIONER: labels.PROVISIONER_DEFAULT},
            "ownerReferences": [
                {
                    "apiVersion": NODE_CLAIM.api_version,
                    "kind": NODE_CLAIM.kind,
                    "name": name_of(claim),
                    "uid": claim["metadata"]["uid"],
                    "controller": True,
                }
            ],
        },
        "spec": _spec(claim),
        "status": _status(claim, node),
    }


def check_machines_served(api: KubeApi) -> None:
    """Whether mirrors can be kept in this cluster; one that does not answer now may later.

    Raises: InvalidInput (it has no such kind, or the operator has no right to it).
    """
    try:
        api.list(MACHINE, limit=1)
    except ObjectNotFound as error:
        problem = Problem(
            field=_FLAG,
            message=f"the cluster has no {MACHINE.kind} of {MACHINE.api_version}",
            remedy="Install it: kaito crds --machine-mirror | kubectl apply -f -",
        )
        raise InvalidInput([problem]) from error
    except Forbidden as error:
        problem = Problem(
            field=_FLAG,
            message=str(error),
            remedy="Grant the rights in deploy/components/machine-mirror",
        )
        raise InvalidInput([problem]) from error
    except ServerUnavailable as error:
        _LOG.warning("%s: not known yet whether Machines can be kept: %s", _FLAG, error)


class MachineMirror:
    """Rounds that keep one Machine for each NodeClaim of kaito's.

    `api` is a cache of NodeClaims, Nodes and Machines, so that a round without a write costs no
    call. `namespace`: only the machines of its Workspaces; empty: all.
    """

    def __init__(self, api: KubeApi, namespace: str = "") -> None:
        self._api = api
        self._namespace = namespace

    def shows(self, claim: KubeObject) -> bool:
        """Whether the NodeClaim is one to be mirrored."""
        machine = to_machine(claim)
        if machine is None:
            return False
        return not self._namespace or machine.spec.owner.namespace == self._namespace

    def round(self, name: str) -> Steps:
        """One round for the NodeClaim and the Machine of this name."""
        try:
            claim = self._read(NODE_CLAIM, name)
            yield
            if claim is None or not self.shows(claim):
                return Outcome()
            yield from self._keep(claim)
        except PortError as error:
            return Outcome(error=error)
        return Outcome(RESYNC_S, resting=True)

    def _keep(self, claim: KubeObject) -> Generator[None, None, None]:
        """Raises: PortError from the first call that fails."""
        node_name = (claim.get("status") or {}).get("nodeName", "")
        wanted = mirror_of(claim, self._read(NODE, node_name) if node_name else None)
        yield
        found = self._read(MACHINE, name_of(claim))
        yield
        if found is None:
            if "deletionTimestamp" in claim["metadata"]:
                return
            with as_port_errors():
                found = self._api.create(MACHINE, wanted)
            yield
        elif not _is_of(claim, found):
            # Somebody else's, or of an earlier NodeClaim of this name, and about to be collected.
            _LOG.info("Machine %s is not owned by its NodeClaim: left alone", name_of(found))
            return
        elif "deletionTimestamp" in found["metadata"]:
            return  # it is made again once it is gone
        elif _shown(found) != _shown(wanted):
            with as_port_errors():
                found = self._api.replace(MACHINE, _over(found, wanted))
            yield
        if (found.get("status") or {}) != wanted["status"]:
            with as_port_errors():
                self._api.replace_status(MACHINE, _over(found, wanted))
            yield

    def _read(self, resource: Resource, name: str) -> KubeObject | None:
        with as_port_errors():
            try:
                return self._api.get(resource, name)
            except ObjectNotFound:
                return None


def _is_of(claim: KubeObject, machine: KubeObject) -> bool:
    owners = machine["metadata"].get("ownerReferences") or ()
    return any(owner["uid"] == claim["metadata"]["uid"] for owner in owners)


def _shown(machine: KubeObject) -> object:
    """What nobody else may change. Annotations and finalizers are left to who sets them."""
    metadata = machine["metadata"]
    return labels_of(machine), metadata.get("ownerReferences"), machine.get("spec")


def _over(found: KubeObject, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """`wanted` in the place of `found`, at the version read."""
    kept = {
        key: found["metadata"][key]
        for key in ("uid", "resourceVersion", "annotations", "finalizers")
        if key in found["metadata"]
    }
    return {**wanted, "metadata": {**wanted["metadata"], **kept}}


def _spec(claim: KubeObject) -> dict[str, Any]:
    asked = claim["spec"]
    spec: dict[str, Any] = {
        "requirements": [
            {key: one[key] for key in _OF_REQUIREMENT if key in one}
            for one in asked.get("requirements") or ()
            if one["key"] not in {labels.NODE_POOL, labels.MACHINE_TYPE}
        ]
    }
    kind = labels_of(claim).get(labels.MACHINE_TYPE, labels.MACHINE_TYPE_GPU)
    for key, value in (
        (labels.PROVISIONER, labels.PROVISIONER_DEFAULT),
        (labels.MACHINE_TYPE, kind),
    ):
        spec["requirements"].append({"key": key, "operator": "In", "values": [value]})
    spec |= {key: asked[key] for key in _OF_SPEC if key in asked}
    node_class = asked.get("nodeClassRef")
    if node_class:  # its API version is not known: NodeClaims name the group only
        spec["machineTemplateRef"] = {"kind": node_class["kind"], "name": node_class["name"]}
    return spec


def _status(claim: KubeObject, node: KubeObject | None) -> dict[str, Any]:
    told, of_node = claim.get("status") or {}, (node or {}).get("status") or {}
    status: dict[str, Any] = {key: told[key] for key in ("nodeName", "providerID") if told.get(key)}
    for key in _RESOURCES:
        if amounts := told.get(key) or of_node.get(key):
            status[key] = amounts
    conditions = [
        {"type": ours} | {key: found[key] for key in _OF_CONDITION if found.get(key)}
        for theirs, ours in _CONDITIONS.items()
        if (found := condition_of(claim, theirs)) is not None
    ]
    if conditions:
        status["conditions"] = conditions
    return status
