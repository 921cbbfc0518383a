"""What a pod asks of a node, in exact integers."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

from kaito.adapters.kube_api import KubeObject

_SUFFIXES: Final[Mapping[str, Decimal]] = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


@lru_cache(maxsize=1024)
def thousandths(quantity: str | int | float) -> int:
    """`"1500m"` -> 1500, `"1Ki"` -> 1024000; what is finer than a thousandth is rounded up.

    Raises: ValueError (not a quantity).
    """
    text = str(quantity)
    suffix = text.lstrip("+-0123456789.")
    factor = _SUFFIXES.get(suffix)
    try:
        # An exponent ("1e3", "1E3") is part of the number; a lone "E" is a suffix.
        value = Decimal(text) if factor is None else Decimal(text.removesuffix(suffix)) * factor
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a quantity") from None
    return int((value * 1000).to_integral_value(rounding=ROUND_CEILING))


def amounts(resources: Mapping[str, Any]) -> dict[str, int]:
    """A resource list (`cpu`, `memory`, `nvidia.com/gpu`, ...) in thousandths."""
    return {name: thousandths(quantity) for name, quantity in resources.items()}


def pod_requests(pod: KubeObject) -> dict[str, int]:
    """What the pod takes from a node, in thousandths, and one of `pods`.

    Containers add up; each init container, together with the sidecars started before it, must fit
    too (the Kubernetes rule, including `restartPolicy: Always` on init containers).
    """
    spec = pod["spec"]
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        asked = _container_requests(container)
        if container.get("restartPolicy") == "Always":
            sidecars = _sum(sidecars, asked)
            peak = _maximum(peak, sidecars)
        else:
            peak = _maximum(peak, _sum(sidecars, asked))
    running = sidecars
    for container in spec.get("containers") or ():
        running = _sum(running, _container_requests(container))
    total = _sum(_maximum(peak, running), amounts(spec.get("overhead") or {}))
    total["pods"] = 1000
    return total


def _container_requests(container: Mapping[str, Any]) -> dict[str, int]:
    """A limit without a request is one, as the API server's defaulting has it."""
    resources = container.get("resources") or {}
    return amounts({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _sum(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {name: left.get(name, 0) + right.get(name, 0) for name in {**left, **right}}


def _maximum(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {name: max(left.get(name, 0), right.get(name, 0)) for name in {**left, **right}}
