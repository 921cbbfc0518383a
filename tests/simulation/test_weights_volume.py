"""Weights on local NVMe disks: where they live is decided once, and no pod is replaced because a
StorageClass appears or goes."""

from dataclasses import replace
from typing import Any

import pytest

from kaito.adapters.kube_api import (
    NODE_CLAIM,
    PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    STATEFUL_SET,
    STORAGE_CLASS,
    KubeObject,
    name_of,
)
from sim.loading import load
from sim.manifests import STORAGE_CLASS as STORAGE_CLASS_KIND
from sim.manifests import Key
from sim.scenario import Apply, Delete, Patch, Scenario, Step
from sim.world import World
from tests.simulation.checked_run import (
    SCENARIOS,
    deletion,
    quickstart,
    run_checked,
    with_steps,
    workspace_key,
)
from tests.simulation.kaito_v012 import Migration
from tests.simulation.test_crash_everywhere import Deaths

CLASS = "kaito-local-nvme-disk"
KEY = Key(STORAGE_CLASS_KIND, "", CLASS)
BODY = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": CLASS},
    "provisioner": "localdisk.csi.acstor.io",
    "volumeBindingMode": "WaitForFirstConsumer",
}
SERVES_S = 30 * 60.0
LATER_S = 60 * 60.0
NVME_TYPE = "Standard_NC24ads_A100_v4"


def appears(at_s: float) -> Step:
    return Apply(at_s=at_s, manifest=BODY, source="test", key=KEY)


def goes(at_s: float) -> Step:
    return Delete(at_s=at_s, key=KEY, source="test")


def on_nvme(scenario: Scenario) -> Scenario:
    """The quick start, on an instance type with local disks."""

    def changed(step: Step) -> Step:
        if not isinstance(step, Apply) or step.key.kind != "Workspace":
            return step
        resource = {**step.manifest["resource"], "instanceType": NVME_TYPE}
        return replace(step, manifest={**step.manifest, "resource": resource})

    return replace(scenario, steps=tuple(map(changed, scenario.steps)))


def played(
    *steps: Step, name: str = "quickstart_phi_3", seed: int = 1, until_s: float = LATER_S
) -> World:
    scenario = with_steps(on_nvme(quickstart(name)), steps, until_s=until_s)
    result, world = run_checked(scenario, seed=seed)
    assert [one.ready for one in result.workspaces] == [True] * len(result.workspaces)
    return world


def volume_of(pod: KubeObject) -> dict[str, Any]:
    (found,) = [one for one in pod["spec"]["volumes"] if one["name"] == "model-weights-volume"]
    return dict(found)


def storage_of(world: World) -> str:
    (claim,) = world.objects(NODE_CLAIM)
    return str(claim["spec"]["resources"]["requests"]["storage"])


@pytest.mark.parametrize("name", ["quickstart_phi_3", "quickstart_phi_3_adapters"])
def test_served_from_local_disks(name: str) -> None:
    world = played(appears(0.0), name=name)
    (pod,) = world.objects(POD)
    (claim,) = world.objects(PERSISTENT_VOLUME_CLAIM)
    (volume,) = world.objects(PERSISTENT_VOLUME)
    assert name_of(claim) == f"{name_of(pod)}-model-weights-volume"
    assert volume["spec"]["claimRef"]["name"] == name_of(claim)
    assert storage_of(world) == "80Gi"


def test_tuned_on_local_disks() -> None:
    """The Job's pod is done: its claim stays with it until somebody deletes the Job."""
    world = played(appears(0.0), name="quickstart_tuning_phi_3", until_s=4 * LATER_S)
    (claim,) = world.objects(PERSISTENT_VOLUME_CLAIM)
    (pod,) = world.objects(POD)
    assert pod["status"]["phase"] == "Succeeded"
    assert claim["metadata"]["ownerReferences"][0]["name"] == name_of(pod)


@pytest.mark.parametrize(
    ("steps", "ephemeral"),
    [
        ([appears(SERVES_S)], False),
        ([appears(0.0), goes(SERVES_S)], True),
        ([appears(0.0), goes(SERVES_S), appears(SERVES_S + 60), goes(SERVES_S + 120)], True),
    ],
)
def test_no_pod_is_replaced_because_the_class_appears_or_goes(
    steps: list[Step], *, ephemeral: bool
) -> None:
    world = played(*steps)
    (pod,), (owner,) = world.objects(POD), world.objects(STATEFUL_SET)
    assert ("ephemeral" in volume_of(pod)) is ephemeral
    assert owner["metadata"]["generation"] == 1
    assert storage_of(world) == ("80Gi" if ephemeral else "87Gi")


@pytest.mark.parametrize("at_s", [30.0, 200.0, 400.0])
def test_a_class_that_goes_between_machine_and_pod(at_s: float) -> None:
    """The machine was bought without room for the weights: the pod waits for the class."""
    steps = [appears(0.0), goes(at_s)]
    scenario = with_steps(on_nvme(quickstart()), steps, until_s=LATER_S)
    _, world = run_checked(scenario, seed=1)
    (pod,) = world.objects(POD)
    assert "ephemeral" in volume_of(pod)
    if pod["status"]["phase"] == "Pending":
        assert "unbound immediate PersistentVolumeClaims" in str(pod["status"]["conditions"])
    again = with_steps(scenario, [appears(LATER_S)], until_s=2 * LATER_S)
    result, world = run_checked(again, seed=1)
    assert [one.ready for one in result.workspaces] == [True]


def test_what_rolls_for_another_reason_keeps_its_weights_where_they_were() -> None:
    """The machine stays, and so does what it was bought for."""
    key = workspace_key(quickstart())
    adapter = {"source": {"name": "style", "image": "registry.test/style:1"}}
    merge = {"inference": {"adapters": [adapter]}}
    change = Patch(at_s=SERVES_S, key=key, merge=merge, source="test")
    world = played(appears(SERVES_S - 60), change, until_s=2 * LATER_S)
    (pod,), (owner,) = world.objects(POD), world.objects(STATEFUL_SET)
    assert owner["metadata"]["generation"] > 1
    assert "emptyDir" in volume_of(pod)


def test_everything_goes_with_the_workspace() -> None:
    scenario = on_nvme(quickstart())
    steps = [appears(0.0), deletion(scenario, SERVES_S)]
    _, world = run_checked(with_steps(scenario, steps, until_s=LATER_S), seed=1)
    for kind in (POD, PERSISTENT_VOLUME_CLAIM, PERSISTENT_VOLUME, NODE_CLAIM):
        assert world.objects(kind) == ()


def test_the_operator_dies_at_any_write() -> None:
    """And the class goes a moment later: what was decided first holds."""
    scenario = with_steps(on_nvme(quickstart()), [appears(0.0)], until_s=LATER_S)
    deaths = Deaths(at_write=0)
    run_checked(scenario, seed=3, prepare=deaths.install)
    assert deaths.writes > 5
    for at_write in range(1, deaths.writes + 1):
        death = Deaths(at_write)
        result, world = run_checked(scenario, seed=3, prepare=death.install)
        assert [one.ready for one in result.workspaces] == [True], f"write {at_write}"
        (pod,), (owner,) = world.objects(POD), world.objects(STATEFUL_SET)
        assert "ephemeral" in volume_of(pod), f"write {at_write}"
        assert owner["metadata"]["generation"] == 1, f"write {at_write}"


def test_a_group_has_a_claim_for_each_machine() -> None:
    loaded = load([str(SCENARIOS / "multi_node_70b.yaml")])
    scenario = with_steps(loaded, [appears(0.0)])
    result, world = run_checked(scenario, seed=2)
    assert [one.ready for one in result.workspaces] == [True]
    pods = [name_of(pod) for pod in world.objects(POD)]
    claims = [name_of(claim) for claim in world.objects(PERSISTENT_VOLUME_CLAIM)]
    assert claims == [f"{name}-model-weights-volume" for name in pods]
    assert len(claims) == 2


def test_what_kaito_v012_runs_is_adopted_as_it_is() -> None:
    """Its machine was not bought for local disks, whatever the cluster has."""
    play = Migration(instance_type=NVME_TYPE)
    play.world.store.create(STORAGE_CLASS, BODY)
    play.order(instance_type=NVME_TYPE)
    play.serve()
    play.start()
    play.run(SERVES_S)
    (owner,) = play.world.objects(STATEFUL_SET)
    assert owner["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "kaito"
    assert owner["metadata"]["generation"] == 1
    assert play.world.objects(PERSISTENT_VOLUME_CLAIM) == ()
