"""What a cloud sells no more of: quotas, machines in a cluster, calls in a minute.

Everything is unlimited unless it is set.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from kaito.domain.errors import MachineLimitReached, QuotaExceeded, Unavailable
from kaito.domain.gpu import InstanceType
from kaito.domain.machine import CapacityType
from kaito.domain.vm_family import SPOT_QUOTA, vm_family

Place: TypeAlias = tuple[str, int]  # instance type in lower case, zone from 1
Call: TypeAlias = Literal["put", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A token bucket: so many calls at once, and then so many a second."""

    burst: int
    per_second: float


# Source: https://learn.microsoft.com/azure/aks/quotas-skus-regions "Throttling limits on AKS
# resource provider APIs": PUT for each agent pool, all others for a subscription and region.
AKS_PUT_RATE: Final = Rate(burst=20, per_second=1 / 60)
AKS_OTHER_RATE: Final = Rate(burst=60, per_second=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudLimits:
    """How much the cloud gives, as set now.

    `quota_vcpus` is by family (see `vm_family`) or `SPOT_QUOTA`; `stock` counts machines still to
    be had; a family or place that is not named is not limited. `create_failure_rate` is the share
    of machines, from 0 to 1, that fail half-way; `evictions_per_hour` concerns each spot machine.
    `put_rate` is for the calls about one machine that create it, `other_rate` for all the others.
    With `late_shortages` an order is taken whatever the stock is, and fails a little later, as
    those of Azure do; `restricted` places refuse every order, and say so at once.
    """

    quota_vcpus: Mapping[str, int] = field(default_factory=dict)
    stock: Mapping[Place, int] = field(default_factory=dict)
    machines: int | None = None
    create_failure_rate: float = 0.0
    evictions_per_hour: float = 0.0
    put_rate: Rate | None = None
    other_rate: Rate | None = None
    late_shortages: bool = False
    restricted: frozenset[Place] = frozenset()


class TokenBucket:
    """Calls that are allowed now. Full at first; times are epoch seconds."""

    def __init__(self, rate: Rate, now_s: float) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._at_s = now_s

    def take(self, now_s: float) -> float:
        """Take a token: 0, or the seconds until there is one."""
        gained = (now_s - self._at_s) * self._rate.per_second
        self._tokens, self._at_s = min(self._tokens + gained, float(self._rate.burst)), now_s
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._rate.per_second


class Throttle:
    """The management API's token buckets: one for each machine, and one for everything else."""

    def __init__(self, put_rate: Rate | None, other_rate: Rate | None) -> None:
        self._rates: dict[Call, Rate | None] = {"put": put_rate, "other": other_rate}
        self._buckets: dict[tuple[Call, str], TokenBucket] = {}

    def admit(self, call: Call, name: str, now_s: float) -> None:
        """Count a call. `name` is the machine's; calls of kind `other` share one bucket.

        Raises: Unavailable (too many calls; it says when to come back).
        """
        rate = self._rates[call]
        if rate is None:
            return
        key = (call, name if call == "put" else "")
        bucket = self._buckets.setdefault(key, TokenBucket(rate, now_s))
        wait_s = bucket.take(now_s)
        if wait_s > 0.0:
            text = f"429 Too Many Requests: retry after {wait_s:.0f} s"
            raise Unavailable(text, retry_after_s=wait_s)


class Quota:
    """vCPUs that are taken, by family, and machines in the cluster."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._used: dict[str, int] = {}
        self._machines = 0

    def used(self, family: str) -> int:
        """vCPUs of the family, or of `SPOT_QUOTA`, that machines have now."""
        return self._used.get(family, 0)

    def take(
        self, instance_type: InstanceType, capacity_type: CapacityType, limits: CloudLimits
    ) -> None:
        """Count a machine. Raises: MachineLimitReached, QuotaExceeded."""
        if limits.machines is not None and self._machines >= limits.machines:
            raise MachineLimitReached(f"the cluster has {limits.machines} agent pools, its limit")
        family = quota_family(instance_type, capacity_type)
        limit, used = limits.quota_vcpus.get(family), self._used.get(family, 0)
        if limit is not None and used + instance_type.vcpus > limit:
            raise QuotaExceeded(
                f"{instance_type.name} needs {instance_type.vcpus} vCPUs of the quota {family} in "
                f"{self._region}, in which {used} of {limit} are used"
            )
        self._used[family] = used + instance_type.vcpus
        self._machines += 1

    def give_back(self, instance_type: InstanceType, capacity_type: CapacityType) -> None:
        """The machine is gone."""
        self._used[quota_family(instance_type, capacity_type)] -= instance_type.vcpus
        self._machines -= 1


def quota_family(instance_type: InstanceType, capacity_type: CapacityType) -> str:
    """The quota that a machine counts against."""
    if capacity_type is CapacityType.SPOT:
        return SPOT_QUOTA
    return vm_family(instance_type.name)


def with_changes(limits: CloudLimits, changes: CloudLimits, changed: set[str]) -> CloudLimits:
    """`limits` with the named fields of `changes`; quotas and stock are laid over each other."""
    values = {name: getattr(changes, name) for name in changed}
    for name in {"quota_vcpus", "stock"} & changed:
        values[name] = {**getattr(limits, name), **values[name]}
    return replace(limits, **values)
