"""Conditions between the domain's values and Kubernetes' JSON."""

from collections.abc import Iterable, Mapping
from typing import Any

from kaito.domain.conditions import Condition
from kaito.domain.timestamps import from_rfc3339, to_rfc3339


def to_json(conditions: Iterable[Condition]) -> list[dict[str, Any]]:
    """`metav1.Condition` objects, in the order given."""
    return [
        {
            "type": found.type,
            "status": found.status,
            "reason": found.reason,
            "message": found.message,
            "observedGeneration": found.observed_generation,
            "lastTransitionTime": to_rfc3339(found.since_s),
        }
        for found in conditions
    ]


def from_json(status: Mapping[str, Any]) -> tuple[Condition, ...]:
    """The conditions of a status; what another writer left out is empty."""
    return tuple(
        Condition(
            type=found["type"],
            status=found["status"],
            reason=found.get("reason", ""),
            message=found.get("message", ""),
            observed_generation=found.get("observedGeneration", 0),
            since_s=_since_s(found.get("lastTransitionTime")),
        )
        for found in status.get("conditions") or ()
    )


def _since_s(text: str | None) -> float:
    try:
        return from_rfc3339(text) if text else 0.0
    except ValueError:
        return 0.0  # another writer's; the first write of ours puts it right
