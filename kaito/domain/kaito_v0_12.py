"""How many nodes KAITO v0.12 would take for a model: to compare with, never to decide by.

Constants and order of decisions: kaito-project/kaito@056b8280b
pkg/workspace/estimator/nodesestimator/estimator.go:34-197. Our own answer is `domain.fit`, which
counts what is really cached and split; where the two differ, this says what users are used to.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from kaito.domain import labels
from kaito.domain.catalogue import Catalogue, UnknownInstanceType
from kaito.domain.errors import DomainError
from kaito.domain.model import ModelProfile
from kaito.domain.quantity import GIB

GPU_MEMORY_UTILIZATION: Final = 0.84
WEIGHT_EXPANSION: Final = 1.02  # loaded weights against the size of the files
BASE_OVERHEAD_BYTES: Final = 2.3 * GIB  # per GPU
OVERHEAD_WEIGHT_SHARE: Final = 0.05  # overhead that grows with the weights on a GPU
DEFAULT_CONTEXT_TOKENS: Final = 2048
KV_ELEMENT_BYTES: Final = 2

_COUNTED_TWICE: Final = frozenset({"openai/gpt-oss-20b", "openai/gpt-oss-120b"})
_MIG_PROFILE: Final = re.compile(r"[1-9][0-9]*g\.([0-9]+)(?:\.[0-9]+)?gb", re.ASCII)


class KaitoRefuses(DomainError):
    """KAITO v0.12 gives no number of nodes, but this message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KaitoModel:
    """What KAITO's estimate knows of a model. `size_bytes` is of its files, all copies together."""

    name: str
    size_bytes: int
    kv_bytes_per_token: int
    distributable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class KaitoNode:
    """What it knows of a node: `memory_bytes` are the brochure's, of all GPUs together."""

    gpus: int
    memory_bytes: int
    mig_profile: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KaitoEstimate:
    """The terms of KAITO v0.12's formula, as it computes them: bytes in floating point.

    `available`, `cache` and `overhead` are per GPU, `weights` of the whole model as it is loaded.
    """

    context_tokens: int
    available: float
    cache: float
    overhead: float
    weights: float
    gpus: int  # of a node
    nodes: int

    @property
    def weights_per_gpu(self) -> float:
        """Taken as evenly shared out over every GPU."""
        return self.weights / (self.nodes * self.gpus)


def kaito_v0_12_nodes(
    model: KaitoModel | None,
    node: KaitoNode | None,
    *,
    context_tokens: int | None = None,
    asked: int | None = None,
) -> int:
    """Nodes by KAITO v0.12's formula, all in its floating-point arithmetic.

    `model` None is a Workspace without a preset, which gets what it asked for, or one node. With a
    preset `asked` is not looked at. `context_tokens` None is KAITO's default of 2048.

    Raises: KaitoRefuses.
    """
    if model is None:
        return asked or 1
    assert node is not None, "a preset is sized for a node"
    return kaito_v0_12_estimate(model, node, context_tokens).nodes


def kaito_v0_12_estimate(
    model: KaitoModel, node: KaitoNode, context_tokens: int | None = None
) -> KaitoEstimate:
    """How it comes to its number of nodes. Raises: KaitoRefuses."""
    context = DEFAULT_CONTEXT_TOKENS if context_tokens is None else context_tokens
    available = node.memory_bytes // node.gpus * GPU_MEMORY_UTILIZATION
    cache = context * model.kv_bytes_per_token / node.gpus
    reserve = BASE_OVERHEAD_BYTES + cache
    if available <= reserve:
        raise KaitoRefuses(
            f"GPU memory {available:.0f} bytes is too small, needs at least {reserve:.0f} bytes"
        )
    budget = (available - reserve) / (1 + OVERHEAD_WEIGHT_SHARE)
    weights = model.size_bytes * WEIGHT_EXPANSION
    least_gpus = int(weights / budget) + 1
    nodes = ceil(least_gpus / node.gpus)
    if nodes > 1 and node.mig_profile:
        raise KaitoRefuses(
            f"{model.name} needs more than one GPU, but MIG profile {node.mig_profile} only "
            f"provides {node.memory_bytes // GIB}GB"
        )
    if nodes > 1 and not model.distributable:
        raise KaitoRefuses(f"{model.name} cannot be distributed across more than 1 GPU node")
    share = OVERHEAD_WEIGHT_SHARE * weights / (nodes * node.gpus)
    return KaitoEstimate(
        context_tokens=context,
        available=available,
        cache=cache,
        overhead=BASE_OVERHEAD_BYTES + share,
        weights=weights,
        gpus=node.gpus,
        nodes=nodes,
    )


def kaito_model(profile: ModelProfile) -> KaitoModel:
    """The figures that KAITO's catalogue has for a model of ours.

    Its sizes are rounded to hundredths of a GiB, and count both copies in the repositories of
    gpt-oss; its cache takes every layer for one with full attention, and 16 bits.
    """
    copies = 2 if profile.hf_id.casefold() in _COUNTED_TWICE else 1
    gib = round(copies * profile.weight_bytes / GIB, 2)
    local = profile.local_attention
    attention = local.attention if local else profile.attention
    return KaitoModel(
        name=profile.name,
        size_bytes=ceil(gib * GIB),
        kv_bytes_per_token=profile.layers * attention.cached_elements() * KV_ELEMENT_BYTES,
    )


def kaito_node(instance_type: str, catalogue: Catalogue) -> KaitoNode:
    """The GPUs of an instance type that KAITO v0.12 lists. Raises: KaitoRefuses."""
    try:
        found = catalogue.instance_type(instance_type)
    except UnknownInstanceType:
        found = None
    if found is None or found.legacy:
        raise KaitoRefuses(f"failed to get GPU config for instance type {instance_type}")
    return KaitoNode(gpus=found.gpu_count, memory_bytes=found.total_gpu_memory_bytes)


def kaito_own_node(nodes: Sequence[Mapping[str, str]], mig_profile: str = "") -> KaitoNode:
    """The GPUs of the Nodes that a user brings, by the labels of the first, or of one MIG slice.

    Raises: KaitoRefuses.
    """
    if mig_profile:
        slices = _MIG_PROFILE.fullmatch(mig_profile)
        if slices is None or not int(slices[1]):
            raise KaitoRefuses(f"failed to get MIG GPU config: invalid profile {mig_profile!r}")
        return KaitoNode(gpus=1, memory_bytes=int(slices[1]) * GIB, mig_profile=mig_profile)
    if not nodes:
        raise KaitoRefuses("no ready nodes found, unable to determine GPU configuration")
    found = nodes[0]
    count, memory = found.get(labels.GPU_COUNT, ""), found.get(labels.GPU_MEMORY, "")
    if not found.get(labels.GPU_PRODUCT) or not count.isdecimal() or not memory.isdecimal():
        raise KaitoRefuses("failed to get GPU config from existing nodes")
    gib = (int(memory) + 512) // 1024  # halves are rounded up
    return KaitoNode(gpus=int(count), memory_bytes=int(count) * gib * GIB)
