"""One reason why a pod is not ready, the most certain first."""

from typing import Any

import pytest

from kaito.adapters.k8s.pods import to_node_pod, to_pod_view
from kaito.domain.cluster_view import PodEnd, PodView
from kaito.domain.machine import NodePod

Json = dict[str, Any]
START_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def pod(*containers: Json, **status: Any) -> Json:
    return {
        "metadata": {"name": "phi-0"},
        "spec": {"nodeName": "node"},
        "status": {"phase": "Pending", "containerStatuses": list(containers), **status},
    }


def container(name: str = "phi", *, last: Json | None = None, **state: Any) -> Json:
    return {"name": name, "state": state, "lastState": last or {}, "restartCount": 2}


def waiting(reason: str, message: str = "", **more: Any) -> Json:
    return container(waiting={"reason": reason, "message": message}, **more)


OOM: Json = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
EXITED = {"terminated": {"reason": "Error", "exitCode": 1, "message": "no CUDA"}}
UNSCHEDULABLE = {
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/3 nodes",
        }
    ]
}


def test_a_pod_that_is_ready() -> None:
    ready = pod(
        container(running={}), phase="Running", conditions=[{"type": "Ready", "status": "True"}]
    )
    assert to_pod_view(ready) == PodView(
        name="phi-0", node_name="node", phase="Running", ready=True, deleting=False, restarts=2
    )


def test_a_pod_that_was_just_made() -> None:
    bare = {"metadata": {"name": "phi-0", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    assert to_pod_view(bare) == PodView(
        name="phi-0", node_name="", phase="Pending", ready=False, deleting=True
    )


@pytest.mark.parametrize(
    ("found", "reason", "message"),
    [
        (pod(waiting("ContainerCreating")), "", ""),
        (pod(waiting("ErrImagePull", "not found")), "ImagePullError", "not found"),
        (pod(waiting("ImagePullBackOff")), "ImagePullError", "ImagePullBackOff"),
        (pod(waiting("InvalidImageName", "bad")), "ImagePullError", "bad"),
        (
            pod(container(**OOM)),
            "ContainerOOMKilled",
            "container phi ran out of memory",
        ),
        (
            pod(waiting("CrashLoopBackOff", "back-off", last=OOM)),
            "ContainerOOMKilled",
            "container phi ran out of memory",
        ),
        (
            pod(waiting("CrashLoopBackOff", "back-off", last=EXITED)),
            "ContainerCrashLoopBackOff",
            "container phi exited with 1: no CUDA",
        ),
        (
            pod(
                waiting(
                    "CrashLoopBackOff",
                    last={"terminated": {"reason": "Error", "exitCode": 2}},
                )
            ),
            "ContainerCrashLoopBackOff",
            "container phi exited with 2: Error",
        ),
        (pod(waiting("CrashLoopBackOff", "back-off")), "ContainerCrashLoopBackOff", "back-off"),
        (
            pod(waiting("CreateContainerConfigError", 'secret "hf" not found')),
            "ContainerStartError",
            'secret "hf" not found',
        ),
        (pod(waiting("RunContainerError")), "ContainerStartError", "RunContainerError"),
        (pod(reason="Evicted", message="disk pressure"), "PodEvicted", "disk pressure"),
        (pod(**UNSCHEDULABLE), "Unschedulable", "0/3 nodes"),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "True"}]),
            "",
            "",
        ),
    ],
)
def test_why_a_pod_is_not_ready(found: Json, reason: str, message: str) -> None:
    view = to_pod_view(found)
    assert (view.reason, view.message) == (reason, message)
    assert not view.ready


def test_the_most_certain_reason_comes_first() -> None:
    start, crash, oom, image = (
        waiting("StartError", "start"),
        waiting("CrashLoopBackOff", "crash"),
        container("b", **OOM),
        waiting("ErrImagePull", "image"),
    )
    everything = [start, crash, oom, image]
    order = []
    while everything:
        view = to_pod_view(pod(*everything, reason="Evicted", **UNSCHEDULABLE))
        order.append(view.reason)
        everything.pop()
    order.append(to_pod_view(pod(reason="Evicted", **UNSCHEDULABLE)).reason)
    assert order == [
        "ImagePullError",
        "ContainerOOMKilled",
        "ContainerCrashLoopBackOff",
        "ContainerStartError",
        "PodEvicted",
    ]


def test_init_containers_count_too() -> None:
    found = pod(initContainerStatuses=[waiting("ErrImagePull", "puller")])
    assert to_pod_view(found).reason == "ImagePullError"
    both = pod(container(running={}), initContainerStatuses=[container(running={})])
    assert to_pod_view(both).restarts == 4


# --- how a pod ended ---


def exited(name: str, code: int, at: str, **more: Any) -> Json:
    ended = {"exitCode": code, "reason": "Error", "finishedAt": f"2026-01-01T00:00:{at}Z", **more}
    return container(name, terminated=ended)


def target(status: str = "True", **more: Any) -> Json:
    stood = {"type": "DisruptionTarget", "status": status, **more}
    return {"lastTransitionTime": "2026-01-01T00:01:00Z", **stood}


def end_of(*containers: Json, phase: str = "Failed", **status: Any) -> PodEnd | None:
    found = pod(*containers, **{"phase": phase, **status})
    found["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    return to_pod_view(found).end


def test_the_container_that_failed_first_is_why() -> None:
    trainer = exited("phi", 1, "05", message="no such column")
    pusher = exited("pusher", 75, "35")
    assert end_of(pusher, trainer) == PodEnd(
        finished_at_s=START_S + 35,
        container="phi",
        exit_code=1,
        reason="Error",
        message="no such column",
    )
    puller = exited("data-puller", 77, "02")
    found = end_of(waiting("PodInitializing"), initContainerStatuses=[puller])
    assert found is not None
    assert (found.container, found.exit_code) == ("data-puller", 77)


@pytest.mark.parametrize("phase", ["Pending", "Running", "Succeeded"])
def test_a_pod_that_has_not_failed_has_no_such_end(phase: str) -> None:
    assert end_of(exited("phi", 0, "05"), phase=phase) is None
    assert end_of(exited("phi", 0, "05"), phase=phase, conditions=[target("False")]) is None


def test_a_pod_that_is_taken_away_says_by_whom() -> None:
    gone = [target(reason="DeletionByPodGC", message="PodGC: node no longer exists")]
    lost = end_of(container("phi", running={}), conditions=gone)
    assert lost == PodEnd(finished_at_s=START_S + 60, disruption="PodGC: node no longer exists")
    drained = end_of(phase="Running", conditions=[target(reason="EvictionByEvictionAPI")])
    assert drained is not None
    assert drained.disruption == "EvictionByEvictionAPI"


def test_a_pod_whose_containers_say_nothing() -> None:
    assert end_of(message="Pod was active too long") == PodEnd(
        finished_at_s=START_S, message="Pod was active too long"
    )


def on_node(**more: Any) -> Json:
    metadata: Json = {"namespace": "shop", "name": "web", "uid": "1", **more.pop("metadata", {})}
    return {"metadata": metadata, **more}


def owned_by(kind: str, controller: bool) -> Json:
    return {"ownerReferences": [{"kind": kind, "name": "x", "controller": controller}]}


@pytest.mark.parametrize(
    ("found", "seen"),
    [
        ({}, {}),
        ({"metadata": owned_by("DaemonSet", True)}, {"daemon": True}),
        ({"metadata": owned_by("DaemonSet", False)}, {}),
        ({"metadata": owned_by("ReplicaSet", True)}, {}),
        ({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}, {"mirror": True}),
        ({"metadata": {"labels": {"kaito.sh/workspace": "phi"}}}, {"workspace": "phi"}),
        ({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, {"deleting": True}),
        ({"status": {"phase": "Succeeded"}}, {"finished": True}),
        ({"status": {"phase": "Failed"}}, {"finished": True}),
        ({"status": {"phase": "Running"}}, {}),
        (
            {"spec": {"tolerations": [{"operator": "Exists"}]}},
            {"tolerations": ({"operator": "Exists"},)},
        ),
    ],
)
def test_a_pod_as_the_drain_of_its_node_sees_it(found: Json, seen: Json) -> None:
    assert to_node_pod(on_node(**found)) == NodePod(
        **{"namespace": "shop", "name": "web", "uid": "1", **seen}
    )
