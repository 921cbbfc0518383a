"""Which fault the operator's next call meets, of those that go on now."""

from collections.abc import Callable, Iterator
from typing import Final, Literal

from kaito.adapters.fake.cloud_faults import CloudVerb
from kaito.adapters.fake.faults import FailAfter, FailBefore, Fault, StaleBy, Verb

_READS: Final = frozenset({"get", "list", "watch", "list_machines"})


class _Failing:
    """An answer for a number of calls, or until a moment."""

    def __init__(self, answer: Fault, left: int, until_s: float) -> None:
        self.answer, self.left, self.until_s = answer, left, until_s

    def take(self, now_s: float) -> Fault | None:
        if now_s < self.until_s:
            return self.answer
        if self.left > 0:
            self.left -= 1
            return self.answer
        return None


class ActiveFaults:
    """Several faults at a time: of two that concern one call, the one that began first decides.

    The API server's faults do not concern the cloud; the end of the operator's process concerns
    both. Times are epoch seconds.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._failing: list[_Failing] = []
        self._stale: list[tuple[float, StaleBy]] = []
        self._deaths: list[tuple[int, Exception]] = []
        self._writes = 0

    def fail(
        self, effect: Literal["before", "after"], *, count: int = 0, until_s: float = 0.0
    ) -> None:
        """Let the next `count` calls to the API server fail, and all until then: before they do
        anything, or after they did it."""
        answer = FailBefore() if effect == "before" else FailAfter()
        self._failing.append(_Failing(answer, count, until_s))

    def read_old_state(self, lag_s: float, *, until_s: float) -> None:
        """Answer reads as `lag_s` seconds earlier."""
        self._stale.append((until_s, StaleBy(lag_s)))

    def die_after_writes(self, writes: int, death: Exception) -> None:
        """Raise `death` once so many more writes are done, at the call after the last of them."""
        assert writes >= 1, writes
        self._deaths.append((self._writes + writes, death))

    def of_kube_call(self, verb: Verb) -> Fault | None:
        """The fault of the operator's next call to the API server."""
        if not (self._failing or self._stale or self._deaths):
            if verb not in _READS:
                self._writes += 1
            return None
        now_s = self._now_s()
        self._die_if_due()
        answer = next(self._answers(verb, now_s), None)
        self._count(verb, answer)
        return answer

    def of_cloud_call(self, verb: CloudVerb) -> Fault | None:
        """The fault of the operator's next call to the cloud."""
        self._die_if_due()
        self._count(verb, None)
        return None

    def _answers(self, verb: Verb, now_s: float) -> Iterator[Fault]:
        for failing in self._failing:
            answer = failing.take(now_s)
            if answer is not None:
                yield answer
        if verb in {"get", "list"}:
            yield from (stale for until_s, stale in self._stale if now_s < until_s)

    def _count(self, verb: str, answer: Fault | None) -> None:
        if verb not in _READS and not isinstance(answer, FailBefore):
            self._writes += 1

    def _die_if_due(self) -> None:
        for due in self._deaths:
            if due[0] <= self._writes:
                self._deaths.remove(due)
                raise due[1]
