"""Number formats of quantised weights: what a parameter takes, and which GPUs can read it."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """One format. `bits` are of one parameter with its share of the scales and zero points.

    `min_compute_capability` is the oldest GPU with kernels, be they ones that unpack to 16 bits
    (Marlin).
    """

    bits: Fraction
    min_compute_capability: tuple[int, int]

    @property
    def bytes_per_parameter(self) -> Fraction:
        return self.bits / 8


_TURING: Final = (7, 5)
_AMPERE: Final = (8, 0)

QUANTIZATIONS: Final[Mapping[str, Quantization]] = {
    # Blocks of 128 x 128 share a float32 scale.
    "fp8": Quantization(bits=8 + Fraction(32, 128 * 128), min_compute_capability=_AMPERE),
    # Groups of 128 share a 16-bit scale and a 4-bit zero point.
    "awq": Quantization(bits=4 + Fraction(20, 128), min_compute_capability=_TURING),
    "gptq": Quantization(bits=4 + Fraction(20, 128), min_compute_capability=_TURING),
    # A float32 scale for each output, which is next to nothing.
    "int8": Quantization(bits=Fraction(8), min_compute_capability=_TURING),
    # NF4: groups of 64 share a float32 scale, once vLLM has unpacked it.
    "bitsandbytes": Quantization(bits=4 + Fraction(32, 64), min_compute_capability=_TURING),
    # compressed-tensors' pack-quantized: groups of 32 share a 16-bit scale.
    "int4": Quantization(bits=4 + Fraction(16, 32), min_compute_capability=_AMPERE),
    # Groups of 32 share an 8-bit exponent (OCP Microscaling Formats 1.0).
    "mxfp4": Quantization(bits=4 + Fraction(8, 32), min_compute_capability=_AMPERE),
    # Groups of 16 share an fp8 scale.
    "nvfp4": Quantization(bits=4 + Fraction(8, 16), min_compute_capability=_AMPERE),
}
"""By name. Hardware: https://docs.vllm.ai/en/latest/features/quantization/supported_hardware/"""
