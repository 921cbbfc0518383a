"""What Workspaces may ask for at once: surge, spot, fallbacks, guards, pauses."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from kaito.adapters.kube_api import EVENT
from kaito.domain import labels
from sim.loading import load
from sim.result import RunResult
from sim.world import World
from tests.simulation.checked_run import run_checked

SEEDS = range(3)
A100 = "Standard_NC24ads_A100_v4"
TWO_A100 = "Standard_NC48ads_A100_v4"
A10 = "Standard_NV36ads_A10_v5"
T4 = "Standard_NC4as_T4_v3"


def workspace(name: str, instance_type: str = A100, **annotations: str) -> dict[str, Any]:
    """Serves a model with the ConfigMap `settings`; annotations by their names after kaito.sh/."""
    given = {f"{labels.PREFIX}{key.replace('_', '-')}": text for key, text in annotations.items()}
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": name, "annotations": given},
        "resource": {
            "instanceType": instance_type,
            "labelSelector": {"matchLabels": {"apps": name}},
        },
        "inference": {"preset": {"name": "phi-4-mini-instruct"}, "config": "settings"},
    }


def settings(context: int) -> dict[str, Any]:
    return {"inference_config.yaml": f"vllm:\n  max-model-len: {context}\n"}


def applied(*found: dict[str, Any]) -> dict[str, Any]:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings"},
        "data": settings(8192),
    }
    return {"at": "0s", "apply": [config, *found]}


def changed_settings(at: str) -> dict[str, Any]:
    patch = {"kind": "ConfigMap", "name": "settings", "merge": {"data": settings(4096)}}
    return {"at": at, "patch": patch}


def annotated(at: str, **annotations: str | None) -> dict[str, Any]:
    given = {f"{labels.PREFIX}{key.replace('_', '-')}": text for key, text in annotations.items()}
    merge = {"metadata": {"annotations": given}}
    return {"at": at, "patch": {"kind": "Workspace", "name": "w", "merge": merge}}


def play(
    folder: Path, seed: int, *timeline: dict[str, Any], **parts: Any
) -> tuple[RunResult, World]:
    """What comes of it, with every invariant checked and what is expected found."""
    file = folder / "scenario.yaml"
    file.write_text(yaml.safe_dump({"timeline": list(timeline), **parts}))
    result, world = run_checked(load([str(file)]), seed=seed)
    assert [one for one in result.expectations if not one.ok] == []
    return result, world


def run(folder: Path, seed: int, *timeline: dict[str, Any], **parts: Any) -> RunResult:
    return play(folder, seed, *timeline, **parts)[0]


def warned(result: RunResult) -> Counter[str]:
    return Counter(one.reason for one in result.warnings)


READY = {"workspace": "w", "ready": True}
pytestmark = pytest.mark.parametrize("seed", SEEDS)


def test_a_spot_machine_serves_on_when_it_is_no_longer_asked_for(tmp_path: Path, seed: int) -> None:
    asked = applied(workspace("w", capacity_type="spot"))
    other = annotated("1h", capacity_type="on-demand")
    result = run(tmp_path, seed, asked, other, expect=[READY, {"machines": 1}])
    assert len(result.machines) == 1
    assert "InferenceReadyLost" not in warned(result)


@pytest.mark.parametrize("fallbacks", [None, A10], ids=["removed", "replaced"])
def test_a_fallback_that_was_bought_is_what_the_model_is_sized_for(
    tmp_path: Path, seed: int, fallbacks: str | None
) -> None:
    asked = applied(workspace("w", TWO_A100, fallback_instance_types=A100))
    other = annotated("1h", fallback_instance_types=fallbacks)
    cloud = {"stock": [{"instance_type": TWO_A100, "machines": 0}]}
    result = run(tmp_path, seed, asked, other, cloud=cloud, expect=[READY, {"machines": 1}])
    assert len(result.machines) == 1


def test_a_surge_beyond_the_guard_holds_up_nobody(tmp_path: Path, seed: int) -> None:
    cheap = {"at": "1h", "apply": [workspace("b", T4)]}
    asked = applied(workspace("w", rollout="surge"))
    result, world = play(
        tmp_path,
        seed,
        asked,
        changed_settings("40m"),
        cheap,
        guards={"max_cost_per_hour": 5.0},
        expect=[{"workspace": "b", "ready": True}, {"workspace": "w", "ready": False}],
    )
    assert "SurgeStarted" not in {event["reason"] for event in world.objects(EVENT)}
    assert len(result.machines) == 2


def test_a_surge_beyond_the_quota_is_told(tmp_path: Path, seed: int) -> None:
    asked = applied(workspace("w", rollout="surge"))
    expect = [{"workspace": "w", "ready": False, "reason": "QuotaExceeded"}]
    cloud = {"quota": {"NCads_A100_v4": 24}}
    result = run(tmp_path, seed, asked, changed_settings("40m"), cloud=cloud, expect=expect)
    assert "InferenceReadyLost" not in warned(result)


def test_a_surge_may_be_given_up(tmp_path: Path, seed: int) -> None:
    asked = applied(workspace("w", rollout="surge"))
    given_up = annotated("2h", rollout=None)
    cloud = {"quota": {"NCads_A100_v4": 24}}
    expect = [READY, {"machines": 1}, {"pods": 1}]
    run(tmp_path, seed, asked, changed_settings("40m"), given_up, cloud=cloud, expect=expect)


def test_a_pause_in_a_surge_leaves_what_serves(tmp_path: Path, seed: int) -> None:
    asked = applied(workspace("w", rollout="surge"))
    pause, resume = annotated("48m", paused="true"), annotated("3h", paused=None)
    expect = [READY, {"machines": 1}, {"pods": 1}]
    result = run(tmp_path, seed, asked, changed_settings("40m"), pause, resume, expect=expect)
    assert "InferenceReadyLost" not in warned(result)


def test_an_evicted_fallback_starts_no_surge(tmp_path: Path, seed: int) -> None:
    wishes = {"rollout": "surge", "capacity_type": "spot", "fallback_instance_types": A10}
    result = run(
        tmp_path,
        seed,
        applied(workspace("w", **wishes)),
        {"at": "59m", "cloud": {"stock": [{"instance_type": A100, "machines": 10}]}},
        {"at": "60m", "cloud": {"evict_spot": 1}},
        cloud={"stock": [{"instance_type": A100, "machines": 0}]},
        expect=[READY, {"machines": 1}],
    )
    assert len(result.machines) == 2, "the evicted one and the next"


def test_a_pod_with_less_than_a_machine_is_changed_in_place(tmp_path: Path, seed: int) -> None:
    def served(image: str) -> dict[str, Any]:
        limits = {"limits": {labels.GPU_RESOURCE: 1}}
        server = {"name": "server", "image": image, "resources": limits}
        return {"inference": {"template": {"spec": {"containers": [server]}}}}

    asked = workspace("w", TWO_A100, rollout="surge") | served("registry.test/server:1")
    patch = {"kind": "Workspace", "name": "w", "merge": served("registry.test/server:2")}
    expect = [READY, {"machines": 1}, {"pods": 1}]
    result = run(tmp_path, seed, applied(asked), {"at": "1h", "patch": patch}, expect=expect)
    assert len(result.machines) == 1


def test_a_machine_that_is_lost_in_the_end_is_replaced(tmp_path: Path, seed: int) -> None:
    lost = {"at": "50m", "fault": {"kind": "node-loss", "workspace": "w", "how": "vanishes"}}
    result = run(tmp_path, seed, applied(workspace("w")), lost, expect=[READY, {"machines": 1}])
    assert len(result.machines) == 2


@pytest.mark.parametrize("ends", ["deleted", "lost"])
def test_what_a_machine_took_of_the_quota_is_free_once_it_is_gone(
    tmp_path: Path, seed: int, ends: str
) -> None:
    """One machine's quota: another Workspace, or the same after a loss, can only have the next."""
    gone = {
        "deleted": {"delete": {"kind": "Workspace", "name": "w"}},
        "lost": {"fault": {"kind": "node-loss", "workspace": "w", "how": "vanishes"}},
    }[ends]
    second = {"deleted": "b", "lost": "w"}[ends]
    timeline = [applied(workspace("w")), {"at": "50m", **gone}]
    if ends == "deleted":
        timeline.append({"at": "60m", "apply": [workspace("b")]})
    cloud = {"quota": {"NCads_A100_v4": 24}}
    expect = [{"workspace": second, "ready": True}, {"machines": 1}]
    result = run(tmp_path, seed, *timeline, cloud=cloud, expect=expect)
    assert len(result.machines) == 2
