"""The cells of `kubectl get poddisruptionbudgets`."""

from kaito.adapters.kube_api import KubeObject


def min_available(budget: KubeObject, _now_s: float) -> str:
    return _amount(budget, "minAvailable")


def max_unavailable(budget: KubeObject, _now_s: float) -> str:
    return _amount(budget, "maxUnavailable")


def allowed_disruptions(budget: KubeObject, _now_s: float) -> int:
    allowed: int = (budget.get("status") or {}).get("disruptionsAllowed", 0)
    return allowed


def _amount(budget: KubeObject, key: str) -> str:
    value = budget["spec"].get(key)
    return "N/A" if value is None else str(value)
