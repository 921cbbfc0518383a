"""What no formula gives of vLLM's memory: constants read off start-up logs."""

from dataclasses import dataclass
from typing import Final

from kaito.domain.quantity import GIB

__all__ = ["MEASURED", "EngineConstants"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConstants:
    """Bytes per GPU.

    `runtime_*` is what grows outside of torch while vLLM starts: kernels and libraries, and NCCL's
    buffers within a tensor-parallel group; ranks of a pipeline connect later, and take no more
    than one that is alone. CUDA graphs are
    `graphs_base`, so much for each layer of a rank, and `graphs_per_routing` for each expert that a
    token goes to.
    """

    runtime_alone: int
    runtime_tensor: int
    graphs_base: int
    graphs_per_layer: int
    graphs_per_routing: int


MEASURED: Final = EngineConstants(
    runtime_alone=int(0.25 * GIB),
    runtime_tensor=int(2.12 * GIB),
    graphs_base=int(0.39 * GIB),
    graphs_per_layer=int(0.0141 * GIB),
    graphs_per_routing=int(0.0051 * GIB),
)
"""Fitted on presets/calibration/memory.yaml by `domain.calibration`, rounded."""
