"""The gate lets through what AKS takes, and no more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.azure.rate_limits import ArmGate
from kaito.adapters.azure.settings import ArmLimits, Rate
from kaito.domain.errors import Unavailable
from tests.unit.adapters.azure.arm_stub import Time


def passes(gate: ArmGate, pool: str = "") -> bool:
    try:
        gate.admit_put(pool) if pool else gate.admit_other()
    except Unavailable:
        return False
    return True


def test_the_limits_of_aks() -> None:
    time = Time()
    gate = ArmGate(ArmLimits(), time.now_s)
    assert sum(passes(gate, "a") for _ in range(30)) == 20
    assert passes(gate, "b"), "each pool has a bucket"
    assert sum(passes(gate) for _ in range(100)) == 60
    time.now += 60.0
    assert sum(passes(gate, "a") for _ in range(30)) == 1
    assert sum(passes(gate) for _ in range(100)) == 60


@given(st.lists(st.floats(0.0, 5.0), max_size=60), st.integers(1, 5))
def test_never_more_than_the_bucket_allows(pauses: list[float], burst: int) -> None:
    time = Time(0.0)
    gate = ArmGate(ArmLimits(other=Rate(burst=burst, per_s=0.5)), time.now_s)
    passed = 0
    for pause_s in pauses:
        time.now += pause_s
        passed += passes(gate)
        assert passed <= burst + 0.5 * time.now + 1e-6


def test_it_passes_when_it_says_so() -> None:
    time = Time()
    gate = ArmGate(ArmLimits(other=Rate(burst=1, per_s=0.25)), time.now_s)
    assert passes(gate)
    with pytest.raises(Unavailable) as caught:
        gate.admit_other()
    time.now += caught.value.retry_after_s or 0.0
    assert passes(gate)


def test_a_pause_closes_what_it_is_about() -> None:
    time = Time()
    gate = ArmGate(ArmLimits(), time.now_s)
    gate.close_put("a", 10.0)
    gate.close_put("a", 5.0)  # the longer one stands
    assert not passes(gate, "a")
    assert passes(gate, "b")
    assert passes(gate)
    gate.close_all(20.0)
    assert not passes(gate, "b")
    assert not passes(gate)
    time.now += 20.0
    assert passes(gate, "a")
    assert passes(gate)


def test_pools_that_are_long_gone_are_forgotten() -> None:
    time = Time()
    gate = ArmGate(ArmLimits(), time.now_s)
    gate.close_put("closed", 1e6)
    for number in range(1500):
        assert passes(gate, f"p{number}")
        time.now += 60.0
    assert len(gate._puts) < 1100
    assert not passes(gate, "closed")
