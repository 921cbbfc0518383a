"""What a workload should be and how that differs from what is, worked out once for each version."""

from collections.abc import Sequence
from typing import Any, Final

from kaito.adapters.k8s import manifests
from kaito.adapters.k8s.live_workload import deviations
from kaito.adapters.k8s.manifests import Desired
from kaito.adapters.kube_api import KubeObject
from kaito.domain.workload import Workload

LIMIT: Final = 20_000  # workloads, and live objects; the oldest go first


class WorkloadDifferences:
    """`manifests.render` and `deviations`, with their last answers for each workload and object.

    Kept as long as the very same workload is asked about, as decisions hand it out while nothing
    changes, and of the live object nothing changes but its status. Call it from any thread.
    """

    def __init__(self) -> None:
        self._rendered: dict[str, tuple[Workload, tuple[Desired, ...]]] = {}
        self._deviations: dict[str, tuple[Desired, object, Sequence[str]]] = {}

    def desired(self, workload: Workload) -> tuple[Desired, ...]:
        """See `manifests.render`."""
        known = self._rendered.get(workload.owner.uid)
        if known is not None and known[0] is workload:
            return known[1]
        rendered = manifests.render(workload)
        _make_room(self._rendered, workload.owner.uid)
        self._rendered[workload.owner.uid] = (workload, rendered)
        return rendered

    def deviations(self, want: Desired, live: KubeObject) -> Sequence[str]:
        """See `live_workload.deviations`."""
        uid, asked_for = live["metadata"]["uid"], _asked_for(live)
        known = self._deviations.get(uid)
        if known is not None and known[0] is want and known[1] == asked_for:
            return known[2]
        found = deviations(want, live)
        _make_room(self._deviations, uid)
        self._deviations[uid] = (want, asked_for, found)
        return found


def _asked_for(live: KubeObject) -> object:
    """All that a wanted object says something of: not the status, nor what the server counts."""
    metadata = live["metadata"]
    return (
        [part for key, part in live.items() if key not in {"metadata", "status"}],
        [metadata.get(key) for key in ("labels", "annotations", "ownerReferences")],
    )


def _make_room(kept: dict[str, Any], key: str) -> None:
    if key not in kept and len(kept) >= LIMIT:
        kept.pop(next(iter(kept), ""), None)
