"""Efficiencies as fitted to presets/calibration/latency.yaml.

tests/unit/adapters/test_latency_table.py fits them again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kaito.domain.gpu import Gpu
from kaito.domain.step_time import Efficiency

__all__ = ["CALIBRATED", "Calibration"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Efficiencies of all GPUs, and of the compute capabilities that have measurements."""

    common: Efficiency
    by_capability: Mapping[tuple[int, int], Efficiency]

    def efficiency(self, gpu: Gpu) -> Efficiency:
        capability = gpu.compute_capability
        return (
            self.common if capability is None else self.by_capability.get(capability, self.common)
        )

    def is_prior(self, gpu: Gpu) -> bool:
        """Whether nothing was measured on such a card: its efficiencies are those of others."""
        return gpu.compute_capability not in self.by_capability


CALIBRATED: Final = Calibration(
    common=Efficiency(
        weight_read=0.736,
        cache_read=0.567,
        expert_read=0.871,
        gemm=0.462,
        expert_gemm=0.233,
        attention=0.452,
        all_reduce_s=5.41e-06,
        layer_s=3.38e-05,
        expert_layer_s=2.04e-05,
        step_s=0.000392,
        sequence_s=1.3e-05,
        request_s=0.0154,
        expert_passes=14.4,
        prompt_layer_s=0.000656,
        eager_layer_s=0.000439,
    ),
    by_capability={
        (8, 0): Efficiency(
            weight_read=0.758,
            cache_read=0.565,
            expert_read=0.871,
            gemm=0.474,
            expert_gemm=0.233,
            attention=0.453,
            all_reduce_s=5.43e-06,
            layer_s=3.38e-05,
            expert_layer_s=2.04e-05,
            step_s=0.000392,
            sequence_s=1.3e-05,
            request_s=0.0154,
            expert_passes=14.4,
            prompt_layer_s=0.000669,
            eager_layer_s=0.000545,
        ),
        (9, 0): Efficiency(
            weight_read=0.775,
            cache_read=0.533,
            expert_read=0.786,
            gemm=0.474,
            expert_gemm=0.203,
            attention=0.463,
            all_reduce_s=5.25e-06,
            layer_s=3.4e-05,
            expert_layer_s=2.04e-05,
            step_s=0.000393,
            sequence_s=1.31e-05,
            request_s=0.0153,
            expert_passes=14.8,
            prompt_layer_s=0.000616,
            eager_layer_s=0.000385,
        ),
        (10, 0): Efficiency(
            weight_read=0.685,
            cache_read=0.591,
            expert_read=0.955,
            gemm=0.395,
            expert_gemm=0.264,
            attention=0.459,
            all_reduce_s=5.38e-06,
            layer_s=3.38e-05,
            expert_layer_s=1.96e-05,
            step_s=0.000372,
            sequence_s=1.2e-05,
            request_s=0.016,
            expert_passes=15.1,
            prompt_layer_s=0.000705,
            eager_layer_s=0.000439,
        ),
    },
)
