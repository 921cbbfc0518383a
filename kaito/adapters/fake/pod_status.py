"""A pod's status as its kubelet writes it."""

import hashlib
from collections.abc import Sequence
from typing import Any

from kaito.adapters.fake.container_run import ContainerRun, State, Termination
from kaito.adapters.fake.pod_run import PodRun, Stage
from kaito.adapters.fake.pods import with_condition
from kaito.adapters.kube_api import KubeObject
from kaito.domain.timestamps import to_rfc3339


def pod_status(pod: KubeObject, run: PodRun, now_s: float) -> dict[str, Any]:
    """The whole status; conditions that the kubelet does not own are kept from `pod`."""
    before = pod.get("status") or {}
    status: dict[str, Any] = {
        "phase": pod_phase(run),
        "qosClass": before.get("qosClass", "BestEffort"),
        "startTime": before.get("startTime") or to_rfc3339(run.admitted_s),
        "conditions": _conditions(before.get("conditions") or (), run, now_s),
        "containerStatuses": [_container_status(run, one, init=False) for one in run.containers],
    }
    if run.init_containers:
        status["initContainerStatuses"] = [
            _container_status(run, one, init=True) for one in run.init_containers
        ]
    if run.node.host_address:
        status["hostIP"] = run.node.host_address
        status["hostIPs"] = [{"ip": run.node.host_address}]
    if run.address:
        status["podIP"] = run.address
        status["podIPs"] = [{"ip": run.address}]
    return status


def pod_phase(run: PodRun) -> str:
    """The kubelet's rule (pkg/kubelet/kubelet_pods.go getPhase)."""
    if any(one.finished and not one.succeeded and one.ended for one in run.init_containers):
        return "Failed"
    if run.stage is Stage.OVER and all(one.ended for one in run.containers):
        succeeded = all(one.ended and one.ended.exit_code == 0 for one in run.containers)
        return "Succeeded" if succeeded else "Failed"
    if run.stage is Stage.OVER:
        return "Failed"
    if run.stage is Stage.MOUNTING or not run.initialised:
        return "Pending"
    if any(one.state is State.WAITING and one.ended is None for one in run.containers):
        return "Pending"
    return "Running"


def _conditions(before: Sequence[Any], run: PodRun, now_s: float) -> list[dict[str, Any]]:
    phase = pod_phase(run)
    conditions = with_condition(before, "PodScheduled", "True", now_s)
    conditions = with_condition(
        conditions, "PodReadyToStartContainers", _truth(run.stage is not Stage.MOUNTING), now_s
    )
    waiting = [one.name for one in run.init_containers if not one.succeeded]
    if waiting and phase != "Succeeded":
        conditions = with_condition(
            conditions,
            "Initialized",
            "False",
            now_s,
            reason="ContainersNotInitialized",
            message=f"containers with incomplete status: [{' '.join(waiting)}]",
        )
    else:
        conditions = with_condition(conditions, "Initialized", "True", now_s)
    unready = [one.name for one in run.containers if not one.ready]
    for condition_type in ("Ready", "ContainersReady"):
        if not unready:
            conditions = with_condition(conditions, condition_type, "True", now_s)
            continue
        done = phase in {"Succeeded", "Failed"}
        conditions = with_condition(
            conditions,
            condition_type,
            "False",
            now_s,
            reason=("PodCompleted" if phase == "Succeeded" else "PodFailed")
            if done
            else "ContainersNotReady",
            message="" if done else f"containers with unready status: [{' '.join(unready)}]",
        )
    return conditions


def _container_status(run: PodRun, container: ContainerRun, *, init: bool) -> dict[str, Any]:
    status: dict[str, Any] = {
        "name": container.name,
        "image": container.image,
        "imageID": container.image if container.ended or _is_running(container) else "",
        "ready": container.succeeded if init else container.ready,
        "started": container.started,
        "restartCount": container.restart_count,
        "state": _state(run, container),
    }
    if _is_running(container) or container.ended is not None:
        status["containerID"] = _container_id(run, container)
    if container.ended is not None and container.state is not State.TERMINATED:
        status["lastState"] = {"terminated": _terminated(run, container, container.ended)}
    return status


def _state(run: PodRun, container: ContainerRun) -> dict[str, Any]:
    if container.state is State.RUNNING:
        return {"running": {"startedAt": to_rfc3339(container.started_s)}}
    if container.state is State.TERMINATED and container.ended is not None:
        return {"terminated": _terminated(run, container, container.ended)}
    waiting = {"reason": container.reason}
    if container.message:
        waiting["message"] = container.message
    return {"waiting": waiting}


def _terminated(run: PodRun, container: ContainerRun, ended: Termination) -> dict[str, Any]:
    terminated: dict[str, Any] = {
        "exitCode": ended.exit_code,
        "reason": ended.reason,
        "startedAt": to_rfc3339(ended.started_s),
        "finishedAt": to_rfc3339(ended.finished_s),
        "containerID": _container_id(run, container),
    }
    if ended.message:
        terminated["message"] = ended.message
    return terminated


def _container_id(run: PodRun, container: ContainerRun) -> str:
    text = f"{run.uid}/{container.name}/{container.restart_count}"
    return f"containerd://{hashlib.sha256(text.encode()).hexdigest()}"


def _is_running(container: ContainerRun) -> bool:
    return container.state is State.RUNNING


def _truth(value: bool) -> str:
    return "True" if value else "False"
