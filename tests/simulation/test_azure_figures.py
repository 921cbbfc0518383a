"""The whole controller on the real Azure SDK: how many calls its machines cost, and what is left of
them after a rough time."""

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

WAVES: Final = 4
IN_WAVE: Final = 10
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


class RoughTime:
    """What goes wrong with requests about agent pools, some of them: `share` of all."""

    def __init__(self, played: WorldOnAzure, share: float, seed: int) -> None:
        self._share, self._rng = share, Random(seed)
        self.played: dict[str, int] = {}
        played.front.choose = self._choose

    def _choose(self, request: ArmRequest) -> ArmFault | None:
        if "agentPools" not in request.action or self._rng.random() >= self._share:
            return None
        name, fault = self._rng.choice(
            [
                ("request lost", FailBefore()),
                ("answer lost", FailAfter()),
                ("throttled", Refuse(status=429, code="Throttled", retry_after_s=20)),
                ("conflict", Refuse(status=409, code="Conflict")),
                ("server error", Refuse(status=503, code="ServerTimeout", layer="arm")),
            ]
        )
        self.played[name] = self.played.get(name, 0) + 1
        return fault


def test_a_soak_over_https(tmp_path: Path, record_property: Callable[[str, str], None]) -> None:
    """Forty machines come and go in waves, through failures, throttling, lost answers and restarts
    of the operator: in the end nothing is billed, and nothing is left anywhere."""
    rng, restarts = Random(7), 0
    cloud = {"throttling": "aks", "create_failure_rate": 0.05, "machine_limit": 100}
    with world_on_azure(tmp_path, seed=7, cloud=cloud) as played:
        rough = RoughTime(played, share=0.1, seed=7)
        for wave in range(WAVES):
            names = [f"ws-{wave}-{number}" for number in range(IN_WAVE)]
            for name in names:
                played.order(name)
                played.run(rng.uniform(0.0, 10.0))
            for _ in range(3):
                played.run(rng.uniform(60.0, 600.0))
                played.restart()
                restarts += 1
            for name in names:
                played.delete(name)
                played.run(rng.uniform(0.0, 60.0))
        played.front.choose = lambda _request: None
        played.run(HOUR_S, until=lambda: not played.claims() and not played.world.cloud.live)
        played.run(10 * 60.0)
        lives = played.world.cloud.lives
        wanted = WAVES * IN_WAVE
        assert len({life.order.claim_name for life in lives}) == wanted
        assert [life.order.name for life in lives if life.released_at_s is None] == []
        assert played.listed_pools() == []
        assert played.claims() == ()
        left = [played.world.objects(resource) for resource in (WORKSPACE, NODE, POD)]
        assert left == [()] * 3
        assert played.invariants.leftovers() == []
        assert len(rough.played) == 5, "each has happened"
        assert len(lives) > wanted, "some failed half-way"
        hours = sum((life.released_at_s or 0.0) - life.ordered_at_s for life in lives) / HOUR_S
        calls = dict(sorted(played.calls.items()))
        record_property(
            "measured",
            f"HTTPS soak on AKS: {wanted} machines in {WAVES} waves, {len(lives)} orders, "
            f"{restarts} restarts, {rough.played}, {calls} calls, {hours:.1f} machine-hours in "
            f"{played.world.now_s() / HOUR_S:.1f} h, 0 left",
        )
