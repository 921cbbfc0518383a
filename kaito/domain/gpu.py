"""What a GPU really offers, and the machines it is sold in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

USABLE_SHARE_PRIOR: Final = Fraction(91, 100)
"""Share of the brochure's memory to count on where no published figure exists. The worst of the
published ones: a 16 GiB T4 reports 14.56 GiB (https://github.com/Zheng-Chong/CatVTON/issues/133)."""

BFLOAT16_COMPUTE_CAPABILITY: Final = (8, 0)
"""First with bfloat16 in hardware (Ampere).
Source: https://docs.nvidia.com/cuda/cuda-c-programming-guide/ "Arithmetic Instructions"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU. Memory is bytes, bandwidth bytes per second, `fp16_flops` dense tensor FLOP/s.

    `reported_bytes` is what CUDA reports as the card's total, which is less than the brochure's
    `memory_bytes`; `prior` marks a `reported_bytes` that no published measurement backs.
    `products` are the names that NVIDIA's GPU feature discovery gives it in a Node's labels.
    `mig_memory_eighths` are the MIG profiles that it can be cut into, each with its share of the
    memory.
    """

    name: str
    vendor: str
    memory_bytes: int
    reported_bytes: int | None
    compute_capability: tuple[int, int] | None  # None: not an NVIDIA card
    memory_bandwidth_bytes_per_s: int
    fp16_flops: float
    source: str
    nvlink_bytes_per_s: float | None = None  # one way; None: PCIe
    prior: bool = False
    products: tuple[str, ...] = ()
    mig_memory_eighths: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        if self.memory_bytes < 1:
            raise ValueError(f"Gpu {self.name!r}: memory_bytes must be >= 1: {self.memory_bytes}")
        if self.reported_bytes is not None and not 0 < self.reported_bytes <= self.memory_bytes:
            raise ValueError(
                f"Gpu {self.name!r}: reported_bytes must be within 1..{self.memory_bytes}: "
                f"{self.reported_bytes}"
            )

    @property
    def usable_bytes(self) -> int:
        """What CUDA reports as the total, or the prior share of the brochure's figure."""
        if self.reported_bytes is not None:
            return self.reported_bytes
        return int(self.memory_bytes * USABLE_SHARE_PRIOR)

    @property
    def usable_is_prior(self) -> bool:
        """Whether no published measurement backs `usable_bytes`."""
        return self.prior or self.reported_bytes is None

    @property
    def has_bfloat16(self) -> bool:
        capability = self.compute_capability
        return capability is not None and capability >= BFLOAT16_COMPUTE_CAPABILITY

    @property
    def capability_text(self) -> str:
        """ "7.0", or "unknown" for a card without CUDA."""
        return ".".join(map(str, self.compute_capability)) if self.compute_capability else "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Price of one machine in one region, in US dollars per hour."""

    on_demand_usd_per_hour: float
    spot_usd_per_hour: float | None = None  # None: unknown, which is not "no spot market"

    def __post_init__(self) -> None:
        for amount in (self.on_demand_usd_per_hour, self.spot_usd_per_hour):
            if amount is not None and amount <= 0:
                raise ValueError(f"a price must be above 0 USD per hour: {amount}")

    def of(self, spot: bool) -> float:
        """On demand, or as spot; a spot price that is unknown is taken for the other, which it is
        never above."""
        if spot and self.spot_usd_per_hour is not None:
            return self.spot_usd_per_hour
        return self.on_demand_usd_per_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceType:
    """One purchasable machine shape. `memory_bytes` is host memory, `prices` are by region.

    `prices_as_of` is their day (2026-01-31), empty where their source tells none. Of Nodes that
    users bring, `vcpus` and `memory_bytes` are 0: not known, and nothing depends on
    them.
    """

    name: str
    cloud: str
    gpu: Gpu
    gpu_count: int
    nvme: bool
    vcpus: int
    memory_bytes: int
    prices: Mapping[str, Price] = field(default_factory=dict, hash=False)
    prices_as_of: str = ""
    legacy: bool = False  # not offered to new users: KAITO v0.12 no longer lists it
    caveats: tuple[str, ...] = ()
    source: str

    def __post_init__(self) -> None:
        for name, least in (("gpu_count", 1), ("vcpus", 0), ("memory_bytes", 0)):
            value = getattr(self, name)
            if value < least:
                raise ValueError(
                    f"InstanceType {self.name!r}: {name} must be >= {least}, got {value}"
                )

    @property
    def total_gpu_memory_bytes(self) -> int:
        """Brochure memory of all GPUs together, in bytes: the figure that clouds advertise."""
        return self.gpu_count * self.gpu.memory_bytes

    def price(self, region: str) -> Price | None:
        """The price in a region; None where it is unknown, which is not "not sold there"."""
        return self.prices.get(region)

    def lowest_price(self) -> Price | None:
        """The price in the region where it is cheapest on demand; None where none is known."""
        return min(
            self.prices.values(), key=lambda price: price.on_demand_usd_per_hour, default=None
        )
