from dataclasses import replace
from typing import Any

import pytest

from kaito.domain.gpu import Gpu, InstanceType, Price
from kaito.domain.quantity import GIB

V100 = Gpu(
    name="NVIDIA V100 16GB",
    vendor="NVIDIA",
    memory_bytes=16 * GIB,
    reported_bytes=None,
    compute_capability=(7, 0),
    memory_bandwidth_bytes_per_s=900 * 10**9,
    fp16_flops=112e12,
    source="test",
)
MACHINE = InstanceType(
    name="two",
    cloud="azure",
    gpu=V100,
    gpu_count=2,
    nvme=False,
    vcpus=12,
    memory_bytes=224 * GIB,
    prices={
        "eastus": Price(on_demand_usd_per_hour=6.0, spot_usd_per_hour=0.8),
        "westus": Price(on_demand_usd_per_hour=5.0),
    },
    source="test",
)


def test_memory_without_a_published_figure_is_a_prior() -> None:
    assert V100.usable_is_prior
    assert V100.usable_bytes == 16 * GIB * 91 // 100
    measured = replace(V100, reported_bytes=15 * GIB)
    assert not measured.usable_is_prior
    assert measured.usable_bytes == 15 * GIB
    assert replace(measured, prior=True).usable_is_prior


@pytest.mark.parametrize(
    ("capability", "text", "bfloat16"),
    [
        ((7, 0), "7.0", False),
        ((7, 5), "7.5", False),
        ((8, 0), "8.0", True),
        (None, "unknown", False),
    ],
)
def test_bfloat16_starts_with_ampere(
    capability: tuple[int, int] | None, text: str, bfloat16: bool
) -> None:
    gpu = replace(V100, compute_capability=capability)
    assert gpu.has_bfloat16 is bfloat16
    assert gpu.capability_text == text


def test_an_unknown_region_has_no_price() -> None:
    assert MACHINE.total_gpu_memory_bytes == 32 * GIB
    assert MACHINE.price("eastus") == Price(on_demand_usd_per_hour=6.0, spot_usd_per_hour=0.8)
    assert MACHINE.price("mars") is None
    assert MACHINE.lowest_price() == Price(on_demand_usd_per_hour=5.0)
    assert replace(MACHINE, prices={}).lowest_price() is None
    assert hash(MACHINE) == hash(replace(MACHINE))


@pytest.mark.parametrize(
    ("entry", "change", "complaint"),
    [
        (V100, {"memory_bytes": 0}, "memory_bytes must be >= 1"),
        (V100, {"reported_bytes": 17 * GIB}, "reported_bytes must be within"),
        (MACHINE, {"gpu_count": 0}, "gpu_count must be >= 1, got 0"),
        (MACHINE, {"vcpus": -1}, "vcpus must be >= 0"),
        (Price(on_demand_usd_per_hour=1.0), {"spot_usd_per_hour": 0.0}, "above 0 USD"),
    ],
)
def test_impossible_hardware_is_refused(entry: Any, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(entry, **change)
