"""What a workload should be and how that differs from what is, worked out once for each version."""

from collections.abc import Sequence

from kaito.adapters.k8s import manifests
from kaito.adapters.k8s.live_workload import deviations
from kaito.adapters.k8s.manifests import Desired
from kaito.adapters.kube_api import KubeObject
from kaito.domain.workload import Workload
from kaito.recently_used import RecentlyUsed


class WorkloadDifferences:
    """`manifests.render` and `deviations`, with their last answers for each workload and object.

    Kept as long as the very same workload is asked about, as decisions hand it out while nothing
    changes, and of the live object nothing changes but its status. Call it from any thread.
    """

    def __init__(self) -> None:
        self._rendered: RecentlyUsed[str, tuple[Workload, tuple[Desired, ...]]] = RecentlyUsed()
        self._deviations: RecentlyUsed[str, tuple[Desired, object, Sequence[str]]] = RecentlyUsed()

    def desired(self, workload: Workload) -> tuple[Desired, ...]:
        """See `manifests.render`."""
        known = self._rendered.get(workload.owner.uid)
        if known is not None and known[0] is workload:
            return known[1]
        rendered = manifests.render(workload)
        self._rendered.put(workload.owner.uid, (workload, rendered))
        return rendered

    def deviations(self, want: Desired, live: KubeObject) -> Sequence[str]:
        """See `live_workload.deviations`."""
        uid, asked_for = live["metadata"]["uid"], _asked_for(live)
        known = self._deviations.get(uid)
        if known is not None and known[0] is want and known[1] == asked_for:
            return known[2]
        found = deviations(want, live)
        self._deviations.put(uid, (want, asked_for, found))
        return found

    def forget_unused(self) -> None:
        """Let go of the answers that were not asked for since the last call."""
        self._rendered.forget_unused()
        self._deviations.forget_unused()


def _asked_for(live: KubeObject) -> object:
    """All that a wanted object says something of: not the status, nor what the server counts."""
    metadata = live["metadata"]
    return (
        [part for key, part in live.items() if key not in {"metadata", "status"}],
        [metadata.get(key) for key in ("labels", "annotations", "ownerReferences")],
    )
