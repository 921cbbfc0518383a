"""What kaito's images do when they run: model servers, the trainer, and their helpers.

Decided from what a real container would see: its name, command and arguments.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from kaito.adapters.fake.container_phases import (
    ADAPTER_PULL,
    CUDA_GRAPHS,
    DATA_DOWNLOAD,
    ENGINE_INIT,
    IMAGE_PULL,
    MEMORY_PROFILING,
    RAY_GROUP,
    RAY_START,
    RESULTS_PUSH,
    TORCH_COMPILE,
    TRAINING,
    WEIGHTS_DOWNLOAD,
    WEIGHTS_LOAD,
    ContainerPlan,
    Failure,
    Member,
    Phase,
)
from kaito.adapters.fake.latencies import GIB, Latencies
from kaito.adapters.fake.streams import Streams
from kaito.adapters.kube_api import KubeObject, name_of, namespace_of

_VLLM_SERVER: Final = "/workspace/vllm/inference_api.py"
_TRANSFORMERS_SERVER: Final = "/workspace/tfs/inference_api.py"
_TRAINER: Final = "/workspace/tfs/fine_tuning.py"
_SCRIPTS: Final = (_VLLM_SERVER, _TRANSFORMERS_SERVER, _TRAINER)
_WEIGHTS_LOADER: Final = "model-weights-downloader"
_PUSHER: Final = "pusher"
_PAUSE: Final = "pause"
_GPU_PREFIX: Final = "nvidia.com/"


@dataclass(frozen=True, slots=True)
class Command:
    """A container's program, as far as it is one of ours: the script's path and its flags."""

    script: str
    flags: Mapping[str, str]

    @property
    def model(self) -> str:
        """The Hugging Face id that it is told to load."""
        return self.flags.get("model") or self.flags.get("pretrained_model_name_or_path") or ""

    def number(self, flag: str) -> int:
        """A parallel size; 1 where it is not given, or is no number."""
        text = self.flags.get(flag, "")
        return int(text) if text.isdecimal() and int(text) > 0 else 1


class Engine:
    """Implements `ContainerPhases`. `weight_bytes` is by Hugging Face id, in any case.

    Each pod draws from the stream `pod/<namespace>/<name>`, each pull from `image/<node>/<image>`.
    A pod's weights live in a volume that goes with it: they are downloaded for every pod, and kept
    over restarts of its containers only by the init container that fetched them.
    """

    def __init__(
        self, latencies: Latencies, streams: Streams, weight_bytes: Mapping[str, int]
    ) -> None:
        self._latencies = latencies
        self._streams = streams
        self._weight_bytes = {model.lower(): size for model, size in weight_bytes.items()}

    def image_pull(self, node: KubeObject, pod: KubeObject, container: str, image: str) -> Phase:
        """See `ContainerPhases`. The image of a container with a GPU is an engine's, a big one."""
        rng = self._streams.fresh(f"image/{name_of(node)}/{image}")
        latency = "image_pull" if _has_gpu(_container(pod, container)) else "small_image_pull"
        return Phase(IMAGE_PULL, self._latencies.sample_s(latency, rng), image)

    def plan(self, node: KubeObject, pod: KubeObject, container: str, image: str) -> ContainerPlan:
        """See `ContainerPhases`. What is not ours runs for ever, or exits at once in a Job."""
        rng = self._streams.get(f"pod/{namespace_of(pod)}/{name_of(pod)}")
        if any(one["name"] == container for one in pod["spec"].get("initContainers") or ()):
            return ContainerPlan(phases=self._init_phases(pod, container, rng), exits=True)
        main = _main_container(pod)
        if container != main["name"] and container in {_PUSHER, _PAUSE}:
            return self._sidecar(pod, container, rng)
        command = command_of(_container(pod, container))
        if command is None:
            return ContainerPlan(exits=(pod["spec"].get("restartPolicy") or "Always") == "Never")
        member = member_of(pod, _container(pod, container))
        if member is not None:
            return ContainerPlan(
                phases=self._group_phases(pod, command, member, rng), member=member
            )
        phases = self._engine_phases(pod, command, rng)
        return ContainerPlan(phases=phases, exits=command.script == _TRAINER)

    def stop_s(self, node: KubeObject, pod: KubeObject, container: str) -> float:
        """See `ContainerPhases`."""
        rng = self._streams.get(f"stop/{namespace_of(pod)}/{name_of(pod)}")
        return self._latencies.sample_s("container_stop", rng)

    def _init_phases(self, pod: KubeObject, container: str, rng: Random) -> tuple[Phase, ...]:
        if container.startswith("puller-"):
            detail = container.removeprefix("puller-")
            return (Phase(ADAPTER_PULL, self._latencies.sample_s("adapter_pull", rng), detail),)
        if container.startswith("data-"):
            detail = container.removeprefix("data-")
            return (Phase(DATA_DOWNLOAD, self._latencies.sample_s("data_download", rng), detail),)
        if container == _WEIGHTS_LOADER:
            command = command_of(_main_container(pod))
            model = command.model if command is not None else ""
            return (self._download(model, rng),)
        return ()

    def _sidecar(self, pod: KubeObject, container: str, rng: Random) -> ContainerPlan:
        """`pusher` works once the trainer has succeeded; `pause` ends with it."""
        main = _main_container(pod)["name"]
        if container == _PAUSE:
            return ContainerPlan(exits=True, after=main)
        args = _container(pod, container).get("args") or ()
        push = Phase(
            RESULTS_PUSH, self._latencies.sample_s("results_push", rng), args[0] if args else ""
        )
        return ContainerPlan(phases=(push,), exits=True, after=main)

    def _group_phases(
        self, pod: KubeObject, command: Command, member: Member, rng: Random
    ) -> tuple[Phase, ...]:
        """Ray first. The leader then waits until all have joined, and loads; what that takes on
        the others is part of its phases. The others wait until it serves."""
        ray = self._phase(RAY_START, "ray_start", rng)
        if member.rank:
            return (ray, Phase(RAY_GROUP, 0.0, member.leader_host, waits_for_group=True))
        wait = Phase(RAY_GROUP, 0.0, f"{member.size} pods", waits_for_group=True)
        return (ray, wait, *self._engine_phases(pod, command, rng, machines=member.size))

    def _engine_phases(
        self, pod: KubeObject, command: Command, rng: Random, *, machines: int = 1
    ) -> tuple[Phase, ...]:
        """What takes different times on several machines is over when the slowest is done."""
        is_vllm = command.script == _VLLM_SERVER
        gpus = command.number("tensor-parallel-size") * command.number("pipeline-parallel-size")
        phases = []
        if is_vllm:
            latency = "engine_init_vllm" if gpus == 1 else "engine_init_vllm_multi_gpu"
            phases.append(self._phase(ENGINE_INIT, latency, rng))
        if not _has_weights_loader(pod):
            download = max(
                (self._download(command.model, rng) for _ in range(machines)),
                key=lambda one: one.duration_s,
            )
            phases.append(download)
            if download.failure is not None:
                return tuple(phases)
        size = self._weight_bytes[command.model.lower()]
        loads = [self._load(command.model, size, gpus, rng) for _ in range(machines)]
        phases.append(max(loads, key=lambda one: one.duration_s))
        if command.script == _TRAINER:
            phases.append(self._phase(TRAINING, "training", rng))
        elif not is_vllm:
            phases.append(self._phase(ENGINE_INIT, "engine_init", rng))
        else:
            eager = "enforce-eager" in command.flags
            if not eager:
                phases.append(self._phase(TORCH_COMPILE, "torch_compile", rng))
            phases.append(self._phase(MEMORY_PROFILING, "memory_profiling", rng))
            if not eager:
                phases.append(self._phase(CUDA_GRAPHS, "cuda_graph_capture", rng))
        return tuple(phases)

    def _download(self, model: str, rng: Random) -> Phase:
        size = self._weight_bytes.get(model.lower())
        if size is None:
            message = f"Repository Not Found: no model {model!r} on https://huggingface.co"
            return Phase(WEIGHTS_DOWNLOAD, 0.0, model, Failure(exit_code=1, message=message))
        duration_s = self._latencies.sample_s("weights_download", rng, size_bytes=size)
        return Phase(WEIGHTS_DOWNLOAD, duration_s, f"{model}, {size / GIB:.1f} GiB")

    def _load(self, model: str, size: int, gpus: int, rng: Random) -> Phase:
        latency = "weights_load" if gpus == 1 else "weights_load_multi_gpu"
        duration_s = self._latencies.sample_s(latency, rng, size_bytes=size // gpus)
        shares = f" on each of {gpus} GPUs" if gpus > 1 else ""
        return Phase(WEIGHTS_LOAD, duration_s, f"{size / gpus / GIB:.1f} GiB{shares}")

    def _phase(self, name: str, latency: str, rng: Random) -> Phase:
        return Phase(name, self._latencies.sample_s(latency, rng))


def command_of(container: Mapping[str, Any]) -> Command | None:
    """The container's program if it is one of ours, in exec form or within `sh -c "..."`."""
    words = _words(container)
    for index, word in enumerate(words):
        script = next((known for known in _SCRIPTS if word.endswith(known)), "")
        if script:
            return Command(script, _flags(words[index + 1 :]))
    return None


def member_of(pod: KubeObject, container: Mapping[str, Any]) -> Member | None:
    """Its place in a Ray group, from the options of the script that starts Ray and the pod's name;
    None where it starts a server of its own."""
    options = _flags(_words(container))
    size, rank = options.get("ray_cluster_size", ""), name_of(pod).rpartition("-")[2]
    if not size.isdecimal() or not rank.isdecimal() or not options.get("ray_address"):
        return None
    return Member(leader_host=options["ray_address"], rank=int(rank), size=int(size))


def _words(container: Mapping[str, Any]) -> list[str]:
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    if "-c" in words[:-1]:
        index = words.index("-c") + 1
        words = [*_shell_words(words[index]), *words[index + 1 :]]
    return words


def _shell_words(script: str) -> list[str]:
    try:
        return [word.rstrip(";") for word in shlex.split(script)]
    except ValueError:  # an open quote: no program of ours
        return []


def _flags(words: Sequence[str]) -> dict[str, str]:
    """`--a=1 --b 2 --c` -> `{"a": "1", "b": "2", "c": ""}`."""
    flags = {}
    for index, word in enumerate(words):
        if not word.startswith("--"):
            continue
        name, equals, value = word[2:].partition("=")
        following = words[index + 1] if index + 1 < len(words) else "--"
        flags[name] = value if equals or following.startswith("-") else following
    return flags


def _container(pod: KubeObject, name: str) -> Mapping[str, Any]:
    spec = pod["spec"]
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        if container["name"] == name:
            found: Mapping[str, Any] = container
            return found
    raise AssertionError(f"pod {name_of(pod)} has no container {name}")


def _main_container(pod: KubeObject) -> Mapping[str, Any]:
    """The first one, as in every pod that kaito makes."""
    main: Mapping[str, Any] = pod["spec"]["containers"][0]
    return main


def _has_weights_loader(pod: KubeObject) -> bool:
    inits = pod["spec"].get("initContainers") or ()
    return any(container["name"] == _WEIGHTS_LOADER for container in inits)


def _has_gpu(container: Mapping[str, Any]) -> bool:
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return any(name.startswith(_GPU_PREFIX) for name in asked)
