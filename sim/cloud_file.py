"""What a scenario says of the cloud: how much it sells, and how that changes.

Everything is unlimited unless it is set.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from kaito.domain.catalogue import Catalogue, UnknownInstanceType
from kaito.domain.errors import Problem
from kaito.domain.names import did_you_mean
from kaito.domain.vm_family import SPOT_QUOTA, vm_family
from sim.scenario_parts import Duration, Part

ZONES: Final = 3  # of the twin's region
# Agent pools in a cluster.
# Source: https://learn.microsoft.com/azure/aks/quotas-skus-regions
AKS_MACHINE_LIMIT: Final = 100
Share = Annotated[float, Field(ge=0, le=1)]
Zone = Annotated[int, Field(ge=1, le=ZONES)]


class StockOf(Part):
    """How many machines of one type can still be had."""

    instance_type: str = Field(min_length=1, description="Such as Standard_NC24ads_A100_v4.")
    zone: Zone | None = Field(None, description="Zone of the region; without it: in each of them.")
    machines: int = Field(ge=0, description="How many are left, there.")


class RateOf(Part):
    """A token bucket."""

    burst: int = Field(ge=1, description="Calls at once.")
    per_minute: float = Field(gt=0, description="Calls that are allowed again each minute.")


class Throttling(Part):
    """How often the management API may be called; above that it answers 429."""

    put: RateOf | None = Field(None, description="Calls that create a machine, for each machine.")
    other: RateOf | None = Field(None, description="All other calls together.")


class CloudSupply(Part):
    """What may change during a run."""

    quota: Mapping[str, Annotated[int, Field(ge=0)]] | None = Field(
        None,
        description="vCPUs in the region by VM family, such as NCads_A100_v4; `spot` is for the "
        "spot machines of all families.",
    )
    stock: tuple[StockOf, ...] | None = Field(
        None, strict=False, description="Machines that are left."
    )
    create_failure_rate: Share | None = Field(
        None, description="Share of the machines, from 0 to 1, that fail half-way."
    )
    evictions_per_hour: float | None = Field(
        None, ge=0, description="How often each spot machine is taken back, on average."
    )
    machine_limit: int | None = Field(
        None, ge=0, description=f"Machines in the cluster; AKS has {AKS_MACHINE_LIMIT} agent pools."
    )


class CloudPart(CloudSupply):
    """The cloud at the start of the run."""

    throttling: Literal["aks"] | Throttling | None = Field(
        None,
        description="aks: as AKS documents it, 20 PUTs at once and one a minute for each machine, "
        "60 other calls at once and one a second.",
    )


class GuardsPart(Part):
    """The operator's guards, for each namespace."""

    max_machines: int | None = Field(
        None, ge=0, description="As `kaito operator run --max-machines`."
    )
    max_cost_per_hour: float | None = Field(
        None, ge=0, description="US dollars, as `kaito operator run --max-cost-per-hour`."
    )


class TimeoutsPart(Part):
    """The operator's time-outs for its machines, as `kaito operator run` has them by default."""

    launch_s: Duration | None = Field(
        None, gt=0, alias="launch", description="As `kaito operator run --launch-timeout`."
    )
    register_s: Duration | None = Field(
        None, gt=0, alias="registration", description="As `--registration-timeout`."
    )
    initialize_s: Duration | None = Field(
        None, gt=0, alias="initialization", description="As `--initialization-timeout`."
    )
    unhealthy_s: Duration | None = Field(
        None, gt=0, alias="unhealthy", description="As `--unhealthy-timeout`."
    )
    drain_s: Duration | None = Field(None, gt=0, alias="drain", description="As `--drain-timeout`.")


class ZoneLoss(Part):
    """A zone that goes down: its machines are lost, and it sells none."""

    zone: Zone = Field(description="Which zone of the region.")
    for_s: Duration = Field(alias="for", description="How long it sells nothing.")


class CloudChange(CloudSupply):
    """A change of the cloud. What is not named stays as it is."""

    lose_zone: ZoneLoss | None = Field(None, description="A zone goes down.")
    evict_spot: Share | None = Field(
        None,
        description="A wave of evictions: this share of the spot machines, the oldest first, is "
        "taken back after a notice of 30 s.",
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.model_fields_set:
            known = ", ".join(CloudChange.model_fields)
            raise PydanticCustomError(
                "nothing_changes", "changes nothing", {"remedy": f"Add one of {known}"}
            )
        return self


def cloud_problems(part: CloudSupply, catalogue: Catalogue) -> Iterator[Problem]:
    """Instance types and families that do not exist; fields are relative to the part."""
    families = {vm_family(one.name) for one in catalogue.instance_types} | {SPOT_QUOTA}
    for family in part.quota or ():
        if family not in families:
            remedy = did_you_mean(family, families)
            yield Problem(field="quota", message=f"unknown family {family!r}", remedy=remedy)
    for index, one in enumerate(part.stock or ()):
        try:
            catalogue.instance_type(one.instance_type)
        except UnknownInstanceType as error:
            field = f"stock[{index}].instance_type"
            yield Problem(field=field, message=error.message, remedy=error.remedy)
