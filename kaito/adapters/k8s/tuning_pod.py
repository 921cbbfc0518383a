"""The pod of a tuning job: data in, the trainer, and the result pushed out."""

from typing import Any

from kaito.adapters.k8s import pod_scripts
from kaito.adapters.k8s.plain import plain
from kaito.adapters.k8s.weights_volume import VOLUME, weights_volume
from kaito.domain import labels, names
from kaito.domain.tuning_attempts import FATAL_EXIT_CODES
from kaito.domain.workload import TuningData, Workload
from kaito.domain.workload_plan import CONFIG_DIR, DATA_DIR, WEIGHTS_DIR


def spec(workload: Workload, config_map: str) -> dict[str, Any]:
    """Containers, init containers and volumes of the Job's pod. `config_map` may be empty."""
    data = workload.tuning
    assert data is not None, "a tuning workload has tuning data"
    volumes: list[dict[str, Any]] = [
        {"name": "dshm", "emptyDir": {"medium": "Memory"}},
        weights_volume(workload),
        _volume("data-volume", data.input_volume),
        _volume("results-volume", data.output_volume),
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "dshm", "mountPath": "/dev/shm"},
        {"name": VOLUME, "mountPath": WEIGHTS_DIR},
        {"name": "data-volume", "mountPath": DATA_DIR},
        {"name": "results-volume", "mountPath": data.results_dir},
    ]
    if config_map:
        volumes.append({"name": "config-volume", "configMap": {"name": config_map}})
        mounts.append({"name": "config-volume", "mountPath": CONFIG_DIR})
    containers = [_trainer(workload, mounts)]
    pod: dict[str, Any] = {"restartPolicy": "Never", "containers": containers}
    loaders = _loaders(data)
    if loaders:
        pod["initContainers"] = loaders
    volumes += pod_scripts.pull_secret_volumes(data.input_pull_secrets)
    if data.output_image:
        containers.append(_pusher(workload, data))
        pod["shareProcessNamespace"] = True
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        volumes.append(
            {"name": "push-secret", "secret": {"secretName": data.push_secret, "items": items}}
        )
    pod["volumes"] = volumes
    for container in (*containers, *loaders):
        # What a trainer says last is in its log, and nobody else keeps it.
        container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    return pod


def failure_policy() -> dict[str, Any]:
    """The Job's `podFailurePolicy`; the first rule that fits decides, and what fits none counts.

    DisruptionTarget stands on a pod that was ended from outside: its Node is lost or drained, the
    pod preempted or evicted (kubernetes.io/docs/concepts/workloads/pods/disruptions).
    """
    disrupted = {"type": "DisruptionTarget", "status": "True"}
    fatal = {"operator": "In", "values": sorted(int(code) for code in FATAL_EXIT_CODES)}
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [disrupted]},
            {"action": "FailJob", "onExitCodes": fatal},
        ]
    }


def _volume(name: str, source: Any) -> dict[str, Any]:
    return {"name": name, **plain(source)} if source else {"name": name, "emptyDir": {}}


def _trainer(workload: Workload, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    amount = {labels.GPU_RESOURCE: str(workload.gpus)}
    return {
        "name": workload.name,
        "image": workload.image,
        "command": list(workload.command),
        "args": list(workload.arguments),
        "env": [
            *({"name": name, "value": value} for name, value in workload.environment),
            *pod_scripts.model_access(workload.access_secret, required=workload.token_required),
        ],
        "resources": {"requests": amount, "limits": dict(amount)},
        "volumeMounts": mounts,
    }


def _loaders(data: TuningData) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [{"name": "data-volume", "mountPath": DATA_DIR}]
    if data.urls:
        loader = pod_scripts.downloader(names.DATA_DOWNLOADER, data.urls, DATA_DIR)
        return [loader | {"volumeMounts": mounts}]
    if data.input_image:
        mounts += pod_scripts.pull_secret_mounts(data.input_pull_secrets)
        loader = pod_scripts.puller(names.DATA_PULLER, data.input_image, DATA_DIR)
        return [loader | {"volumeMounts": mounts}]
    return []


def _pusher(workload: Workload, data: TuningData) -> dict[str, Any]:
    container = pod_scripts.pusher(
        names.RESULTS_PUSHER, data.output_image, data.results_dir, workload.model
    )
    return container | {
        "volumeMounts": [
            {"name": "results-volume", "mountPath": data.results_dir},
            {"name": "push-secret", "mountPath": pod_scripts.PUSH_SECRET_DIR, "readOnly": True},
        ]
    }
