"""Machines made by Karpenter, or by anything else that acts on NodeClaims."""

from collections.abc import Sequence

from kaito.domain.errors import Rejected
from kaito.domain.machine import CloudMachine, MachineOrder


class NodeClaimsOnly:
    """A `MachineCloud` for clusters where somebody else turns NodeClaims into machines.

    It sells nothing and has nothing: kaito writes and deletes NodeClaims and reads their
    conditions, and runs no machine rounds of its own.
    """

    def launch(self, order: MachineOrder) -> None:
        raise Rejected(f"machine {order.name}: NodeClaims are acted on by another controller")

    def terminate(self, cloud_name: str) -> None:
        """Whoever made the machine ends it when its NodeClaim is deleted."""

    def list_machines(self, claim_name: str | None = None) -> Sequence[CloudMachine]:
        return ()
