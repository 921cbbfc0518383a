"""Whether a tuning job fits an instance type, and with how much to spare."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kaito.domain.candidate import (
    Candidate,
    Layout,
    budget_text,
    layout_text,
    longest_within,
    refusal,
)
from kaito.domain.engine import EngineChoice
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.fit_plan import FitPlan, fit_plan
from kaito.domain.gpu import InstanceType
from kaito.domain.known_error import TUNING_ERROR
from kaito.domain.memory import MemoryBreakdown, budget_bytes
from kaito.domain.model import EngineName, ModelProfile
from kaito.domain.tuning_memory import TUNING_LORA_RANK, TUNING_SEQUENCE_TOKENS, tuning_memory
from kaito.domain.tuning_method import TuningMethod

__all__ = ["TuningRequest", "check_tunable", "fit_tuning"]

_MOST: Final = 10**6  # of a batch or a rank


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningRequest:
    """How a model is tuned: tokens of the longest sequence, sequences of a batch on each GPU, rank
    of the adapter, and whether activations are worked out again (gradient checkpointing)."""

    method: TuningMethod
    sequence_tokens: int = TUNING_SEQUENCE_TOKENS
    batch_size: int = 1
    lora_rank: int = TUNING_LORA_RANK
    gradient_checkpointing: bool = True

    def check(self, model: ModelProfile) -> None:
        """Raises: InvalidInput with every size that is none, or beyond what the model can do; or
        where the model cannot be tuned so."""
        check_tunable(model, self.method)
        problems = [*self._problems(model)]
        if problems:
            raise InvalidInput(problems)

    def _problems(self, model: ModelProfile) -> Iterator[Problem]:
        limits = {
            "--sequence-length": (self.sequence_tokens, model.token_limit),
            "--batch-size": (self.batch_size, _MOST),
            "--rank": (self.lora_rank, _MOST),
        }
        for field, (value, most) in limits.items():
            if not 1 <= value <= most:
                yield Problem(
                    field=field, message=f"must be within 1..{most} for {model.name}, got {value}"
                )


def fit_tuning(
    model: ModelProfile, instance_type: InstanceType, request: TuningRequest, choice: EngineChoice
) -> FitPlan:
    """One node, one whole copy of the model on each of its GPUs. Sequences are cut at the model's
    limit.

    Raises: DoesNotFit; InvalidInput when the model cannot be tuned so.
    """
    if choice.engine.name is not EngineName.TRANSFORMERS:
        raise ValueError(f"tuning runs on transformers, not on {choice.engine.name}")
    check_tunable(model, request.method)

    def memory_of(tokens: int) -> MemoryBreakdown:
        return tuning_memory(
            model,
            instance_type.gpu,
            request.method,
            sequence_tokens=tokens,
            batch_size=request.batch_size,
            lora_rank=request.lora_rank,
            gradient_checkpointing=request.gradient_checkpointing,
        )

    budget = budget_bytes(instance_type.gpu, choice.engine.name)
    longest = longest_within(memory_of, budget, model.token_limit)
    candidate = Candidate(
        model=model,
        instance_type=instance_type,
        choice=choice,
        layout=Layout(data_parallel=instance_type.gpu_count),
        memory_of=memory_of,
        longest=longest,
        safe=longest_within(memory_of, budget - TUNING_ERROR.size, longest),
        error=TUNING_ERROR,
    )
    wanted = min(request.sequence_tokens, model.token_limit)
    if longest < wanted:
        raise refusal(candidate, wanted)
    memory = memory_of(wanted)
    explanation = (
        *layout_text(candidate),
        budget_text(candidate, memory),
        f"sequences of up to {longest} tokens fit at batch size {request.batch_size}",
    )
    return fit_plan(candidate, longest, memory, explanation)


def check_tunable(model: ModelProfile, method: TuningMethod) -> None:
    """Raises: InvalidInput where the model cannot be tuned at all, or not with this method."""
    if model.tuning is None:
        problem = Problem(
            field="tuning.preset.name",
            message=f"{model.name} cannot be tuned",
            remedy="Choose a model whose file has the key tuning, such as phi-4-mini-instruct",
            rule="tuning-supported",
        )
        raise InvalidInput([problem])
    if method not in model.tuning.methods:
        methods = ", ".join(model.tuning.methods)
        problem = Problem(
            field="tuning.method",
            message=f"{model.name} cannot be tuned with {method}, but with {methods}",
            remedy="Choose another method or model",
            rule="tuning-supported",
        )
        raise InvalidInput([problem])
