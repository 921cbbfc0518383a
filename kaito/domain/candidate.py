"""One layout under consideration: what it holds, and the words that explain it or refuse it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from kaito.domain.engine import EngineChoice
from kaito.domain.errors import DomainError
from kaito.domain.gpu import InstanceType
from kaito.domain.known_error import KnownError
from kaito.domain.memory import KV_BLOCK_TOKENS, MemoryBreakdown, budget_bytes, budget_share
from kaito.domain.model import EngineName, ModelProfile
from kaito.domain.quantity import GIB, gib_text

_SHOWN_FROM_BYTES: Final = GIB // 100


class DoesNotFit(DomainError):
    """The model needs more GPU memory than the machines have; bytes are per GPU."""

    def __init__(
        self,
        message: str,
        *,
        remedy: str,
        binds: str,
        requested_bytes: int,
        available_bytes: int,
    ) -> None:
        self.message = message
        self.remedy = remedy
        self.binds = binds  # the part that is too large: a field of MemoryBreakdown
        self.requested_bytes = requested_bytes
        self.available_bytes = available_bytes
        super().__init__(f"{message}. {remedy}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    nodes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A layout with its memory as a function of the context, the `longest` one that fits, and the
    longest `safe` one, which leaves the known error of memory free; -1: not even an empty one.
    `utilization` is the share of a card that the user chose for vLLM, None kaito's."""

    model: ModelProfile
    instance_type: InstanceType
    choice: EngineChoice
    layout: Layout
    memory_of: Callable[[int], MemoryBreakdown]
    longest: int
    safe: int
    error: KnownError
    utilization: Fraction | None = None

    @property
    def budget(self) -> int:
        gpu, engine = self.instance_type.gpu, self.choice.engine.name
        return budget_bytes(gpu, engine, self.utilization)

    @property
    def holds_all(self) -> bool:
        """Whether the model's whole limit fits."""
        return self.longest == self.model.token_limit


def longest_within(memory_of: Callable[[int], MemoryBreakdown], budget: int, limit: int) -> int:
    """Most tokens, up to `limit`, whose memory stays within the budget; -1 where none does."""
    low, high = -1, limit
    while low < high:
        middle = (low + high + 1) // 2
        if memory_of(middle).total <= budget:
            low = middle
        else:
            high = middle - 1
    return low


def refusal(candidate: Candidate, least: int) -> DoesNotFit:
    model, instance_type, layout = candidate.model, candidate.instance_type, candidate.layout
    needed = candidate.memory_of(least)
    weights_fit = candidate.longest >= 0
    room = f", which leaves room for {candidate.longest} tokens" if weights_fit else ""
    length, shorter = "tokens of context", "ask for a shorter context"
    if not needed.kv_cache:  # tuning caches nothing
        length, shorter = "tokens a sequence", "train on shorter sequences or smaller batches"
    alternative = f", or {shorter}" if weights_fit else ""
    where = f"{layout.nodes} x {instance_type.name}" if layout.nodes > 1 else instance_type.name
    parts = candidate.memory_of(0).parts
    grows = "kv_cache" if needed.kv_cache else "activations"
    return DoesNotFit(
        f"{model.name} with {least} {length} does not fit {where}: "
        f"{candidate.choice.engine.name} needs {gib_text(needed.total)} per GPU "
        f"({_parts_text(needed)}) of the {gib_text(candidate.budget)} that it may use on "
        f"{instance_type.gpu.name}{room}",
        remedy=f"Choose an instance type with more GPU memory{alternative}",
        binds=grows if weights_fit else max(parts, key=parts.__getitem__),
        requested_bytes=needed.total,
        available_bytes=candidate.budget,
    )


def _parts_text(memory: MemoryBreakdown) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {gib_text(size)}"
        for name, size in memory.parts.items()
        if size >= _SHOWN_FROM_BYTES
    )


def budget_text(candidate: Candidate, memory: MemoryBreakdown) -> str:
    gpu, engine = candidate.instance_type.gpu, candidate.choice.engine.name
    share = float(100 * budget_share(gpu, engine, candidate.utilization))
    return (
        f"each {gpu.name} reports {gib_text(gpu.usable_bytes)}, of which {engine} may use "
        f"{share:g}% = {gib_text(candidate.budget)}; taken: "
        f"{_parts_text(memory)}"
    )


def layout_text(candidate: Candidate) -> Iterator[str]:
    if candidate.choice.warning:
        yield candidate.choice.warning
    layout, per_node = candidate.layout, candidate.instance_type.gpu_count
    gpus = layout.nodes * per_node
    if gpus == 1:
        return
    replicas = f"{layout.data_parallel} replicas" if layout.data_parallel > 1 else "one replica"
    split = []
    if layout.tensor_parallel > 1:
        split.append(f"{layout.tensor_parallel} ways by heads (tensor parallel)")
    if layout.pipeline_parallel > 1:
        split.append(f"{layout.pipeline_parallel} ways by layers (pipeline)")
    how = f"split {' and '.join(split)}" if split else "one each"
    text = f"{gpus} GPUs hold {replicas}, {how}"
    heads = candidate.model.attention
    if candidate.choice.engine.name is EngineName.VLLM and not heads.splits_into(per_node):
        text += f"; {heads.heads} heads and {heads.kv_heads} KV heads do not split {per_node} ways"
    yield text


def spare_text(candidate: Candidate, context: int) -> str:
    """How the known error bears on a context that nobody asked for; empty where a whole limit
    leaves it free."""
    error = f"{gib_text(candidate.error.size)}, the known error of memory"
    if candidate.safe >= context:
        return (
            ""
            if candidate.holds_all
            else f"{context} tokens are planned, which leaves free {error}"
        )
    why = "the whole limit leaves" if candidate.holds_all else "even the fewest of use leave"
    return f"{context} tokens are planned, and memory is tight: {why} less free than {error}"


def context_text(candidate: Candidate, cached: int) -> str:
    memory_of, limit = candidate.memory_of, candidate.model.token_limit
    step = memory_of(2 * KV_BLOCK_TOKENS).total - memory_of(KV_BLOCK_TOKENS).total
    per_token = f"{step / KV_BLOCK_TOKENS / 1024:.0f} KiB per token and GPU"
    if candidate.holds_all:
        return (
            f"the model's whole limit of {limit} tokens fits, at {per_token}; each replica holds "
            f"{cached} tokens in all"
        )
    return (
        f"the longest context that fits is {candidate.longest} of the model's {limit} tokens, at "
        f"{per_token}"
    )
