"""From the Azure SDK's exceptions, and from pools that failed, to the domain's errors."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
)
from azure.identity import CredentialUnavailableError

from kaito.adapters.azure.error_bodies import ErrorNode, nodes_of
from kaito.adapters.azure.error_table import Reaction, reaction_to_status, row_of
from kaito.adapters.azure.redaction import Redactor
from kaito.domain.errors import (
    CapacityUnavailable,
    MachineLimitReached,
    PortError,
    QuotaExceeded,
    Rejected,
    Unavailable,
)

# While another operation goes on; how long it takes, nobody says.
BUSY_S: Final = 15.0
# Of a code that is not in the table.
UNMAPPED_S: Final = 60.0
# A longer Retry-After is not believed.
LONGEST_WAIT_S: Final = 900.0
_LOG = logging.getLogger("kaito.azure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why Azure did not do it. `text` can be told. `zonal`: it is about the zone that was asked
    for; `everywhere`: of a throttled call, that no other kind of call is welcome either."""

    reaction: Reaction
    text: str
    code: str = ""
    retry_after_s: float | None = None
    zonal: bool = False
    everywhere: bool = False


class UnmappedCodes:
    """Keeps the codes that the table does not have, and logs each one once."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __call__(self, code: str, text: str) -> None:
        if code not in self.seen:
            self.seen.add(code)
            _LOG.error("Azure's error code %s is not known to kaito: %s", code or "(none)", text)


class AzureErrors:
    """Reads errors. `now_s`: seconds since the epoch, for a Retry-After that is a date.
    `on_unmapped` is called with a code that the table does not have, and its text."""

    def __init__(
        self,
        redact: Redactor,
        *,
        now_s: Callable[[], float],
        on_unmapped: Callable[[str, str], None] | None = None,
    ) -> None:
        self._redact = redact
        self._now_s = now_s
        self._on_unmapped = on_unmapped or UnmappedCodes()

    def read(self, error: AzureError) -> Refusal:
        """What a call that failed means."""
        if isinstance(error, ClientAuthenticationError) and _is_of_identity(error):
            return self._of_identity(error)
        unread = not isinstance(error, HttpResponseError) or isinstance(error, DecodeError)
        response: Any = None if unread else getattr(error, "response", None)
        if response is None:
            text = self._redact(f"no answer from Azure: {error.message}")
            return Refusal(reaction=Reaction.TRANSIENT, text=text)
        nodes = nodes_of(_json(response))
        wait_s = self._retry_after_s(response.headers)
        return self._refusal(nodes, response.status_code, wait_s)

    def of_pool(self, detail: Mapping[str, Any]) -> Refusal:
        """Why a pool failed: `properties.status.provisioningError`."""
        return self._refusal(nodes_of(detail), None, None)

    def _refusal(
        self, nodes: Sequence[ErrorNode], status: int | None, wait_s: float | None
    ) -> Refusal:
        outer = next(iter(nodes), ErrorNode("", "", 0))
        found = row_of(nodes)
        if found is None:
            code = next((node.code for node in reversed(nodes) if node.named), outer.code)
            said = self._said(code or (f"HTTP {status}" if status else "no reason"), outer.message)
            reaction = reaction_to_status(status)
            if reaction is None:
                self._on_unmapped(code or f"HTTP {status}", said)
                reaction, wait_s = Reaction.TRANSIENT, wait_s or UNMAPPED_S
            return Refusal(reaction=reaction, text=said, code=code, retry_after_s=wait_s)
        row, node = found
        reaction = row.reaction
        if status == 429:  # whatever it says besides
            reaction = Reaction.THROTTLED
        if reaction is Reaction.BUSY:
            wait_s = wait_s or BUSY_S
        said = self._said(node.code, node.message or outer.message)
        inner = _unknown_within(nodes, node) if row.generic else None
        if inner is not None:
            said = self._said(inner.code, inner.message)
            self._on_unmapped(inner.code, said)
        return Refusal(
            reaction=reaction,
            text=f"{said}. {row.remedy}" if row.remedy else said,
            code=node.code,
            retry_after_s=wait_s,
            zonal=row.zonal,
            everywhere=row.everywhere,
        )

    def _said(self, code: str, message: str) -> str:
        text = self._redact(message).rstrip(".")
        return f"{self._redact(code)}: {text}" if text else self._redact(code)

    def _of_identity(self, error: ClientAuthenticationError) -> Refusal:
        status = error.status_code
        text = self._redact(f"Microsoft Entra gives no token: {error.message}")
        if status is not None and (status == 429 or status >= 500):
            return Refusal(reaction=Reaction.TRANSIENT, text=text)
        remedy = "Check the identity that --azure-credential chooses, and its federated credential"
        return Refusal(reaction=Reaction.REJECTED, text=f"{text}. {remedy}")

    def _retry_after_s(self, headers: Mapping[str, str]) -> float | None:
        """The pause that is asked for, in seconds. Source: RFC 9110, section 10.2.3."""
        text = next((headers[key] for key in headers if key.lower() == "retry-after"), "")
        try:
            wait_s = float(text)
        except ValueError:
            try:
                wait_s = parsedate_to_datetime(text).timestamp() - self._now_s()
            except (TypeError, ValueError):
                return None
        return min(max(wait_s, 0.0), LONGEST_WAIT_S) if wait_s == wait_s else None


def port_error(
    refusal: Refusal, doing: str, *, zone: str = "", other_zones: Sequence[str] = ()
) -> PortError:
    """The domain's error for what went wrong while `doing` something; what is gone is the cluster.
    `zone` is the one that was asked for, `other_zones` those that may be asked for instead."""
    text = f"{doing}: {refusal.text}"
    match refusal.reaction:
        case Reaction.CAPACITY:
            if zone and refusal.zonal:
                return CapacityUnavailable(text, zone=zone, other_zones=other_zones)
            return CapacityUnavailable(text)
        case Reaction.QUOTA:
            return QuotaExceeded(text)
        case Reaction.MACHINE_LIMIT:
            return MachineLimitReached(text)
        case Reaction.REJECTED:
            return Rejected(text)
        case Reaction.GONE:
            remedy = "Check --azure-resource-group and --azure-cluster-name"
            return Rejected(f"{text}. {remedy}")
        case Reaction.BUSY | Reaction.EXISTS:
            return Unavailable(text, retry_after_s=refusal.retry_after_s or BUSY_S)
        case Reaction.THROTTLED | Reaction.TRANSIENT:
            return Unavailable(text, retry_after_s=refusal.retry_after_s)


def _unknown_within(nodes: Sequence[ErrorNode], known: ErrorNode) -> ErrorNode | None:
    """The innermost error within `known` whose code the table does not have."""
    inner = [node for node in nodes if node.named and node.depth > known.depth]
    unknown = [node for node in inner if row_of([node]) is None]
    return max(unknown, key=lambda node: node.depth, default=None)


def _is_of_identity(error: ClientAuthenticationError) -> bool:
    """Whether it is Microsoft Entra that says so, or nobody; Azure Resource Manager otherwise."""
    return (
        isinstance(error, CredentialUnavailableError)
        or error.response is None
        or "AADSTS" in str(error.message)
    )


def _json(response: Any) -> object:
    try:
        return json.loads(response.text())
    except (ValueError, AzureError):
        return None
