from typing import Any

import pytest

from kaito.adapters.fake.container_faults import FaultyContainers
from kaito.adapters.fake.container_phases import ContainerPlan, Phase
from kaito.adapters.kube_api import KubeObject
from kaito.domain import labels
from tests.unit.adapters.fake.cluster import Script

NODE: KubeObject = {"metadata": {"name": "n0"}}
TRAINING = ContainerPlan(phases=(Phase("load", 30.0), Phase("training", 600.0)), exits=True)


def pod(workspace: str = "tuning", namespace: str = "default") -> dict[str, Any]:
    meta = {"name": "p", "namespace": namespace, "labels": {labels.WORKSPACE: workspace}}
    spec = {"initContainers": [{"name": "loader"}], "containers": [{"name": "trainer"}]}
    return {"metadata": meta, "spec": spec}


def faulty(**fault: Any) -> FaultyContainers:
    found = FaultyContainers(Script(plans={"trainer": TRAINING}))
    found.fail("tuning", "default", **{"code": 1, "after_s": 100.0, "count": 1, **fault})
    return found


def ends(
    found: FaultyContainers, container: str = "trainer", **whose: str
) -> list[tuple[Any, ...]]:
    """Its phases: name, duration and exit code."""
    plan = found.plan(NODE, pod(**whose), container, "image")
    return [
        (one.name, one.duration_s, one.failure and one.failure.exit_code) for one in plan.phases
    ]


USUAL = [("load", 30.0, None), ("training", 600.0, None)]


@pytest.mark.parametrize(
    ("after_s", "phases"),
    [
        (100.0, [("load", 30.0, None), ("training", 70.0, 137)]),
        (30.0, [("load", 30.0, 137)]),
        (10.0, [("load", 10.0, 137)]),
        (9999.0, [("load", 30.0, None), ("training", 600.0, 137)]),
    ],
)
def test_when_it_ends(after_s: float, phases: list[tuple[Any, ...]]) -> None:
    assert ends(faulty(code=137, after_s=after_s)) == phases


def test_only_as_often_as_it_is_told() -> None:
    found = faulty(count=2)
    assert [ends(found) == USUAL for _ in range(4)] == [False, False, True, True]


def test_only_the_workspaces_own_container() -> None:
    found = faulty()
    assert ends(found, workspace="other") == USUAL
    assert ends(found, namespace="other") == USUAL
    assert ends(found, "loader") == []
    assert ends(faulty(container="loader"), "loader") == [("start", 100.0, 1)]


def test_what_it_leaves_behind() -> None:
    found = faulty(code=137, reason="OOMKilled", message="too much")
    failure = found.plan(NODE, pod(), "trainer", "image").phases[-1].failure
    assert failure is not None
    assert (failure.reason, failure.message) == ("OOMKilled", "too much")
