"""Bytes of parts in their number formats, as a config's quantization_config tells them."""

from dataclasses import dataclass
from math import ceil

from kaito.domain.hf_config.parts import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFormat:
    """A number format of linear layers. `bits` are of one element; each group of `rows` x
    `columns` of them shares a scale of `scale_bytes` and a zero point of `zero_bits`; None is the
    whole dimension."""

    bits: int
    rows: int | None = 1
    columns: int | None = None
    scale_bytes: int = 0
    zero_bits: int = 0
    index_bytes: int = 0  # per input (GPTQ's g_idx)

    def matrix_bytes(self, outputs: int, inputs: int) -> int:
        groups = ceil(outputs / (self.rows or outputs)) * ceil(inputs / (self.columns or inputs))
        weights = ceil(outputs * inputs * self.bits / 8)
        scales = groups * self.scale_bytes + ceil(groups * self.zero_bits / 8)
        return weights + scales + inputs * self.index_bytes


def part_bytes(part: Part, width: int, chosen: WeightFormat | None) -> int:
    """Bytes of a part where a number of the model takes `width` bytes."""
    if chosen is None:
        return part.parameters * (part.element_bytes or width)
    size = chosen.matrix_bytes(part.outputs, part.inputs)
    return part.copies * (size + part.outputs * part.bias * width)
