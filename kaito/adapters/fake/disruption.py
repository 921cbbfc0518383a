"""The twin's PodDisruptionBudgets: how many pods may be moved now, and what evictions make of it.

As Kubernetes has it (pkg/controller/disruption/disruption.go and pkg/registry/core/pod/storage/
eviction.go): a controller keeps each budget's status, and an eviction takes one from it. A selector
without terms, which in policy/v1 means every pod of the namespace, means none here.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from kaito.adapters.fake.pods import controller_uid, is_deleting, is_ready, is_terminal, phase_of
from kaito.adapters.fake.selectors import object_selector
from kaito.adapters.kube_api import (
    POD,
    STATEFUL_SET,
    KubeApi,
    KubeApiError,
    KubeObject,
    Resource,
    ServerUnavailable,
    condition_of,
    name_of,
    namespace_of,
    thaw,
)
from kaito.adapters.object_cache import ObjectCache
from kaito.domain.timestamps import from_rfc3339, to_rfc3339

POD_DISRUPTION_BUDGET: Final = Resource(
    group="policy", version="v1", kind="PodDisruptionBudget", plural="poddisruptionbudgets"
)
# An eviction whose pod is still there, not even marked, after so long is taken for failed.
DISRUPTED_S: Final = 120.0
_ALLOWED: Final = "DisruptionAllowed"
_PROCESSING_S: Final = 10.0
_RETRY_S: Final = 1.0


class BudgetSpent(ServerUnavailable):
    """429: the pod may not be moved now. `why` is the cause in the answer's details."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        text = "Cannot evict pod as it would violate the pod's disruption budget."
        super().__init__(text, retry_after_s=retry_after_s, code=429)
        self.why = why


def spend_budget(api: KubeApi, pod: KubeObject, now_s: float) -> None:
    """Take the eviction of a pod from the budget that covers it, if one does.

    Raises: BudgetSpent; ServerUnavailable with code 500 (several cover it).
    """
    if is_terminal(pod) or phase_of(pod) == "Pending" or is_deleting(pod):
        return
    found = [
        budget
        for budget in api.list(POD_DISRUPTION_BUDGET, namespace_of(pod)).items
        if _covers(budget, pod)
    ]
    if len(found) > 1:
        raise ServerUnavailable(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does"
            " not support.",
            code=500,
        )
    for budget in found:
        _spend(api, budget, pod, now_s)


def _spend(api: KubeApi, budget: KubeObject, pod: KubeObject, now_s: float) -> None:
    name, status = name_of(budget), thaw(budget.get("status") or {})
    healthy, needed = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    always = budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
    if not is_ready(pod) and (always or 0 < needed <= healthy):
        return
    if status.get("observedGeneration", 0) < budget["metadata"]["generation"]:
        why = f"The disruption budget {name} is still being processed by the server."
        raise BudgetSpent(why, _PROCESSING_S)
    allowed = status.get("disruptionsAllowed", 0)
    if allowed <= 0:
        raise BudgetSpent(
            f"The disruption budget {name} needs {needed} healthy pods and has {healthy} currently"
        )
    status["disruptionsAllowed"] = allowed - 1
    status.setdefault("disruptedPods", {})[name_of(pod)] = to_rfc3339(now_s)
    api.replace_status(POD_DISRUPTION_BUDGET, {**budget, "status": status})


class DisruptionController:
    """Keeps the status of every budget. Without one it looks at no pods."""

    def __init__(self, api: KubeApi, wake: Callable[[], None]) -> None:
        self._api = api
        self._budgets = ObjectCache(api, POD_DISRUPTION_BUDGET, wake)
        self._pods = ObjectCache(api, POD, wake)
        self._sets = ObjectCache(api, STATEFUL_SET, wake)

    def step(self, now_s: float) -> float | None:
        """Bring every budget up to date; the next time something is due."""
        dues: list[float] = []
        try:
            self._budgets.refresh()
            budgets = list(self._budgets.values())
            if budgets:
                self._pods.refresh()
                self._sets.refresh()
            for budget in budgets:
                due_s = self._sync(budget, now_s)
                if due_s is not None:
                    dues.append(due_s)
        except KubeApiError:  # such as a budget that somebody has just changed
            return now_s + _RETRY_S
        return min(dues, default=None)

    def _sync(self, budget: KubeObject, now_s: float) -> float | None:
        """When an eviction will be taken for failed. Raises: as `KubeApi`."""
        pods = [pod for pod in self._pods.values() if _covers(budget, pod)]
        before = budget.get("status") or {}
        there = {name_of(pod) for pod in pods if not is_deleting(pod)}
        disrupted = {
            name: since
            for name, since in (before.get("disruptedPods") or {}).items()
            if name in there and now_s < from_rfc3339(since) + DISRUPTED_S
        }
        healthy = sum(
            is_ready(pod) and not is_deleting(pod) and name_of(pod) not in disrupted for pod in pods
        )
        try:
            expected, needed = self._expected(budget["spec"], pods)
        except LookupError as error:  # nothing may be disrupted, and the counts stay
            counts = {"disruptionsAllowed": 0}
            told = ("False", "SyncFailed", str(error))
        else:
            allowed = max(healthy - needed, 0) if expected else 0
            counts = {
                "expectedPods": expected,
                "desiredHealthy": needed,
                "currentHealthy": healthy,
                "disruptionsAllowed": allowed,
            }
            told = ("True", "SufficientPods", "") if allowed else ("False", "InsufficientPods", "")
        after = {
            "expectedPods": 0,
            "desiredHealthy": 0,
            "currentHealthy": 0,
            **{key: value for key, value in before.items() if key != "disruptedPods"},
            **counts,
            "observedGeneration": budget["metadata"]["generation"],
            "conditions": [_condition(budget, told, now_s)],
        }
        if disrupted:
            after["disruptedPods"] = disrupted
        if after != before:
            self._api.replace_status(POD_DISRUPTION_BUDGET, {**budget, "status": after})
        return min(
            (from_rfc3339(since) + DISRUPTED_S for since in disrupted.values()), default=None
        )

    def _expected(self, spec: Mapping[str, Any], pods: list[KubeObject]) -> tuple[int, int]:
        """How many pods there should be, and how many of them must be healthy.

        Raises: LookupError (the pods' owner has no number of replicas).
        """
        if "maxUnavailable" in spec:
            expected = self._replicas(pods)
            return expected, max(expected - _share(spec["maxUnavailable"], expected), 0)
        least = spec.get("minAvailable", 1)
        if isinstance(least, int):
            return len(pods), least
        expected = self._replicas(pods)
        return expected, _share(least, expected)

    def _replicas(self, pods: list[KubeObject]) -> int:
        """Of all owners of the pods together; pods without an owner are not counted."""
        sets = {each["metadata"]["uid"]: each for each in self._sets.values()}
        replicas: dict[str, int] = {}
        for pod in pods:
            uid = controller_uid(pod)
            if uid and uid not in sets:
                raise LookupError(f'found no controllers for pod "{name_of(pod)}"')
            if uid:
                replicas[uid] = sets[uid]["spec"].get("replicas", 1)
        return sum(replicas.values())


def _covers(budget: KubeObject, pod: KubeObject) -> bool:
    selector = budget["spec"].get("selector")
    same_namespace = namespace_of(budget) == namespace_of(pod)
    return bool(selector) and same_namespace and object_selector(selector).matches(pod)


def _share(amount: int | str, whole: int) -> int:
    """A number, or a percentage of `whole`, rounded up."""
    if isinstance(amount, int):
        return amount
    return -(-int(amount.removesuffix("%")) * whole // 100)


def _condition(budget: KubeObject, told: tuple[str, str, str], now_s: float) -> dict[str, Any]:
    status, reason, message = told
    before = condition_of(budget, _ALLOWED)
    same = before is not None and before["status"] == status
    return {
        "type": _ALLOWED,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": budget["metadata"]["generation"],
        "lastTransitionTime": before["lastTransitionTime"]
        if same and before is not None
        else to_rfc3339(now_s),
    }
