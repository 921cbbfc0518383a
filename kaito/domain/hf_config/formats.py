"""Number formats of weights, and the bytes that a part takes in one.

Groups and scales: vllm-project/vllm vllm/model_executor/layers/quantization/{fp8,awq_marlin,
gptq_marlin,modelopt,mxfp4,bitsandbytes}.py and compressed_tensors/schemes/.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from kaito.domain.hf_config.parts import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFormat:
    """A number format of linear layers.

    `bits` are of one element. Each `rows` x `columns` of them (outputs x inputs) share a scale of
    `scale_bytes` and a zero point of `zero_bits`; 0 rows or columns are the whole dimension. Each
    input takes `index_bytes` (GPTQ's g_idx). `name` is a key of QUANTIZATIONS.
    """

    name: str
    bits: int
    rows: int = 1
    columns: int = 0
    scale_bytes: int = 0
    zero_bits: int = 0
    index_bytes: int = 0

    def matrix_bytes(self, outputs: int, inputs: int) -> int:
        """Bytes of one matrix with its scales."""
        groups = ceil(outputs / (self.rows or outputs)) * ceil(inputs / (self.columns or inputs))
        weights = ceil(outputs * inputs * self.bits / 8)
        scales = groups * self.scale_bytes + ceil(groups * self.zero_bits / 8)
        return weights + scales + inputs * self.index_bytes


FP8_TENSOR: Final = WeightFormat(name="fp8", bits=8, rows=0, scale_bytes=4)
FP8_CHANNEL: Final = WeightFormat(name="fp8", bits=8, scale_bytes=4)
INT8_CHANNEL: Final = WeightFormat(name="int8", bits=8, scale_bytes=4)
MXFP4: Final = WeightFormat(name="mxfp4", bits=4, columns=32, scale_bytes=1)
NVFP4: Final = WeightFormat(name="nvfp4", bits=4, columns=16, scale_bytes=1)
BITSANDBYTES_4: Final = WeightFormat(name="bitsandbytes", bits=4, columns=64, scale_bytes=4)
"""vLLM unpacks doubly quantised scales to float32 as it loads (bitsandbytes_loader.py)."""


def fp8_blocks(rows: int, columns: int) -> WeightFormat:
    """Blocks that share a float32 scale (DeepSeek)."""
    return WeightFormat(name="fp8", bits=8, rows=rows, columns=columns, scale_bytes=4)


def integer_groups(
    name: str, bits: int, group: int, *, zero_points: bool, index: bool = False
) -> WeightFormat:
    """Groups of `group` inputs that share a 16-bit scale (AWQ, GPTQ, compressed-tensors); -1 is
    all of them."""
    return WeightFormat(
        name=name,
        bits=bits,
        columns=max(0, group),
        scale_bytes=2,
        zero_bits=bits if zero_points else 0,
        index_bytes=4 if index else 0,
    )


def part_bytes(part: Part, width: int, chosen: WeightFormat | None) -> int:
    """Bytes of a part where an unquantised element takes `width` bytes."""
    if chosen is None:
        return part.parameters * (part.element_bytes or width)
    size = chosen.matrix_bytes(part.outputs, part.inputs)
    return part.copies * (size + part.outputs * part.bias * width)


def predominant(sizes: Mapping[str, int]) -> str | None:
    """The format that most quantised elements are in; None where there are none."""
    return max(sizes, key=lambda name: sizes[name]) if sizes else None
