from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kaito.adapters.fake.container_phases import ContainerPlan
from kaito.adapters.fake.engine import Engine, command_of
from kaito.adapters.fake.latencies import GIB, load_latencies
from kaito.adapters.fake.streams import Streams
from kaito.adapters.kube_api import KubeObject, is_true
from tests.unit.adapters.fake.cluster import Cluster, Recorded, container

LATENCIES = load_latencies(Path(__file__).parents[4] / "presets" / "latencies.yaml")
PHI = "microsoft/Phi-3-mini-4k-instruct"
WEIGHTS = {PHI: int(7.1 * GIB), "meta-llama/Llama-3.3-70B-Instruct": 131 * GIB}
NODE: KubeObject = {"metadata": {"name": "n0"}}
VLLM = ["python3", "/workspace/vllm/inference_api.py"]
ACCELERATE = ["accelerate", "launch"]
TRANSFORMERS = [
    "--num_processes=1",
    "--gpu_ids=all",
    "/workspace/tfs/inference_api.py",
    f"--pretrained_model_name_or_path={PHI}",
]
TRAINER = ["/workspace/tfs/fine_tuning.py", f"--pretrained_model_name_or_path={PHI}"]


def engine(seed: int = 1) -> Engine:
    return Engine(LATENCIES, Streams(seed), WEIGHTS)


def pod(*containers: dict[str, Any], **spec: Any) -> KubeObject:
    return {
        "metadata": {"namespace": "default", "name": "phi-0"},
        "spec": {"containers": list(containers), **spec},
    }


def plan(subject: KubeObject, name: str = "main", seed: int = 1) -> ContainerPlan:
    return engine(seed).plan(NODE, subject, name, "image")


def names(found: ContainerPlan) -> list[str]:
    return [phase.name for phase in found.phases]


def server(*args: str) -> dict[str, Any]:
    return container("main", command=VLLM, args=[f"--model={PHI}", *args])


def test_a_vllm_server() -> None:
    found = plan(pod(server("--tensor-parallel-size=1")))
    assert names(found) == [
        "engine init",
        "weights download",
        "weights load",
        "torch compile",
        "memory profiling",
        "CUDA graphs",
    ]
    assert not found.exits
    assert found.phases[1].detail == f"{PHI}, 7.1 GiB"


def test_an_eager_server_compiles_and_captures_nothing() -> None:
    assert names(plan(pod(server("--enforce-eager")))) == [
        "engine init",
        "weights download",
        "weights load",
        "memory profiling",
    ]


def test_gpus_share_the_loading() -> None:
    model = "--model=Meta-Llama/llama-3.3-70b-instruct"  # ids match in any case
    args = [model, "--tensor-parallel-size", "2", "--pipeline-parallel-size=2"]
    found = plan(pod(container("main", command=VLLM, args=args)))
    assert found.phases[2].detail == "32.8 GiB on each of 4 GPUs"


def test_a_transformers_server() -> None:
    found = plan(pod(container("main", command=ACCELERATE, args=TRANSFORMERS)))
    assert names(found) == ["weights download", "weights load", "engine init"]


def test_a_command_in_a_shell_is_read_too() -> None:
    text = f"cd /workspace/tfs && accelerate launch {' '.join(TRANSFORMERS)} --torch_dtype auto;"
    found = command_of({"command": ["/bin/sh", "-c", text]})
    assert found is not None
    assert (found.model, found.flags["torch_dtype"]) == (PHI, "auto")


def test_an_unknown_model_ends_the_server_with_a_message() -> None:
    found = plan(pod(container("main", command=VLLM, args=["--model=who/knows"])))
    failure = found.phases[-1].failure
    assert failure is not None
    assert failure.exit_code == 1
    assert "who/knows" in failure.message


def test_a_tuning_pod() -> None:
    subject = pod(
        container("tune", command=ACCELERATE, args=TRAINER),
        container("pusher", args=["registry.test/out:1", "/mnt/results", "phi"]),
        container("pause"),
        initContainers=[container("model-weights-downloader"), container("data-downloader")],
        restartPolicy="Never",
    )
    assert names(plan(subject, "model-weights-downloader")) == ["weights download"]
    assert names(plan(subject, "data-downloader")) == ["data download"]
    trainer = plan(subject, "tune")
    assert (names(trainer), trainer.exits) == (["weights load", "training"], True)
    pusher = plan(subject, "pusher")
    assert (names(pusher), pusher.exits, pusher.after) == (["results push"], True, "tune")
    assert pusher.phases[0].detail == "registry.test/out:1"
    pause = plan(subject, "pause")
    assert (names(pause), pause.exits, pause.after) == ([], True, "tune")


def test_adapters_are_pulled_by_init_containers() -> None:
    subject = pod(server(), initContainers=[container("puller-legal")])
    found = plan(subject, "puller-legal")
    assert [(phase.name, phase.detail) for phase in found.phases] == [("adapter pull", "legal")]
    assert found.exits


def test_what_is_not_ours_runs_for_ever_or_exits_in_a_job() -> None:
    other = container("main", command=["nginx"])
    assert plan(pod(other)) == ContainerPlan()
    assert plan(pod(other, restartPolicy="Never")) == ContainerPlan(exits=True)


def test_an_image_with_a_gpu_is_a_big_one() -> None:
    subject = pod(server(), initContainers=[container("puller-legal", resources={})])
    big = engine().image_pull(NODE, subject, "main", "kaito-base")
    small = engine().image_pull(NODE, subject, "puller-legal", "skopeo")
    assert big.duration_s >= 60
    assert small.duration_s <= 10


def test_one_pods_draws_do_not_shift_anothers() -> None:
    subject = pod(server())
    other = {**subject, "metadata": {"namespace": "default", "name": "other-0"}}
    alone, after = engine(), engine()
    after.plan(NODE, other, "main", "image")
    assert alone.plan(NODE, subject, "main", "image") == after.plan(NODE, subject, "main", "image")


def cold_start(seed: int) -> list[Recorded]:
    cluster = Cluster(engine(seed))
    cluster.add_node("n0")
    probe = {"httpGet": {"path": "/health", "port": 5000}, "periodSeconds": 10}
    main = server() | {
        "startupProbe": {**probe, "failureThreshold": 180},
        "readinessProbe": {**probe, "initialDelaySeconds": 30},
    }
    cluster.add_stateful_set("phi", pod={"containers": [main]})
    cluster.run(1800)
    assert is_true(cluster.pod("phi-0"), "Ready")
    return cluster.recorder.phases


def test_a_cold_start_in_the_cluster() -> None:
    phases = cold_start(1)
    assert [one.name for one in phases] == [
        "image pull",
        "engine init",
        "weights download",
        "weights load",
        "torch compile",
        "memory profiling",
        "CUDA graphs",
        "readiness probe",
    ]
    for before, after in pairwise(phases):
        assert after.start_s == pytest.approx(before.end_s)
    assert 120 < phases[-1].end_s < 600


def test_a_seed_is_a_run() -> None:
    assert cold_start(1) == cold_start(1)
    assert cold_start(1) != cold_start(2)
