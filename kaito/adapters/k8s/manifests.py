"""A workload as Kubernetes objects: StatefulSet or Job, Services, ConfigMap.

Names, ports, labels, tolerations, probes and volumes are those of KAITO v0.12 (pkg/workspace/
manifests/manifests.go, pkg/workspace/inference/preset_inferences.go, pkg/workspace/tuning/
preset_tuning.go), so that what selects, scrapes or mounts them keeps working. The order of
everything is fixed. Commands are exec forms; what stands in a manifest never reaches a shell.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import yaml

from kaito.adapters.k8s import pod_scripts, ray_pod, template_pod, tuning_pod
from kaito.adapters.k8s.node_affinity import node_affinity
from kaito.adapters.k8s.plain import plain
from kaito.adapters.k8s.weights_volume import VOLUME, weights_volume
from kaito.adapters.kube_api import CONFIG_MAP, JOB, SERVICE, STATEFUL_SET, Resource
from kaito.domain import labels, names
from kaito.domain.machine import Owner
from kaito.domain.names import digest
from kaito.domain.ray_group import RayGroup, headless_service
from kaito.domain.template_rules import service_port
from kaito.domain.workload import AdapterMount, Workload, WorkloadKind
from kaito.domain.workload_plan import (
    ADAPTERS_DIR,
    CONFIG_DIR,
    TRAINING_CONFIG_KEY,
    WEIGHTS_DIR,
)
from kaito.domain.workspace import KIND

PORT: Final = 5000
PROBE_PERIOD_S: Final = 10
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
POD_NAME: Final = "statefulset.kubernetes.io/pod-name"  # a label that every pod of one has


@dataclass(frozen=True, slots=True)
class Desired:
    """One object as it should be. `body` holds only the fields that kaito sets, or with
    `users_template` a pod template that is the user's."""

    resource: Resource
    body: Mapping[str, Any]
    users_template: bool = False


def render(workload: Workload) -> tuple[Desired, ...]:
    """The workload's objects, what others need first: config, services, then the pods' owner."""
    objects = []
    if workload.training_config is not None:
        objects.append(Desired(CONFIG_MAP, _training_config_map(workload)))
    if workload.kind is not WorkloadKind.TUNING:
        objects.append(Desired(SERVICE, _service(workload)))
        objects.append(Desired(SERVICE, _headless_service(workload)))
        theirs = workload.template is not None
        objects.append(Desired(STATEFUL_SET, _stateful_set(workload), users_template=theirs))
    else:
        objects.append(Desired(JOB, _job(workload)))
    return tuple(objects)


def selector_labels(workload: Workload) -> dict[str, str]:
    """What the pods of one workload have and no other pod of the namespace has.

    KAITO's pods have no label more, and a StatefulSet's selector cannot change: with these, one
    that KAITO v0.12 made is updated in place and its Service goes on finding its pods.
    """
    return {labels.WORKSPACE: workload.owner.name}


def own_labels(workload: Workload) -> dict[str, str]:
    """The labels of every object and pod of a workload."""
    return {
        labels.WORKSPACE: workload.owner.name,
        labels.WORKSPACE_NAMESPACE: workload.owner.namespace,
        MANAGED_BY: "kaito",
    }


def training_config_name(workload: Workload) -> str:
    """The ConfigMap that kaito makes for a tuning job that names none."""
    return f"{workload.name}-training-config"


def _metadata(workload: Workload, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": workload.owner.namespace,
        "labels": own_labels(workload),
        "ownerReferences": [owner_reference(workload.owner, workload.owner_api_version)],
    }


def owner_reference(owner: Owner, api_version: str) -> dict[str, Any]:
    """What lets an object go with its Workspace, and not before."""
    return {
        "apiVersion": api_version,
        "kind": KIND,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _training_config_map(workload: Workload) -> dict[str, Any]:
    text = yaml.safe_dump(plain(workload.training_config), sort_keys=False)
    return {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.kind,
        "metadata": _metadata(workload, training_config_name(workload)),
        "data": {TRAINING_CONFIG_KEY: text},
    }


def _service(workload: Workload) -> dict[str, Any]:
    return {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.kind,
        "metadata": _metadata(workload, workload.name),
        "spec": {
            "type": "LoadBalancer" if workload.load_balancer else "ClusterIP",
            "publishNotReadyAddresses": False,  # KAITO's Service has it the other way
            "selector": _answering(workload),
            "ports": [
                {"name": "http", "port": 80, "targetPort": _port(workload), "protocol": "TCP"}
            ],
        },
    }


def _answering(workload: Workload) -> dict[str, str]:
    """The pods that answer requests: of a group only the leader."""
    selected = selector_labels(workload)
    if workload.group is not None:
        selected[POD_NAME] = f"{workload.name}-0"
    return selected


def _headless_service(workload: Workload) -> dict[str, Any]:
    return {
        "apiVersion": SERVICE.api_version,
        "kind": SERVICE.kind,
        "metadata": _metadata(workload, headless_name(workload)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selector_labels(workload),
            "ports": [
                {
                    "name": "http",
                    "port": _port(workload),
                    "targetPort": _port(workload),
                    "protocol": "TCP",
                }
            ],
        },
    }


def headless_name(workload: Workload) -> str:
    return headless_service(workload.name)


def _stateful_set(workload: Workload) -> dict[str, Any]:
    if workload.template is not None:
        template = template_pod.pod_template(
            workload,
            own_labels=own_labels(workload),
            node_affinity=node_affinity(workload),
            tolerations=_tolerations(),
        )
    else:
        template = {"metadata": _pod_metadata(workload), "spec": _inference_pod(workload)}
    return {
        "apiVersion": STATEFUL_SET.api_version,
        "kind": STATEFUL_SET.kind,
        "metadata": _owner_metadata(workload, template),
        "spec": {
            "replicas": workload.replicas,
            "podManagementPolicy": "Parallel",
            "serviceName": headless_name(workload),
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"partition": workload.partition},
            },
            "selector": {"matchLabels": selector_labels(workload)},
            "template": template,
        },
    }


def _job(workload: Workload) -> dict[str, Any]:
    pod = _shared_pod_spec(workload)
    pod |= tuning_pod.spec(workload, config_volume_name(workload))
    template = {"metadata": _pod_metadata(workload), "spec": pod}
    metadata = _owner_metadata(workload, template)
    metadata["annotations"][labels.GENERATION] = str(workload.generation)
    data = workload.tuning
    assert data is not None, "a tuning workload has tuning data"
    if data.retry:
        metadata["annotations"][labels.RETRY] = data.retry
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": metadata,
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": data.retries,
            "podFailurePolicy": tuning_pod.failure_policy(),
            "template": template,
        },
    }


def config_volume_name(workload: Workload) -> str:
    """The ConfigMap to mount: the user's, or the one that kaito makes; empty for none."""
    if workload.config_map:
        return workload.config_map
    return training_config_name(workload) if workload.training_config is not None else ""


def _pod_metadata(workload: Workload) -> dict[str, Any]:
    metadata: dict[str, Any] = {"labels": own_labels(workload)}
    content = workload.config_hash
    if workload.training_config is not None:
        content = digest(json.dumps(plain(workload.training_config), sort_keys=True))[:16]
    if content:
        metadata["annotations"] = {labels.CONFIG_HASH: content}
    return metadata


def _owner_metadata(workload: Workload, template: Mapping[str, Any]) -> dict[str, Any]:
    """Of the pods' owner: with the hash of the whole pod template, so that a removed field counts
    as a change too, and with the Nodes that it was sized for."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    annotations = {labels.TEMPLATE_HASH: digest(text)[:16]}
    if workload.own_place is not None:
        annotations[labels.NODE_SHAPE] = workload.own_place.shape.to_text()
    return _metadata(workload, workload.name) | {"annotations": annotations}


def _inference_pod(workload: Workload) -> dict[str, Any]:
    volumes = [
        {"name": "dshm", "emptyDir": {"medium": "Memory"}},
        weights_volume(workload),
    ]
    mounts = [
        {"name": "dshm", "mountPath": "/dev/shm"},
        {"name": VOLUME, "mountPath": WEIGHTS_DIR},
    ]
    if workload.config_map:
        volumes.append({"name": "config-volume", "configMap": {"name": workload.config_map}})
        mounts.append({"name": "config-volume", "mountPath": CONFIG_DIR})
    pulled = [adapter for adapter in workload.adapters if adapter.image]
    if pulled:
        volumes.append({"name": "adapter-volume", "emptyDir": {}})
        mounts.append({"name": "adapter-volume", "mountPath": ADAPTERS_DIR})
    volumes += pod_scripts.pull_secret_volumes(
        secret for adapter in pulled for secret in adapter.pull_secrets
    )
    for adapter in workload.adapters:
        if not adapter.image:
            name = f"lora-{adapter.name}"
            volumes.append({"name": name, **plain(adapter.volume_source)})
            mounts.append({"name": name, "mountPath": f"{ADAPTERS_DIR}/{adapter.name}"})
    main = {
        "name": workload.name,
        "image": workload.image,
        "command": list(workload.command),
        "args": list(workload.arguments),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "env": _environment(workload),
        "resources": _gpu_resources(workload),
        "startupProbe": _probe(failures=ceil(workload.startup_limit_s / PROBE_PERIOD_S)),
        "livenessProbe": _probe(failures=3),
        "readinessProbe": _probe(failures=3, delay_s=30),
        "volumeMounts": mounts,
    }
    if workload.group is not None:
        main |= _group_member(workload.group, main)
    pod = _shared_pod_spec(workload) | {"containers": [main], "volumes": volumes}
    if pulled:
        pod["initContainers"] = [_puller(adapter) for adapter in pulled]
    return pod


def _group_member(group: RayGroup, single: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a single server's container a member of a group."""
    failures = single["startupProbe"]["failureThreshold"]
    return {
        **ray_pod.command(group, [*single["command"], *single["args"]]),
        "ports": [*single["ports"], *ray_pod.ports()],
        "env": [*single["env"], *ray_pod.environment()],
        **ray_pod.probes(group, port=PORT, period_s=PROBE_PERIOD_S, startup_failures=failures),
    }


def _shared_pod_spec(workload: Workload) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "affinity": {"nodeAffinity": node_affinity(workload)},
        "tolerations": _tolerations(),
    }
    if workload.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in workload.image_pull_secrets]
    return pod


def _tolerations() -> list[dict[str, Any]]:
    """Spot machines stay when the Workspace asks for others, so all pods tolerate them."""
    return [
        {"key": labels.GPU_RESOURCE, "operator": "Exists"},
        {
            "key": labels.GPU_TAINT_KEY,
            "operator": "Equal",
            "value": labels.GPU_TAINT_VALUE,
            "effect": "NoSchedule",
        },
        {
            "key": labels.AZURE_SPOT,
            "operator": "Equal",
            "value": labels.AZURE_SPOT_VALUE,
            "effect": "NoSchedule",
        },
    ]


def _port(workload: Workload) -> int:
    return PORT if workload.template is None else service_port(workload.template)


def _environment(workload: Workload) -> list[dict[str, Any]]:
    variables: list[dict[str, Any]] = [
        {"name": name, "value": value} for name, value in workload.environment
    ]
    # The engine reads an adapter's strength from the variable named like the adapter.
    variables += [
        {"name": adapter.name, "value": adapter.strength} for adapter in workload.adapters
    ]
    return variables + pod_scripts.model_access(
        workload.access_secret, required=workload.token_required
    )


def _gpu_resources(workload: Workload) -> dict[str, Any]:
    amount = {workload.gpu_resource: str(workload.gpus)}
    return {"requests": amount, "limits": dict(amount)}


def _probe(*, failures: int, delay_s: int = 0) -> dict[str, Any]:
    probe: dict[str, Any] = {
        "httpGet": {"path": "/health", "port": PORT},
        "periodSeconds": PROBE_PERIOD_S,
        "failureThreshold": failures,
    }
    if delay_s:
        probe["initialDelaySeconds"] = delay_s
    return probe


def _puller(adapter: AdapterMount) -> dict[str, Any]:
    mounts = [{"name": "adapter-volume", "mountPath": ADAPTERS_DIR}]
    mounts += pod_scripts.pull_secret_mounts(adapter.pull_secrets)
    target = f"{ADAPTERS_DIR}/{adapter.name}"
    puller = pod_scripts.puller(names.adapter_puller(adapter.name), adapter.image, target)
    return puller | {"volumeMounts": mounts}
