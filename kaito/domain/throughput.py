"""What users of an engine see: time to first token, time per output token, tokens per second, cost.

All of it follows from `StepModel.seconds`. vLLM batches continuously: each step continues every
running sequence by one token and fills what is left of its token budget with prompts that wait, so
a prompt lengthens the steps of everybody else. docs/throughput.md derives each formula.
"""

from dataclasses import dataclass, replace
from typing import Final

from kaito.domain.step_time import StepModel

__all__ = [
    "Demand",
    "Performance",
    "closed_loop",
    "cost_per_million_tokens",
    "largest_rate",
    "open_loop",
]

_BISECTIONS: Final = 40
_NEXT_TO_NONE: Final = 1e-3  # sequences
_LARGEST_BATCH: Final = 1024  # vLLM's largest default --max-num-seqs


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What requests look like on average, and what the engine may do about them.

    `cache_tokens` is how many tokens the KV cache of one replica holds, `batched_tokens` the budget
    of one step (--max-num-batched-tokens), `max_sequences` the most that run at once.
    """

    input_tokens: float
    output_tokens: float
    cache_tokens: float = float("inf")
    batched_tokens: int = 8192
    max_sequences: int = _LARGEST_BATCH

    def __post_init__(self) -> None:
        for name, least in (
            ("input_tokens", 1),
            ("output_tokens", 1),
            ("cache_tokens", 0),
            ("batched_tokens", 1),
            ("max_sequences", 1),
        ):
            if not getattr(self, name) >= least:
                raise ValueError(f"Demand: {name} must be >= {least}, got {getattr(self, name)}")

    @property
    def context(self) -> float:
        """Tokens that a running sequence has cached, on average over its output."""
        return self.input_tokens + self.output_tokens / 2

    @property
    def slots(self) -> float:
        """Sequences that can run at once."""
        return max(1.0, min(float(self.max_sequences), self.cache_tokens / self.context))


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Means over requests, in seconds; `running` sequences at a time, `waiting` for a slot.

    `tokens_per_s` counts output tokens of one replica. `saturated`: more requests than slots.
    """

    ttft_s: float
    tpot_s: float
    running: float
    waiting: float
    requests_per_s: float
    tokens_per_s: float
    saturated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Steps:
    """The steps of an engine that runs so many sequences, in seconds."""

    decode: float  # a step without a prompt
    mixed: float  # a step with a share of `group` prompts
    group: float  # prompts that are worked on together
    shares: float  # steps that they take

    @property
    def prompt(self) -> float:
        """From the first to the last of a prompt's steps."""
        return self.shares * self.mixed

    @property
    def added(self) -> float:
        """What one prompt adds to the time of everybody else's next tokens."""
        return self.shares * (self.mixed - self.decode) / self.group


def closed_loop(
    step: StepModel, demand: Demand, concurrency: float, *, rounds: float | None = None
) -> Performance:
    """`concurrency` clients per replica, each of which asks again once it is answered.

    `rounds` is for benchmarks that start all clients at one moment and stop after so many requests
    of each; None is the steady state.
    """
    assert concurrency > 0, concurrency
    running = min(concurrency, demand.slots)
    steps = _steps(step, demand, running)
    others = max(0.0, running - 1) * steps.added / demand.output_tokens * _delay(step)
    # The last round is followed by none: on average half of its neighbours' prompts are missed.
    tpot = steps.decode + others * (1.0 if rounds is None else 1 - 0.5 / rounds)
    answer = steps.prompt + demand.output_tokens * tpot
    busy = min(1.0, running * steps.prompt / (running * steps.prompt + answer))
    current = busy * steps.mixed + (1 - busy) * steps.decode
    # Prompts that come during the same step are worked on together; more than one are in `group`.
    company = min(1.0, max(0.0, running - 1) / answer * current)
    mixed, shares = _mixed(step, demand, running, steps.group + company)
    first = step.request_s + current / 2 + max(shares * mixed, steps.prompt)
    if rounds is not None:
        first += (_burst(step, demand, running) - first + step.request_s) / rounds
    waiting = concurrency - running
    rate = running / (first + (demand.output_tokens - 1) * tpot)
    return Performance(
        ttft_s=first + waiting / rate,
        tpot_s=tpot,
        running=running,
        waiting=waiting,
        requests_per_s=rate,
        tokens_per_s=rate * demand.output_tokens,
        saturated=waiting > 0,
    )


def open_loop(step: StepModel, demand: Demand, rate: float) -> Performance | None:
    """Requests that come at random (Poisson), `rate` per second; None if that is more than the
    replica can ever answer."""
    assert rate > 0, rate
    if closed_loop(step, demand, demand.slots).requests_per_s <= rate:
        return None
    low, high = 0.0, demand.slots
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if closed_loop(step, demand, middle).requests_per_s > rate:
            high = middle
        else:
            low = middle
    return _at_random(step, demand, high)


def largest_rate(
    step: StepModel, demand: Demand, *, ttft_s: float | None = None, tpot_s: float | None = None
) -> Performance | None:
    """The most requests per second that keep both means; None if not even a single one does."""
    assert ttft_s is None or ttft_s > 0, ttft_s
    assert tpot_s is None or tpot_s > 0, tpot_s

    def kept(running: float) -> Performance | None:
        found = _at_random(step, demand, running)
        first = ttft_s is None or found.ttft_s <= ttft_s
        return found if first and (tpot_s is None or found.tpot_s <= tpot_s) else None

    low, high = _NEXT_TO_NONE, demand.slots
    best = kept(low)
    if best is None:
        return None
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        found = kept(middle)
        if found is None:
            high = middle
        else:
            low, best = middle, found
    return best


def cost_per_million_tokens(usd_per_hour: float, tokens_per_s: float) -> float:
    """US dollars for a million output tokens of a replica that costs so much and does so much."""
    assert usd_per_hour >= 0, usd_per_hour
    assert tokens_per_s > 0, tokens_per_s
    return usd_per_hour / 3600 / tokens_per_s * 1e6


def _at_random(step: StepModel, demand: Demand, running: float) -> Performance:
    """Poisson arrivals at the rate that keeps so many sequences running. A prompt waits for others
    as in a queue with one server that takes the same time for each (M/D/1)."""
    steady = closed_loop(step, demand, running)
    steps = _steps(step, demand, running)
    load = steady.requests_per_s * steps.added
    assert load < 1, load  # an answer takes at least what all running prompts add
    queue = load / (2 * (1 - load)) * steps.prompt
    waiting = steady.requests_per_s * queue
    return replace(steady, ttft_s=steady.ttft_s + queue, waiting=waiting)


def _steps(step: StepModel, demand: Demand, running: float) -> _Steps:
    # Each pipeline stage works on its own part of the sequences.
    batch = running / step.pipeline_parallel
    # A sequence's first token is its prompt's; the others are decoded.
    later = 1 - 1 / demand.output_tokens
    decode = step.seconds(decodes=batch * later, context=demand.context)
    # As many prompts come per step as sequences end in it; less than one has a step to itself.
    group = max(1.0, running / demand.output_tokens)
    mixed, shares = _mixed(step, demand, running, group)
    return _Steps(decode=decode, mixed=max(mixed, decode), group=group, shares=shares)


def _mixed(step: StepModel, demand: Demand, running: float, prompts: float) -> tuple[float, float]:
    """Seconds of one of the steps that so many prompts share, and how many such steps they take."""
    tokens = prompts * demand.input_tokens
    shares = max(1.0, tokens / demand.batched_tokens)
    seconds = step.seconds(
        prefill_tokens=tokens / shares,
        prefill_context=demand.input_tokens / 2,
        prefills=prompts / shares,
        decodes=max(0.0, running / step.pipeline_parallel - prompts),
        context=demand.context,
    )
    return seconds, shares


def _delay(step: StepModel) -> float:
    """Share of a prompt's time that others wait for: all of it in its own part of the batch, and in
    the other stages' parts what it takes in one stage."""
    own = 1 / step.pipeline_parallel
    return own + (1 - own) * own


def _burst(step: StepModel, demand: Demand, prompts: float) -> float:
    """Mean time to the first token of so many prompts that arrive together."""
    tokens = prompts * demand.input_tokens
    count = max(1.0, tokens / demand.batched_tokens)
    one = step.seconds(
        prefill_tokens=tokens / count,
        prefill_context=demand.input_tokens / 2,
        prefills=prompts / count,
        decodes=prompts / 2,
        context=demand.input_tokens,
    )
    return one * (count + 1) / 2
