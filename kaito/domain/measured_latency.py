"""Measured latencies of served models, and what the model of throughput says in their place."""

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final

from kaito.domain.gpu import Gpu
from kaito.domain.model import ModelProfile
from kaito.domain.step_time import Efficiency, Layout, StepModel, step_model
from kaito.domain.throughput import Demand, closed_loop, open_loop

__all__ = [
    "Latency",
    "Load",
    "Measurement",
    "Prediction",
    "Predictor",
]

_WAIT_FACTOR: Final = 1.25


class Load(StrEnum):
    CLOSED = "closed"  # so many clients, each asks again once it is answered
    OPEN = "open"  # Poisson
    BATCH = "batch"  # so many equal prompts at once, nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Means over requests, in seconds: to the first token, and per further token."""

    ttft_s: float
    tpot_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One published measurement. `concurrency` is of all attention replicas together; an open load
    has a `rate` (requests per second) instead. `rounds` is how many requests each client of a
    closed load asked, all starting at once."""

    id: str
    model_name: str  # as the source calls it
    model: ModelProfile
    gpu_name: str
    gpu: Gpu
    layout: Layout
    load: Load
    demand: Demand
    concurrency: float = 1.0
    rate: float = 0.0
    rounds: float | None = None
    ttft_s: float | None = None  # measured; None: it holds more than the engine's part
    tpot_s: float
    source: str

    def __post_init__(self) -> None:
        for name in ("ttft_s", "tpot_s", "concurrency"):
            value = getattr(self, name)
            if value is not None and not 0 < value < inf:
                raise ValueError(f"Measurement: {name} must be a number above 0, got {value}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Equal for releases of one architecture and size."""
        return self.model.layers, self.model.hidden_size, self.model.intermediate_size

    @property
    def waited(self) -> bool:
        """Whether the measured time to the first token shows that requests waited for a slot.

        In a closed loop the first of n requests waits at most for the prompts of the others, which
        the output then waits for as well: 1/n of a request's time, and half of that per round at
        the start of a benchmark.
        """
        if self.load is not Load.CLOSED or self.ttft_s is None:
            return False
        share = 1 / self.concurrency + (0.5 / self.rounds if self.rounds else 0.0)
        total = self.demand.output_tokens * self.tpot_s
        return self.ttft_s > _WAIT_FACTOR * share * total


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    latency: Latency
    saturated: bool


class Predictor:
    """Predicts measurements with one set of efficiencies; each (model, GPU, layout) is worked out
    once."""

    def __init__(self, efficiency: Efficiency) -> None:
        self._efficiency = efficiency
        self._steps: dict[tuple[int, int, Layout], StepModel] = {}

    def predict(self, one: Measurement) -> Prediction:
        """What would be measured; a rate beyond the engine's is predicted as its limit."""
        step, demand = self._step(one), one.demand
        if one.load is Load.BATCH:
            first = step.seconds(
                prefill_tokens=demand.input_tokens * one.concurrency,
                prefill_context=demand.input_tokens / 2,
                prefills=one.concurrency,
            )
            token = step.seconds(decodes=one.concurrency, context=demand.context)
            return Prediction(
                latency=Latency(ttft_s=first, tpot_s=token),
                saturated=one.concurrency > demand.slots,
            )
        if one.load is Load.OPEN:
            found = open_loop(step, demand, one.rate)
            limit = found or closed_loop(step, demand, demand.slots)
            return Prediction(
                latency=Latency(ttft_s=limit.ttft_s, tpot_s=limit.tpot_s), saturated=found is None
            )
        each = one.concurrency / one.layout.data_parallel
        closed = closed_loop(step, demand, each, rounds=one.rounds)
        return Prediction(
            latency=Latency(ttft_s=closed.ttft_s, tpot_s=closed.tpot_s), saturated=closed.saturated
        )

    def _step(self, one: Measurement) -> StepModel:
        key = (id(one.model), id(one.gpu), one.layout)
        found = self._steps.get(key)
        if found is None:
            found = step_model(one.model, one.gpu, one.layout, self._efficiency)
            self._steps[key] = found
        return found
