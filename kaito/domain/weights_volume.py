"""Where the weights of a model live: on its machine's local NVMe disks, or on the OS disk.

Local disks are used through a StorageClass, where there is one and every machine that may be bought
has such disks. It is decided when the first machine is ordered and written onto its record, since
the size of the OS disk follows from it. As long as one of the machines stays, so does the answer: a
StorageClass that appears or goes replaces no pod.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from kaito.domain.gpu import InstanceType
from kaito.domain.machine import Machine
from kaito.domain.model import ModelProfile
from kaito.domain.quantity import GIB

# A model's disk is that of its files and this much for system, images and working space, rounded
# down to whole GiB (kaito-project/kaito@056b8280b presets/workspace/generator/generator.go:35,656).
SYSTEM_DISK_BYTES: Final = 80 * GIB
# What ext4 takes by default: 5 % kept for root, and an inode of 256 bytes for each 16 KiB (mke2fs
# -m, -I and -i). With less, a claim of the files' size does not hold them.
_FILE_SYSTEM_PERCENT: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDisks:
    """Of which StorageClass the weights' volumes may be; empty for the OS disk. `bought`: machines
    are there that were ordered for it."""

    storage_class: str = ""
    bought: bool = False

    def chosen(self, instance_types: Iterable[InstanceType]) -> str:
        """The StorageClass to use on machines of these types, any of which may be bought."""
        return self.storage_class if all(each.nvme for each in instance_types) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsVolume:
    """A volume on local disks for the weights of one pod."""

    storage_class: str
    size_bytes: int


def local_disks(machines: Iterable[Machine], instance_type: str, available: str) -> LocalDisks:
    """What the Workspace's machines of the type that it names first were ordered for; without any,
    `available`, the StorageClass that the cluster has, empty for none.

    Where they differ, the local disks: whatever was ordered for them has no room elsewhere, and all
    have them.
    """
    recorded = [
        machine.spec.weights_class
        for machine in machines
        if not machine.deleting
        and machine.spec.instance_type.casefold() == instance_type.casefold()
    ]
    if not recorded:
        return LocalDisks(storage_class=available)
    return LocalDisks(storage_class=max(recorded), bought=True)


def weights_volume(model: ModelProfile, storage_class: str) -> WeightsVolume | None:
    """The volume that each pod of the model gets, None on the OS disk. It holds every file of the
    model, which each machine of a group downloads too, and the file system's own share."""
    if not storage_class:
        return None
    size = _files_bytes(model) * 100 // (100 - _FILE_SYSTEM_PERCENT)
    return WeightsVolume(storage_class=storage_class, size_bytes=-(-size // GIB) * GIB)


def os_disk_bytes(model: ModelProfile, disk_bytes: int) -> int:
    """What is left of `disk_bytes`, which holds the weights too, when they live elsewhere; not less
    than the system takes."""
    return min(disk_bytes, max(disk_bytes - _files_bytes(model), SYSTEM_DISK_BYTES))


def _files_bytes(model: ModelProfile) -> int:
    """The model's files: its weights, in all the forms in which they are published. What was
    rounded off may be there."""
    return max(model.weight_bytes, model.disk_bytes - SYSTEM_DISK_BYTES + GIB)
