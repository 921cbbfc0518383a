"""The workload to run on the machines, before it is written as Kubernetes objects."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kaito.domain.labels import GPU_RESOURCE
from kaito.domain.machine import Owner
from kaito.domain.node_shape import NodeShape
from kaito.domain.ray_group import RayGroup
from kaito.domain.weights_volume import WeightsVolume
from kaito.domain.workspace import LabelSelector


class WorkloadKind(StrEnum):
    INFERENCE = "inference"
    TUNING = "tuning"
    TEMPLATE = "template"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterMount:
    """A LoRA adapter: copied out of an image, or a volume of the user's."""

    name: str
    strength: str
    image: str = ""
    pull_secrets: tuple[str, ...] = ()
    volume_source: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningData:
    """Where a tuning job reads and writes. `retries`: how often a failed attempt is repeated;
    `retry`: the wish to run it again, as the Workspace's annotation kaito.sh/retry says."""

    urls: tuple[str, ...] = ()
    input_image: str = ""
    input_pull_secrets: tuple[str, ...] = ()
    input_volume: Mapping[str, Any] | None = None
    output_image: str = ""
    push_secret: str = ""
    output_volume: Mapping[str, Any] | None = None
    results_dir: str = "/mnt/results"
    retries: int = 0
    retry: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPlace:
    """On which of the Nodes that users bring pods may run: those that are selected and of the
    shape, and rather on those that are preferred, by name."""

    selector: LabelSelector
    shape: NodeShape
    preferred: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One engine on `replicas` pods with `gpus` of a `gpu_resource` each; with a `group` they serve
    one model together, else each serves its own copy. A change reaches only the pods from number
    `partition` on.

    `command` and `arguments` are an exec form: no shell reads them. `config_map` is mounted at
    /mnt/config; a new `config_hash` rolls the pods. `training_config` is the content of a ConfigMap
    that kaito makes when a tuning Workspace names none. `generation` is the Workspace's.
    `node_labels` are those of its machines; with an `own_place` there are none. With a `template`,
    the user's pod template, there is neither model nor image, command and arguments. Without
    `weights` the model is on the OS disk.
    """

    kind: WorkloadKind
    owner: Owner
    owner_api_version: str
    model: str
    image: str
    command: tuple[str, ...]
    arguments: tuple[str, ...]
    gpus: int
    replicas: int
    partition: int = 0
    node_labels: Mapping[str, str]
    own_place: OwnPlace | None = None
    group: RayGroup | None = None
    gpu_resource: str = GPU_RESOURCE
    weights: WeightsVolume | None = None
    environment: tuple[tuple[str, str], ...] = ()
    adapters: tuple[AdapterMount, ...] = ()
    config_map: str = ""
    config_hash: str = ""
    access_secret: str = ""
    token_required: bool = False  # of access_secret: without it nothing can be downloaded
    startup_limit_s: int = 1800
    generation: int = 0
    image_pull_secrets: tuple[str, ...] = ()
    load_balancer: bool = False
    training_config: Mapping[str, Any] | None = None
    tuning: TuningData | None = None
    template: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        """The name of the StatefulSet or Job, and of the Service."""
        return self.owner.name
