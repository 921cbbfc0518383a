"""What objects mean to the domain, worked out once for each version of an object."""

from collections.abc import Callable
from typing import Generic, TypeVar

from kaito.adapters.kube_api import KubeObject
from kaito.recently_used import RecentlyUsed

MeaningT = TypeVar("MeaningT")


class Parsed(Generic[MeaningT]):
    """A pure function of an object, with its answer for the last version of each object kept while
    it is asked for.

    A version is a UID with a resourceVersion: what has the same of both is the same object. Call
    it from any thread.
    """

    def __init__(self, parse: Callable[[KubeObject], MeaningT]) -> None:
        self._parse = parse
        self._known: RecentlyUsed[str, tuple[str, MeaningT]] = RecentlyUsed()

    def __call__(self, obj: KubeObject) -> MeaningT:
        metadata = obj["metadata"]
        uid, version = metadata["uid"], metadata["resourceVersion"]
        known = self._known.get(uid)
        if known is not None and known[0] == version:
            return known[1]
        meaning = self._parse(obj)
        self._known.put(uid, (version, meaning))
        return meaning

    def forget_unused(self) -> None:
        """Let go of the answers that were not asked for since the last call."""
        self._known.forget_unused()
