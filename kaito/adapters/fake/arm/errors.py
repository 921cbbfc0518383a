"""Refusals in the shapes that Azure gives them.

Resource Manager itself wraps an error in `error`; AKS's resource provider behind it writes the same
fields flat, with a `subcode`. Clients must read both.
Source: https://github.com/Azure/azure-resource-manager-rpc
v1.0/common-api-details.md "Error response content"; AKS's shape as in the answers quoted in
https://github.com/microsoft/tyger/issues/121 and
https://github.com/Azure/terraform-azurerm-aks/issues/604.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Final, Literal, TypeAlias

Layer: TypeAlias = Literal["arm", "aks"]
Detail: TypeAlias = Mapping[str, Any]

_PENDING: Final = "See https://aka.ms/aks-pending-operation for more details"


class ArmError(Exception):
    """A request that is answered with a refusal. `retry_after_s` becomes a header."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        layer: Layer = "aks",
        target: str = "",
        details: Sequence[Detail] = (),
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message = status, code, message
        self.layer, self.target, self.details = layer, target, details
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(ceil(retry_after_s))

    def body(self) -> dict[str, Any]:
        """What the answer says."""
        content = error_body(self.code, self.message, self.target, self.details)
        if self.layer == "arm":
            return {"error": content}
        return {**content, "details": list(self.details) or None, "subcode": ""}


def error_body(
    code: str, message: str, target: str = "", details: Sequence[Detail] = ()
) -> dict[str, Any]:
    """An error's fields, without those that are empty."""
    body: dict[str, Any] = {"code": code, "message": message}
    if target:
        body["target"] = target
    if details:
        body["details"] = list(details)
    return body


def invalid_parameter(name: str, why: str) -> ArmError:
    """A property that AKS does not take."""
    message = f"The value of parameter {name} is invalid. Error details: {why}"
    return ArmError(400, "InvalidParameter", message, target=name)


def in_progress(pool: str, state: str) -> ArmError:
    """Something else is being done to the pool.

    Source of the text: https://github.com/cilium/cilium/issues/25944
    """
    message = (
        f"Operation is not allowed: Another agentpool operation ({pool} - {state}) is in "
        f"progress, please wait for it to finish before starting a new operation. {_PENDING}"
    )
    return ArmError(409, "OperationNotAllowed", message)


def cluster_busy(state: str) -> ArmError:
    """Something is being done to the whole cluster.

    Source of the text: https://github.com/Azure/terraform-azurerm-avm-ptn-aks-production/pull/25
    """
    message = (
        f"Operation is not allowed: Another operation ({state}) is in progress, please wait for it "
        f"to finish before starting a new operation. {_PENDING}"
    )
    return ArmError(409, "OperationNotAllowed", message)


def precondition_failed(message: str) -> ArmError:
    """An ETag that is not the resource's.

    Source of the code: https://github.com/Azure/azure-cli/pull/30309
    """
    return ArmError(412, "PreconditionFailed", message)


def throttled(handler: str, scope: str, wait_s: float) -> ArmError:
    """A token bucket of AKS is empty.

    Source: https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/error-codes/throttled-error
    """
    message = (
        f"The {handler} request limit has been exceeded for {scope}, please retry again in "
        f"{ceil(wait_s)} seconds. For more information, please visit aka.ms/aks/throttling"
    )
    return ArmError(429, "Throttled", message, retry_after_s=wait_s)


def not_found(kind: str, name: str, group: str) -> ArmError:
    """There is no such resource."""
    message = (
        f"The Resource 'Microsoft.ContainerService/{kind}/{name}' under resource group '{group}' "
        "was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
    )
    return ArmError(404, "ResourceNotFound", message, layer="arm")
