"""A layout that fits, with what it leaves free."""

from collections.abc import Sequence
from dataclasses import dataclass

from kaito.domain.candidate import Candidate
from kaito.domain.engine import Engine
from kaito.domain.known_error import KnownError, Verdict, verdict_of
from kaito.domain.memory import PRIORS, MemoryBreakdown
from kaito.domain.server_request import NOTHING_ASKED, ServerRequest

__all__ = ["FitPlan", "fit_plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPlan:
    """A layout that fits. Bytes are per GPU, on the fullest one.

    `pipeline_parallel` counts stages: over nodes with vLLM, over the GPUs of the one node with
    transformers. `max_model_len` is the context asked for, or without one the model's limit or the
    longest that leaves the known `error` of memory free; for tuning it is the longest sequence that
    fits. `memory` is with one
    sequence of that context (tuning: of the sequence asked for), `kv_cache_tokens` what one replica
    caches in all, `max_num_seqs` how many sequences it runs at once at most, and `headroom_bytes`
    what is left of the engine's budget. `asked` are the settings of vLLM that it was made for.
    """

    instance_type: str
    engine: Engine
    dtype: str
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    nodes: int = 1
    max_model_len: int
    max_num_seqs: int = 1
    kv_cache_tokens: int = 0
    memory: MemoryBreakdown
    headroom_bytes: int
    error: KnownError
    explanation: tuple[str, ...]
    asked: ServerRequest = NOTHING_ASKED

    @property
    def budget_bytes(self) -> int:
        """What the engine may use of a GPU."""
        return self.memory.total + self.headroom_bytes

    @property
    def max_concurrency(self) -> int:
        """Sequences of the whole context that run at once, over all replicas."""
        cached = self.kv_cache_tokens // self.max_model_len
        return self.data_parallel * min(cached, self.max_num_seqs)

    @property
    def verdict(self) -> Verdict:
        """Fits, or tight."""
        return verdict_of(self.headroom_bytes, self.error)


def fit_plan(
    candidate: Candidate,
    max_model_len: int,
    memory: MemoryBreakdown,
    explanation: Sequence[str],
    *,
    max_num_seqs: int = 1,
    kv_cache_tokens: int = 0,
    asked: ServerRequest = NOTHING_ASKED,
) -> FitPlan:
    """The candidate, taken, with what is assumed about its memory added to the explanation."""
    assert memory.total <= candidate.budget, (memory, candidate.budget)
    layout = candidate.layout
    return FitPlan(
        instance_type=candidate.instance_type.name,
        engine=candidate.choice.engine,
        dtype=candidate.choice.dtype,
        tensor_parallel=layout.tensor_parallel,
        pipeline_parallel=layout.pipeline_parallel,
        data_parallel=layout.data_parallel,
        nodes=layout.nodes,
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
        kv_cache_tokens=kv_cache_tokens,
        memory=memory,
        headroom_bytes=candidate.budget - memory.total,
        error=candidate.error,
        explanation=(*explanation, *(f"assumed: {PRIORS[key]}" for key in memory.priors)),
        asked=asked,
    )
