"""How a model is fine-tuned."""

from enum import StrEnum

__all__ = ["TuningMethod"]


class TuningMethod(StrEnum):
    LORA = "lora"
    QLORA = "qlora"
