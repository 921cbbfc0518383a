"""What kaito's machines on AKS cost in calls, and what is left of them after a rough time: the whole
controller on the real Azure SDK."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final


from kaito.adapters.fake.arm.faults import ArmFault, ArmRequest, Refuse
from kaito.adapters.fake.faults import FailAfter, FailBefore
from kaito.adapters.kube_api import NODE, POD, WORKSPACE
from tests.simulation.world_on_azure import WorldOnAzure, world_on_azure

IN_FLIGHT: Final = 80
MOST_CALLS: Final = 12.0  # for each machine, from create to ready

HOUR_S: Final = 3600.0


def test_calls_per_machine_from_create_to_ready(
    tmp_path: Path, record_property: Callable[[str, str], None]
) -> None:
    with world_on_azure(tmp_path, seed=1, cloud={"throttling": "aks"}) as played:
        for number in range(IN_FLIGHT):
            played.order(f"ws-{number}")
        began_s = played.world.now_s()
        played.run(2 * HOUR_S, until=lambda: played.ready_claims() == IN_FLIGHT)
        took_s = played.world.now_s() - began_s
        assert played.ready_claims() == played.most_pools == IN_FLIGHT
        calls = dict(sorted(played.calls.items()))
        each = sum(calls.values()) / IN_FLIGHT
        record_property(
            "measured",
            f"{IN_FLIGHT} machines at once on AKS: {each:.1f} ARM calls for each from create to "
            f"ready ({calls}), all ready after {took_s / 60:.0f} min",
        )
        assert calls["put"] == IN_FLIGHT
        assert each <= MOST_CALLS
