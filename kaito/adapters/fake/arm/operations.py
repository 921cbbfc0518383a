"""Asynchronous operations: what Azure-AsyncOperation and Location point to.

Source: https://github.com/Azure/azure-resource-manager-rpc
v1.0/async-api-reference.md
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from kaito.domain.timestamps import to_rfc3339

State: TypeAlias = Literal["InProgress", "Succeeded", "Failed", "Canceled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an operation stands; `error` is of one that has failed or was canceled."""

    state: State
    error: dict[str, Any] | None = None


RUNNING: Final = Outcome(state="InProgress")
SUCCEEDED: Final = Outcome(state="Succeeded")


@dataclass(slots=True, kw_only=True)
class Operation:
    """One of them. Times are epoch seconds. `look` says how it stands, until it has ended."""

    id: str
    started_at_s: float
    look: Callable[[], Outcome]
    outcome: Outcome = RUNNING
    ended_at_s: float | None = None

    def body(self) -> dict[str, Any]:
        """The operation's status resource."""
        body: dict[str, Any] = {
            "name": self.id,
            "status": self.outcome.state,
            "startTime": to_rfc3339(self.started_at_s),
        }
        if self.ended_at_s is not None:
            body["endTime"] = to_rfc3339(self.ended_at_s)
        if self.outcome.error is not None:
            body["error"] = self.outcome.error
        return body


class Operations:
    """All that were ever begun. How one ended is kept: what happens to its pool later does not
    change it."""

    def __init__(self, scope: str, now_s: Callable[[], float]) -> None:
        self._scope, self._now_s = uuid.uuid5(uuid.NAMESPACE_URL, scope), now_s
        self._all: dict[str, Operation] = {}
        self._open: list[Operation] = []

    def begin(self, look: Callable[[], Outcome]) -> Operation:
        """A new one, which may have ended already."""
        number = str(uuid.uuid5(self._scope, str(len(self._all))))
        operation = Operation(id=number, started_at_s=self._now_s(), look=look)
        self._all[number] = operation
        self._open.append(operation)
        self.settle()
        return operation

    def settle(self) -> None:
        """Note how those ended that have."""
        for operation in self._open:
            outcome = operation.look()
            if outcome.state != "InProgress":
                operation.outcome, operation.ended_at_s = outcome, self._now_s()
        self._open = [one for one in self._open if one.ended_at_s is None]

    def get(self, number: str) -> Operation | None:
        return self._all.get(number.lower())
