"""A share of a Node's GPUs (`resource.partition`), on Nodes that users bring.

`accelerator`: some of a Node's whole GPUs. `mig`: one slice of a card that is cut into Multi-
Instance GPUs, which the device plugin offers as a resource of its own: its strategy is `mixed`
(https://github.com/NVIDIA/k8s-device-plugin, "MIG support").
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Final

from kaito.domain import labels
from kaito.domain.catalogue import Catalogue
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.gpu import Gpu, InstanceType
from kaito.domain.names import did_you_mean
from kaito.domain.quantity import MIB
from kaito.domain.workspace import Partition, Workspace

FIELD: Final = "resource.partition"
_MEMORY_SLICES: Final = 8
_COMPUTE_SLICES: Final = 7


def partition_problems(workspace: Workspace, catalogue: Catalogue) -> Iterator[Problem]:
    """What is wrong with the partition that is asked for, if there is one."""
    partition = workspace.resource.partition
    if partition is None:
        return
    if partition.mode == "mig":
        yield from _mig_problems(partition, catalogue)
    else:
        yield from _accelerator_problems(partition)
    if workspace.tuning is not None:
        yield Problem(
            field=FIELD,
            message="is not possible for tuning, which takes every GPU of its machine",
            remedy="Remove it",
            rule="partition-preset",
        )
    if workspace.inference is not None and workspace.inference.template is not None:
        yield Problem(
            field=FIELD,
            message="is for presets: a template says itself what its containers get",
            remedy=f"Remove it, and ask for {labels.GPU_RESOURCE} or a slice in the template",
            rule="partition-preset",
        )


def _mig_problems(partition: Partition, catalogue: Catalogue) -> Iterator[Problem]:
    known = {profile for gpu in catalogue.gpus for profile, _ in gpu.mig_memory_eighths}
    if not partition.profile:
        yield Problem(
            field=f"{FIELD}.profile",
            message="is required with mode mig",
            remedy="Name a MIG profile, such as 1g.10gb",
            rule="partition-profile",
        )
    elif partition.profile not in known:
        yield Problem(
            field=f"{FIELD}.profile",
            message=f"unknown MIG profile {partition.profile!r}",
            remedy=did_you_mean(partition.profile, known),
            rule="partition-profile",
        )
    if partition.count is not None:
        yield Problem(
            field=f"{FIELD}.count",
            message="is for mode accelerator: a pod gets one MIG slice",
            remedy="Remove it, or choose a larger profile",
            rule="partition-count",
        )


def _accelerator_problems(partition: Partition) -> Iterator[Problem]:
    if partition.count is None:
        yield Problem(
            field=f"{FIELD}.count",
            message="is required with mode accelerator",
            remedy="Say how many GPUs of a Node the model may have",
            rule="partition-count",
        )
    if partition.profile:
        yield Problem(
            field=f"{FIELD}.profile",
            message="is for mode mig",
            remedy="Remove it, or set mode: mig",
            rule="partition-profile",
        )


def mig_profile(partition: Partition | None) -> str:
    """The MIG profile that is asked for; empty for whole GPUs."""
    return partition.profile if partition is not None and partition.mode == "mig" else ""


def gpu_resource(profile: str) -> str:
    """The name under which the device plugin offers a slice, or without a profile a whole GPU."""
    return f"{labels.MIG_PREFIX}{profile}" if profile else labels.GPU_RESOURCE


def memory_label(profile: str) -> str:
    """The Node label with a slice's memory in MiB."""
    return f"{gpu_resource(profile)}.memory"


def sharing_label(profile: str) -> str:
    """The Node label with a slice's product, which ends in -SHARED where pods share slices."""
    return f"{gpu_resource(profile)}.product"


def slice_of(gpu: Gpu, profile: str, memory_mib: int) -> Gpu | None:
    """One slice of the card as a GPU of its own, with the memory that the Node reports, in MiB;
    None where the card has no such profile, or none with so much memory.

    A profile's name begins with its share of the multiprocessors, in sevenths. Bandwidth goes with
    the memory.
    """
    eighths = dict(gpu.mig_memory_eighths).get(profile)
    if eighths is None:
        return None
    share = Fraction(eighths, _MEMORY_SLICES)
    reported = memory_mib * MIB
    most = int(gpu.memory_bytes * share)
    if not 0 < reported <= most:
        return None
    sevenths = int(profile.partition("g")[0])
    return replace(
        gpu,
        name=f"{gpu.name} MIG {profile}",
        memory_bytes=most,
        reported_bytes=reported,
        prior=False,
        memory_bandwidth_bytes_per_s=int(gpu.memory_bandwidth_bytes_per_s * share),
        fp16_flops=gpu.fp16_flops * sevenths / _COMPUTE_SLICES,
        mig_memory_eighths=(),
    )


def mig_slices(gpu: Gpu, reported_share: Fraction) -> Iterator[tuple[str, int, Gpu]]:
    """The MIG profiles of a card: name, how many slices of it a card can be cut into, and one as a
    GPU that reports so much of its memory.

    A card has eight slices of memory and seven of multiprocessors.
    Source: https://docs.nvidia.com/datacenter/tesla/mig-user-guide/ "Partitioning".
    """
    for profile, eighths in gpu.mig_memory_eighths:
        mib = int(gpu.memory_bytes * eighths * reported_share) // _MEMORY_SLICES // MIB
        one = slice_of(gpu, profile, mib)
        assert one is not None, profile
        sevenths = int(profile.partition("g")[0])
        count = min(_COMPUTE_SLICES // sevenths, _MEMORY_SLICES // eighths)
        yield profile, count, replace(one, prior=True)


def shared(instance_type: InstanceType, partition: Partition | None) -> InstanceType:
    """The instance type with as many of its GPUs as may be used.

    Raises: InvalidInput (it has fewer).
    """
    count = whole_gpus(partition)
    if not count or count == instance_type.gpu_count:
        return instance_type
    if count > instance_type.gpu_count:
        problem = Problem(
            field=f"{FIELD}.count",
            message=f"is {count}, but {instance_type.name} has {instance_type.gpu_count} GPUs",
            remedy="Ask for fewer, or remove it to have all of them",
            rule="partition-count",
        )
        raise InvalidInput([problem])
    of = f"{count} of {instance_type.gpu_count} GPUs"
    return replace(instance_type, name=f"{instance_type.name} ({of})", gpu_count=count, prices={})


def whole_gpus(partition: Partition | None) -> int:
    """How many of a Node's whole GPUs may be used; 0: all."""
    if partition is None or partition.mode != "accelerator":
        return 0
    return partition.count or 0
