"""A machine cloud whose answers get lost and whose list lags."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from kaito.adapters.fake.faults import FailAfter, FailBefore, Fault, StaleBy
from kaito.domain.errors import Unavailable
from kaito.domain.machine import CloudMachine, MachineOrder
from kaito.domain.ports import MachineCloud

CloudVerb: TypeAlias = Literal["launch", "terminate", "list_machines"]


class FaultyMachineCloud:
    """Another `MachineCloud`, seen through faults. `choose` names the fault of each call, or None.

    A stale list is one that the cloud really gave: the newest that is old enough. With `remembers`
    every list that differs from the one before is kept for that.
    """

    def __init__(
        self,
        inner: MachineCloud,
        *,
        now_s: Callable[[], float],
        choose: Callable[[CloudVerb], Fault | None],
        remembers: bool,
    ) -> None:
        self._inner = inner
        self._now_s = now_s
        self._choose = choose
        self._remembers = remembers
        self._lists: list[tuple[float, Sequence[CloudMachine]]] = [(now_s(), ())]

    def launch(self, order: MachineOrder) -> None:
        self._through("launch", lambda: self._inner.launch(order))

    def terminate(self, cloud_name: str) -> None:
        self._through("terminate", lambda: self._inner.terminate(cloud_name))

    def list_machines(self, claim_name: str | None = None) -> Sequence[CloudMachine]:
        fault = self._choose("list_machines")
        current = self._remembered(fault) if self._remembers else None
        if isinstance(fault, FailBefore | FailAfter):
            raise Unavailable("the cloud does not answer")
        if current is None:
            return self._inner.list_machines(claim_name)
        return [seen for seen in current if claim_name in {None, seen.claim_name}]

    def _remembered(self, fault: Fault | None) -> Sequence[CloudMachine]:
        """Every machine, as a list shows them now or, where it is stale, showed them then."""
        now_s = self._now_s()
        current = self._inner.list_machines()
        if current != self._lists[-1][1]:
            self._lists.append((now_s, current))
        if isinstance(fault, StaleBy):
            moment_s = now_s - fault.lag_s
            old = (listed for at_s, listed in reversed(self._lists) if at_s <= moment_s)
            return next(old, self._lists[0][1])
        return current

    def _through(self, verb: CloudVerb, call: Callable[[], None]) -> None:
        fault = self._choose(verb)
        if isinstance(fault, FailBefore):
            raise Unavailable("the connection was lost before the request was sent")
        call()
        if isinstance(fault, FailAfter):
            raise Unavailable("the connection was lost before the answer came")
