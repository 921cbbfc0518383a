"""Efficiencies as fitted to presets/calibration/latency.yaml.

tests/unit/adapters/test_latency_table.py fits them again.
"""

from typing import Final

from kaito.domain.speed_calibration import Calibration
from kaito.domain.step_time import Efficiency

__all__ = ["CALIBRATED"]

CALIBRATED: Final = Calibration(
    common=Efficiency(
        weight_read=0.736,
        cache_read=0.567,
        expert_read=0.872,
        gemm=0.463,
        expert_gemm=0.232,
        attention=0.451,
        all_reduce_s=5.41e-06,
        layer_s=3.37e-05,
        expert_layer_s=2.05e-05,
        step_s=0.000392,
        sequence_s=1.28e-05,
        request_s=0.0147,
        expert_passes=14.2,
        prompt_layer_s=0.000666,
        eager_layer_s=0.000439,
    ),
    by_capability={
        (8, 0): Efficiency(
            weight_read=0.758,
            cache_read=0.565,
            expert_read=0.872,
            gemm=0.474,
            expert_gemm=0.232,
            attention=0.453,
            all_reduce_s=5.42e-06,
            layer_s=3.37e-05,
            expert_layer_s=2.05e-05,
            step_s=0.000392,
            sequence_s=1.28e-05,
            request_s=0.0147,
            expert_passes=14.2,
            prompt_layer_s=0.000678,
            eager_layer_s=0.000545,
        ),
        (9, 0): Efficiency(
            weight_read=0.774,
            cache_read=0.532,
            expert_read=0.786,
            gemm=0.475,
            expert_gemm=0.202,
            attention=0.462,
            all_reduce_s=5.25e-06,
            layer_s=3.4e-05,
            expert_layer_s=2.05e-05,
            step_s=0.000393,
            sequence_s=1.29e-05,
            request_s=0.0147,
            expert_passes=14.6,
            prompt_layer_s=0.000623,
            eager_layer_s=0.000385,
        ),
        (10, 0): Efficiency(
            weight_read=0.684,
            cache_read=0.591,
            expert_read=0.956,
            gemm=0.397,
            expert_gemm=0.263,
            attention=0.459,
            all_reduce_s=5.38e-06,
            layer_s=3.38e-05,
            expert_layer_s=1.96e-05,
            step_s=0.000372,
            sequence_s=1.18e-05,
            request_s=0.0153,
            expert_passes=14.8,
            prompt_layer_s=0.00072,
            eager_layer_s=0.000439,
        ),
    },
)
