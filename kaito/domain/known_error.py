"""How far off the memory model is known to be, for each family of models.

The error that matters is over-prediction: a cache that turns out smaller than was foretold. What a
plan leaves free is told in multiples of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kaito.domain.model import EngineName
from kaito.domain.quantity import GIB

__all__ = [
    "TUNING_ERROR",
    "WORST_OVER_GIB",
    "KnownError",
    "Verdict",
    "known_error",
    "verdict_of",
]

_LEAST_START_UPS: Final = 3  # fewer say little about the worst

WORST_OVER_GIB: Final[Mapping[str, tuple[int, float]]] = {
    "DeepseekV2ForCausalLM": (3, 0.11),
    "GptOssForCausalLM": (6, 0.10),
    "GraniteForCausalLM": (7, 0.21),
    "Llama4ForConditionalGeneration": (1, 0.32),
    "LlamaForCausalLM": (19, 1.54),
    "PhiForCausalLM": (1, 0.01),
    "Qwen2ForCausalLM": (3, 1.25),
    "Qwen2MoeForCausalLM": (1, 0.02),
    "Qwen3ForCausalLM": (2, 0.02),
    "Qwen3MoeForCausalLM": (1, 0.29),
}
"""By architecture class: start-ups with a known KV cache, and the most GiB per GPU that were
foretold too many, rounded up, by constants fitted without the family. From
presets/calibration/memory.yaml (docs/accuracy.md); tests/unit/domain/test_known_error.py works it
out again."""

_WORST_OF_ALL_GIB: Final = max(gib for _, gib in WORST_OVER_GIB.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownError:
    """Bytes per GPU that a plan may turn out short of; `start_ups` of the family were measured,
    0: the worst of all families is assumed."""

    size: int
    start_ups: int
    source: str

    def multiples(self, headroom_bytes: int) -> float:
        """How many times the error a head-room is."""
        return headroom_bytes / self.size


def known_error(architecture: str, engine: EngineName) -> KnownError:
    """The worst over-prediction of the family on vLLM; where fewer than three of its start-ups are
    known, and for transformers, of which none is, the worst of all families."""
    start_ups, gib = WORST_OVER_GIB.get(architecture, (0, 0.0))
    if engine is EngineName.VLLM and start_ups >= _LEAST_START_UPS:
        source = f"the worst of {start_ups} measured start-ups of {architecture}"
        return KnownError(size=round(gib * GIB), start_ups=start_ups, source=source)
    of = architecture if engine is EngineName.VLLM else f"the {engine} engine"
    return KnownError(
        size=round(_WORST_OF_ALL_GIB * GIB),
        start_ups=0,
        source=f"assumed, the worst of all measured families: of {of} too little was measured",
    )


TUNING_ERROR: Final = KnownError(
    size=round(_WORST_OF_ALL_GIB * GIB),
    start_ups=0,
    source="assumed, the worst of all families that were measured while they served: no tuning was "
    "measured",
)
"""What a tuning job leaves free, though nothing published says how far off its memory is."""


class Verdict(StrEnum):
    """What memory says. Tight: it fits, and less is left than the prediction may be off by."""

    FITS = "fits"
    TIGHT = "tight"
    DOES_NOT_FIT = "does not fit"


def verdict_of(headroom_bytes: int, error: KnownError) -> Verdict:
    """Of a head-room, in bytes per GPU; below 0 there is none."""
    if headroom_bytes < 0:
        return Verdict.DOES_NOT_FIT
    return Verdict.FITS if headroom_bytes >= error.size else Verdict.TIGHT
