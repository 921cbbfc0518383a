"""What objects mean to the domain, worked out once for each version of an object."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from kaito.adapters.kube_api import KubeObject

MeaningT = TypeVar("MeaningT")
LIMIT: Final = 20_000  # objects; the oldest go first


class Parsed(Generic[MeaningT]):
    """A pure function of an object, with its answer for the last version of each object kept.

    A version is a UID with a resourceVersion: what has the same of both is the same object. Call
    it from any thread.
    """

    def __init__(self, parse: Callable[[KubeObject], MeaningT], *, limit: int = LIMIT) -> None:
        assert limit > 0, limit
        self._parse = parse
        self._limit = limit
        self._known: dict[str, tuple[str, MeaningT]] = {}

    def __call__(self, obj: KubeObject) -> MeaningT:
        metadata = obj["metadata"]
        uid, version = metadata["uid"], metadata["resourceVersion"]
        known = self._known.get(uid)
        if known is not None and known[0] == version:
            return known[1]
        meaning = self._parse(obj)
        if known is None and len(self._known) >= self._limit:
            self._known.pop(next(iter(self._known), ""), None)
        self._known[uid] = (version, meaning)
        return meaning
