"""CustomResourceDefinitions as clients read them: given at the start, and never changed."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from kaito.adapters.fake.api_errors import not_found
from kaito.adapters.fake.http import views
from kaito.adapters.fake.http.kinds import CRD, Kinds
from kaito.adapters.fake.http.options import WatchOptions
from kaito.adapters.fake.http.targets import Target
from kaito.adapters.fake.http.watching import TIMEOUT_S, Closing, encoded, pause
from kaito.adapters.kube_api import KubeObject, ObjectList, name_of
from kaito.domain.timestamps import to_rfc3339

_VERSION: Final = "1"


class Definitions:
    """The definitions, completed as the server does."""

    def __init__(self, kinds: Kinds, now_s: float) -> None:
        self._kind = kinds.stored(CRD)
        now = to_rfc3339(now_s)
        found = [_completed(crd, now) for crd in kinds.crds]
        self._objects: dict[str, KubeObject] = {name_of(obj): obj for obj in found}

    def read(self, target: Target, view: str, now_s: float) -> KubeObject:
        """One or all of them. Raises: ObjectNotFound."""
        if not target.name:
            listed = ObjectList(tuple(self._objects.values()), _VERSION)
            return views.many(self._kind, listed, view, now_s)
        if target.name not in self._objects:
            raise not_found(CRD, target.name)
        return views.one(self._kind, self._objects[target.name], view, now_s)

    async def stream(
        self, options: WatchOptions, closing: Closing, now_s: Callable[[], float], view: str
    ) -> AsyncIterator[bytes]:
        """A watch on what never changes."""
        if options.resource_version in {"", "0"}:
            for obj in self._objects.values():
                shown = views.one(self._kind, obj, view, now_s())
                yield encoded({"type": "ADDED", "object": shown})
        await pause(closing, options.timeout_s or TIMEOUT_S)


def _completed(crd: KubeObject, now: str) -> dict[str, Any]:
    spec = crd["spec"]
    name = name_of(crd)
    established = {"reason": "InitialNamesAccepted", "lastTransitionTime": now, "status": "True"}
    message = "the initial names have been accepted"
    return {
        **crd,
        "metadata": {
            **crd["metadata"],
            "uid": f"crd-{name}",
            "resourceVersion": _VERSION,
            "generation": 1,
            "creationTimestamp": now,
        },
        "spec": {**spec, "conversion": {"strategy": "None"}},
        "status": {
            "conditions": [
                {**established, "type": "NamesAccepted", "reason": "NoConflicts"},
                {**established, "type": "Established", "message": message},
            ],
            "acceptedNames": spec["names"],
            "storedVersions": [one["name"] for one in spec["versions"] if one.get("storage")],
        },
    }
