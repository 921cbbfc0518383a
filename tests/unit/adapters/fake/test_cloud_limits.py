"""What the twin's cloud sells no more of."""

from random import Random

import pytest

from kaito.adapters.fake.cloud_limits import (
    AKS_OTHER_RATE,
    AKS_PUT_RATE,
    CloudLimits,
    Quota,
    Rate,
    Throttle,
    TokenBucket,
    with_changes,
)
from kaito.adapters.fake.cloud_stock import ZONES, CloudStock
from kaito.adapters.fake.cloud_supply import CloudSupply
from kaito.adapters.fake.spot_market import NOTICE_S, SpotMarket
from kaito.adapters.fake.streams import Streams
from kaito.adapters.files import load_catalogue
from kaito.domain.errors import (
    CapacityUnavailable,
    MachineLimitReached,
    QuotaExceeded,
    Rejected,
    Unavailable,
)
from kaito.domain.machine import CapacityType, MachineOrder, Owner
from sim import cloud_file

CATALOGUE = load_catalogue()
A100 = CATALOGUE.instance_type("Standard_NC24ads_A100_v4")  # 24 vCPUs
TWO_A100 = CATALOGUE.instance_type("Standard_NC48ads_A100_v4")
A10 = CATALOGUE.instance_type("Standard_NV36ads_A10_v5")
ON_DEMAND, SPOT = CapacityType.ON_DEMAND, CapacityType.SPOT


def test_a_bucket_is_full_at_first_and_fills_again() -> None:
    bucket = TokenBucket(Rate(burst=2, per_second=0.5), 0.0)
    assert [bucket.take(0.0), bucket.take(0.0)] == [0.0, 0.0]
    assert bucket.take(0.0) == pytest.approx(2.0)
    assert bucket.take(1.0) == pytest.approx(1.0)
    assert bucket.take(2.0) == 0.0
    assert [bucket.take(1e6) for _ in range(3)] == [0.0, 0.0, pytest.approx(2.0)]


def test_puts_are_counted_for_each_machine_and_the_rest_together() -> None:
    throttle = Throttle(AKS_PUT_RATE, AKS_OTHER_RATE)
    for _ in range(AKS_PUT_RATE.burst):
        throttle.admit("put", "a", 0.0)
    with pytest.raises(Unavailable, match="429 Too Many Requests: retry after 60 s") as caught:
        throttle.admit("put", "a", 0.0)
    assert caught.value.retry_after_s == pytest.approx(60.0)
    throttle.admit("put", "b", 0.0)
    for number in range(AKS_OTHER_RATE.burst):
        throttle.admit("other", str(number), 0.0)
    with pytest.raises(Unavailable):
        throttle.admit("other", "another", 0.0)
    throttle.admit("other", "another", 1.0)


def test_without_rates_nothing_is_throttled() -> None:
    throttle = Throttle(None, None)
    for _ in range(1000):
        throttle.admit("put", "a", 0.0)


def test_a_family_shares_its_quota_and_gives_it_back() -> None:
    quota, limits = Quota("eastus"), CloudLimits(quota_vcpus={"NCads_A100_v4": 48})
    quota.take(A100, ON_DEMAND, limits)
    with pytest.raises(QuotaExceeded, match=r"48 vCPUs .* NCads_A100_v4 in eastus, .* 24 of 48"):
        quota.take(TWO_A100, ON_DEMAND, limits)
    quota.take(A10, ON_DEMAND, limits)
    quota.take(A100, SPOT, limits)
    quota.give_back(A100, ON_DEMAND)
    quota.take(TWO_A100, ON_DEMAND, limits)


def test_spot_machines_have_one_quota_of_their_own() -> None:
    quota, limits = Quota("eastus"), CloudLimits(quota_vcpus={"spot": 50})
    quota.take(A100, SPOT, limits)
    with pytest.raises(QuotaExceeded):
        quota.take(A10, SPOT, limits)


def test_the_machines_of_a_cluster_are_limited() -> None:
    quota, limits = Quota("eastus"), CloudLimits(machines=1)
    quota.take(A10, ON_DEMAND, limits)
    with pytest.raises(MachineLimitReached, match="has 1 agent pools"):
        quota.take(A100, SPOT, limits)
    quota.give_back(A10, ON_DEMAND)
    quota.take(A100, SPOT, limits)


def test_stock_is_by_zone_and_says_where_else_to_ask() -> None:
    stock = CloudStock("eastus", {(A10.name.lower(), 1): 1})
    stock.take(A10.name, 1, 0.0)
    with pytest.raises(CapacityUnavailable, match=f"eastus-1 has no {A10.name}") as caught:
        stock.take(A10.name, 1, 0.0)
    assert (caught.value.zone, caught.value.other_zones) == ("eastus-1", ("eastus-2", "eastus-3"))
    stock.take(A10.name, 2, 0.0)
    stock.give_back(A10.name, 2)
    stock.give_back(A10.name, 1)
    stock.take(A10.name, 1, 0.0)
    stock.set({(A10.name.lower(), 1): 2})
    for _ in range(2):
        stock.take(A10.name, 1, 0.0)


def test_a_lost_zone_sells_nothing_for_its_time() -> None:
    stock = CloudStock("eastus", {})
    stock.lose_zone(2, until_s=100.0)
    with pytest.raises(CapacityUnavailable, match="zone eastus-2 is down"):
        stock.take(A10.name, 2, 99.0)
    stock.take(A10.name, 3, 99.0)
    stock.take(A10.name, 2, 100.0)


def test_zones_have_names() -> None:
    stock = CloudStock("eastus", {})
    assert stock.number_of("eastus-3") == 3
    with pytest.raises(ValueError, match="no zone 'westus-1' in eastus"):
        stock.number_of("westus-1")
    assert cloud_file.ZONES == ZONES


def supply(limits: CloudLimits, seed: int = 0) -> CloudSupply:
    return CloudSupply("eastus", limits, Streams(seed), lambda: 0.0)


def order(name: str = "ws1", zone: str = "") -> MachineOrder:
    owner = Owner(uid="uid", namespace="default", name="phi")
    return MachineOrder(
        name=name,
        claim_name=name,
        owner=owner,
        instance_type=A10.name,
        disk_bytes=1,
        labels={},
        zone=zone,
    )


def test_the_zone_that_is_asked_for() -> None:
    found = supply(CloudLimits())
    assert found.zone_for(order(zone="eastus-2")) == 2
    assert found.zone_for(order()) == Streams(0).get("cloud/ws1").randint(1, ZONES)
    with pytest.raises(Rejected):
        found.zone_for(order(zone="eastus-4"))


def test_what_is_out_of_stock_takes_no_quota() -> None:
    limits = CloudLimits(quota_vcpus={"NVads_A10_v5": 36}, stock={(A10.name.lower(), 1): 0})
    found = supply(limits)
    with pytest.raises(CapacityUnavailable):
        found.sell(A10, ON_DEMAND, 1)
    found.sell(A10, ON_DEMAND, 2)
    with pytest.raises(QuotaExceeded):
        found.sell(A10, ON_DEMAND, 3)
    found.take_back(A10, ON_DEMAND, 2)
    found.count(A10, ON_DEMAND)
    found.take_back(A10, ON_DEMAND, None)
    found.sell(A10, ON_DEMAND, 3)


def test_a_share_of_the_machines_fails() -> None:
    found = supply(CloudLimits(create_failure_rate=0.25))
    fails = [bool(found.why_it_fails(f"ws{number}")) for number in range(2000)]
    assert sum(fails) / len(fails) == pytest.approx(0.25, abs=0.05)
    assert supply(CloudLimits()).why_it_fails("ws1") == ""


def test_a_spot_machine_is_told_before_it_goes() -> None:
    market = SpotMarket(Streams(0))
    market.enter("ws1", 2.0, 1000.0)
    due_s = market.next_s()
    assert due_s == 1000.0 + Streams(0).get("cloud/ws1/eviction").expovariate(2.0 / 3600.0)
    assert market.pop_due(due_s) == (["ws1"], [])
    market.enter("ws1", 2.0, due_s)
    market.evict("ws1", due_s)
    assert market.next_s() == due_s + NOTICE_S
    assert market.pop_due(due_s + NOTICE_S) == ([], ["ws1"])
    assert market.next_s() is None


def test_who_leaves_is_not_evicted() -> None:
    market = SpotMarket(Streams(0))
    market.enter("ws1", 2.0, 0.0)
    market.leave("ws1")
    assert market.next_s() is None
    market.enter("ws2", 2.0, 0.0)
    market.enter("ws2", 0.0, 0.0)
    assert market.next_s() is None
    market.evict("ws3", 5.0)
    assert market.pop_due(5.0) == (["ws3"], [])


def test_evictions_come_at_their_rate() -> None:
    lives_s = []
    for number in range(2000):
        market = SpotMarket(Streams(number))
        market.enter("ws1", 0.5, 0.0)
        due_s = market.next_s()
        assert due_s is not None
        lives_s.append(due_s)
    assert sum(lives_s) / len(lives_s) == pytest.approx(7200.0, rel=0.1)


def test_changes_are_laid_over_what_was_set() -> None:
    before = CloudLimits(quota_vcpus={"a": 1, "b": 2}, machines=7, evictions_per_hour=1.0)
    changes = CloudLimits(quota_vcpus={"b": 3}, evictions_per_hour=2.0)
    after = with_changes(before, changes, {"quota_vcpus", "evictions_per_hour"})
    assert after == CloudLimits(quota_vcpus={"a": 1, "b": 3}, machines=7, evictions_per_hour=2.0)


def test_draws_are_the_machine_s_own() -> None:
    """One machine's failure does not shift another's."""
    names = [f"ws{number}" for number in range(20)]
    forwards, backwards = (
        supply(CloudLimits(create_failure_rate=0.5)),
        supply(CloudLimits(create_failure_rate=0.5)),
    )
    first = {name: forwards.why_it_fails(name) for name in names}
    shuffled = Random(1).sample(names, len(names))
    assert {name: backwards.why_it_fails(name) for name in shuffled} == first
