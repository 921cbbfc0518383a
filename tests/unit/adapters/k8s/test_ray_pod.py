"""The pods of a group: one template, in which index 0 leads; scripts that are constants."""

import json
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s import ray_pod
from kaito.adapters.k8s.manifests import render
from kaito.adapters.k8s.workspace_store import KubeWorkspaceStore
from kaito.adapters.kube_api import SERVICE, STATEFUL_SET, KubeObject, Resource, thaw
from kaito.domain.cluster_view import WorkloadState, WorkloadView
from kaito.domain.ray_group import RayGroup
from kaito.domain.workload import Workload
from tests.unit.adapters.k8s.conftest import Clock
from tests.unit.domain.builders import GATED, TWO_A100, config, wanted, workspace

Json = dict[str, Any]
HOST = "phi-0.phi-headless.default.svc"
EVIL = "$(touch pwned) ; `touch pwned` '\"\\ && touch pwned | > * $HOME"
SPREAD: Json = {"instance_type": TWO_A100, "inference": {"preset": GATED}}
SINGLE: Json = {}


def workload(**parts: Any) -> Workload:
    return wanted(workspace(**(parts or SPREAD))).workload


def body(found: Workload, resource: Resource, name: str = "phi") -> Json:
    (one,) = [
        desired.body
        for desired in render(found)
        if desired.resource is resource and desired.body["metadata"]["name"] == name
    ]
    plain: Json = json.loads(json.dumps(one))
    return plain


def member(found: Workload) -> Json:
    (one,) = body(found, STATEFUL_SET)["spec"]["template"]["spec"]["containers"]
    container: Json = one
    return container


def test_a_pod_for_each_machine_and_all_its_gpus() -> None:
    owner = body(workload(), STATEFUL_SET)
    assert (owner["spec"]["replicas"], owner["spec"]["podManagementPolicy"]) == (2, "Parallel")
    assert member(workload())["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    volumes = owner["spec"]["template"]["spec"]["volumes"]
    assert {"name": "dshm", "emptyDir": {"medium": "Memory"}} in volumes, "NCCL's shared memory"


def test_requests_go_to_the_leader_and_each_pod_has_a_name() -> None:
    service = body(workload(), SERVICE)["spec"]
    assert service["selector"] == {
        "kaito.sh/workspace": "phi",
        "statefulset.kubernetes.io/pod-name": "phi-0",
    }
    assert [port["port"] for port in service["ports"]] == [80], "Ray's ports are no service"
    headless = body(workload(), SERVICE, "phi-headless")["spec"]
    assert headless["publishNotReadyAddresses"], "they must find each other to become ready"
    assert headless["selector"] == {"kaito.sh/workspace": "phi"}


def test_a_member_starts_ray_before_what_a_single_server_runs() -> None:
    found = workload()
    container = member(found)
    assert container["command"][:2] == ["/bin/sh", "-c"]
    assert container["args"] == [
        "/workspace/vllm/multi-node-serving.sh",
        "--ray_cluster_size=2",
        f"--ray_address={HOST}",
        f"--ray_init_timeout={found.startup_limit_s}",
        *found.command,
        *found.arguments,
    ]
    assert "--distributed-executor-backend=ray" in container["args"]
    variable = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    assert variable in container["env"]


def test_the_probes_are_those_of_the_image() -> None:
    container = member(workload())
    check = "/workspace/vllm/multi-node-health-check.py"
    ask = ["python3", check, "readiness", f"--leader-address={HOST}", "--vllm-port=5000"]
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["exec"]["command"] == ask
        assert "httpGet" not in container[probe]
    alive = container["livenessProbe"]
    assert alive["exec"]["command"][3:] == [
        "alive",
        check,
        f"--leader-address={HOST}",
        "--ray-port=6379",
        "--vllm-port=5000",
    ]
    assert alive["terminationGracePeriodSeconds"] == 1
    startup_s = container["startupProbe"]["periodSeconds"]
    startup_s *= container["startupProbe"]["failureThreshold"]
    assert startup_s >= workload().startup_limit_s


def test_only_groups_have_it() -> None:
    single = wanted(workspace()).workload
    assert not ray_pod.is_of_group(body(single, STATEFUL_SET))
    assert ray_pod.is_of_group(body(workload(), STATEFUL_SET))
    assert single.group is None


# --- the scripts, executed ---

STUB = """#!/bin/sh
printf '%s\\n' "$0" "$@" "index $POD_INDEX" >> "$LOG"
exit "${RC:-0}"
"""


def stub(directory: Path, name: str, text: str = STUB) -> str:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(text, encoding="utf-8")
    (directory / name).chmod(0o755)
    return str(directory / name)


def run(tmp_path: Path, argv: list[str], index: str, rc: int = 0) -> tuple[int, list[str]]:
    """Exit code, and what the stubs were called as and with."""
    log, cwd = tmp_path / "log", tmp_path / "cwd"
    log.touch()
    cwd.mkdir(exist_ok=True)
    path = f"{tmp_path / 'stubs'}:/usr/bin:/bin"
    env = {"PATH": path, "LOG": str(log), "POD_NAME": f"llama-70-{index}", "RC": str(rc)}
    done = subprocess.run(argv, env=env, cwd=cwd, capture_output=True, timeout=20, check=False)
    assert not list(tmp_path.rglob("pwned")), "something was executed"
    return done.returncode, log.read_text(encoding="utf-8").splitlines()


def start(tmp_path: Path, index: str, *, rc: int = 0, ray: str = STUB) -> tuple[int, list[str]]:
    group = RayGroup(size=2, leader_host=HOST + EVIL, join_limit_s=60)
    script = stub(tmp_path / "stubs", "serving.sh", ray)
    server = [stub(tmp_path / "stubs", "server"), "--model=" + EVIL]
    made = ray_pod.command(group, server)
    return run(tmp_path, [*made["command"], script, *made["args"][1:]], index, rc)


def test_the_leader_serves_once_all_have_joined(tmp_path: Path) -> None:
    code, said = start(tmp_path, "0")
    stubs = tmp_path / "stubs"
    assert code == 0
    joined = [str(stubs / "serving.sh"), "leader", "--ray_cluster_size=2", "--ray_init_timeout=60"]
    served = [str(stubs / "server"), "--model=" + EVIL]
    assert said == [*joined, "index 0", *served, "index 0"]


def test_the_others_only_join(tmp_path: Path) -> None:
    code, said = start(tmp_path, "1")
    assert code == 0
    joined = ["worker", f"--ray_address={HOST}{EVIL}", "--ray_init_timeout=60"]
    assert said[1:] == [*joined, "index 1"]


@pytest.mark.parametrize("index", ["0", "1"])
def test_who_cannot_join_ends_and_starts_again(tmp_path: Path, index: str) -> None:
    code, said = start(tmp_path, index, rc=1)
    assert code == 1
    assert str(tmp_path / "stubs" / "server") not in said


@pytest.mark.parametrize("index", ["0", "1"])
def test_a_member_that_waits_ends_when_it_is_told_to(tmp_path: Path, index: str) -> None:
    """As process 1 a shell without a trap would be killed at the end of the grace period."""
    ready = tmp_path / "ready"
    waits = stub(tmp_path / "stubs", "serving.sh", f"#!/bin/sh\n: > {ready}\nexec sleep 30\n")
    made = ray_pod.command(RayGroup(size=2, leader_host=HOST, join_limit_s=60), ["/bin/false"])
    process = subprocess.Popen(
        [*made["command"], waits, *made["args"][1:]],
        env={"POD_NAME": f"llama-70-{index}", "PATH": "/usr/bin:/bin"},
    )
    for _ in range(1000):
        if ready.exists():
            break
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 143


@pytest.mark.parametrize(
    ("index", "asked"),
    [
        ("0", ["liveness", "--leader-address=" + HOST + EVIL, "--ray-port=6379"]),
        ("1", ["readiness", "--leader-address=" + HOST + EVIL, "--vllm-port=5000"]),
    ],
)
def test_who_is_asked_whether_a_member_lives(tmp_path: Path, index: str, asked: list[str]) -> None:
    group = RayGroup(size=2, leader_host=HOST + EVIL, join_limit_s=60)
    probes = ray_pod.probes(group, port=5000, period_s=10, startup_failures=180)
    stub(tmp_path / "stubs", "python3")
    code, said = run(tmp_path, probes["livenessProbe"]["exec"]["command"], index, rc=7)
    assert code == 7
    check = "/workspace/vllm/multi-node-health-check.py"
    assert said[1:] == [check, *asked, f"index {index}"], "the image's check asks for the index"


def test_scripts_are_constants() -> None:
    hostile = replace(workload(), image=EVIL, model=EVIL, arguments=(EVIL,))
    container = member(hostile)
    assert container["command"] == member(workload())["command"]
    assert EVIL in container["args"]


# --- what a change does to a group ---


@pytest.fixture
def port(store: ObjectStore, clock: Clock) -> KubeWorkspaceStore:
    return KubeWorkspaceStore(store, clock)


def compared(port: KubeWorkspaceStore, live: Workload, want: Workload) -> WorkloadView:
    port.apply_workload(live, replace=False)
    return port.compare(want)


LONGER = config({"vllm": {"max-model-len": 65536}})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (SPREAD, {**SPREAD, "inference": {**SPREAD["inference"], "config": "settings"}}),
        (SPREAD, SINGLE),
        (SINGLE, SPREAD),
    ],
    ids=["other settings", "one machine will do", "one machine is too small"],
)
def test_a_group_is_never_rolled_pod_by_pod(
    port: KubeWorkspaceStore, before: Json, after: Json
) -> None:
    settings = LONGER if "config" in after.get("inference", {}) else None
    want = wanted(workspace(**after), settings).workload
    found = compared(port, wanted(workspace(**before)).workload, want)
    assert (found.state, found.must_replace) == (WorkloadState.DIFFERENT, True)
    assert found.restarts_group


def test_a_single_server_is_rolled_as_ever(port: KubeWorkspaceStore) -> None:
    single = wanted(workspace()).workload
    found = compared(port, single, replace(single, image="registry.test/newer:2"))
    assert found.state is WorkloadState.DIFFERENT
    assert not found.must_replace
    assert not found.restarts_group


def test_pods_that_somebody_took_away_come_back_without_a_new_group(
    port: KubeWorkspaceStore, store: ObjectStore
) -> None:
    port.apply_workload(workload(), replace=False)
    store.patch(STATEFUL_SET, "phi", "default", {"spec": {"replicas": 1}})
    found = port.compare(workload())
    assert (found.state, found.must_replace) == (WorkloadState.DIFFERENT, False)
    port.apply_workload(workload(), replace=False)
    assert port.compare(workload()).state is WorkloadState.SAME


def test_a_server_that_drops_a_probes_grace_period_is_not_fought(
    port: KubeWorkspaceStore, store: ObjectStore
) -> None:
    """As those before Kubernetes 1.28 may; a group would be replaced again and again."""
    port.apply_workload(workload(), replace=False)
    live = thaw(store.get(STATEFUL_SET, "phi", "default"))
    (container,) = live["spec"]["template"]["spec"]["containers"]
    del container["livenessProbe"]["terminationGracePeriodSeconds"]
    store.replace(STATEFUL_SET, live)
    assert port.compare(workload()).state is WorkloadState.SAME


def test_kaitos_groups_are_known_too() -> None:
    """As KAITO v0.12 writes them (pkg/workspace/inference/preset_inferences.go)."""
    owner: KubeObject = body(workload(), STATEFUL_SET)
    theirs = thaw(owner)
    theirs["spec"]["template"]["spec"]["containers"][0] |= {
        "command": ["/bin/sh", "-c", "multi-node-serving.sh leader --ray_cluster_size=2 --x; y"],
        "args": [],
    }
    assert ray_pod.is_of_group(theirs)
