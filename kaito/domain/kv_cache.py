"""The KV cache as vLLM allocates it: blocks of one size, shared by groups of layers.

Layers that remember alike form groups of equally many layers, and each group has its own list of
blocks for a sequence. A block is as large as the pages of one group, one page a layer, and every
page has the same size: where layers cache less per token, their pages hold more tokens, and states
are padded. Sources: vllm-project/vllm vllm/v1/core/kv_cache_utils.py (get_kv_cache_groups,
unify_kv_cache_spec_page_size, get_max_concurrency_for_kv_cache_config) and
vllm/v1/kv_cache_interface.py (max_memory_usage_bytes of each spec). Both are held against a real
vLLM by tests/integration/test_vllm_kv_cache.py.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from math import ceil
from typing import Final

from kaito.domain.model import ModelProfile
from kaito.domain.vllm_defaults import KV_BLOCK_TOKENS

__all__ = ["KvCache", "KvGroup", "Memory", "kv_cache_of", "states_held"]

_EVEN_GROUPS: Final = Fraction(3, 2)
_PREFIX_CACHED_STATES: Final = (0, 27)
"""First release that caches the prefixes of hybrid models by default, and so holds two states of a
sequence (vllm-project/vllm pull request 50991, merged after 0.26;
vllm/v1/kv_cache_interface.py, MambaSpec.max_memory_usage_bytes)."""
_CHECKPOINTED_STATES: Final = (0, 32)
"""First release whose Mamba-2 layers keep a third state, taken in the middle of a prefill
(vllm/model_executor/layers/mamba/mamba_mixer2.py, get_kv_cache_spec)."""
_MAMBA2: Final = ("NemotronH", "GraniteMoeHybrid")  # how the names of such architectures begin


class Memory(StrEnum):
    """What a layer remembers of a sequence."""

    CONTEXT = "context"  # all of it
    WINDOW = "window"  # the last tokens
    CHUNK = "chunk"  # the last tokens since a multiple of so many
    STATE = "state"  # a state of fixed size


@dataclass(frozen=True, slots=True, kw_only=True)
class KvGroup:
    """Layers that share lists of blocks: `lists` of them, each block of `block_tokens` tokens."""

    memory: Memory
    layers: int
    block_tokens: int = KV_BLOCK_TOKENS
    window: int = 0  # tokens, of a chunk too
    lists: int = 1
    states: int = 1

    def blocks(self, tokens: int, step_tokens: int) -> int:
        """Blocks of a sequence of so many tokens; `step_tokens` are computed before blocks that lie
        outside a window are freed (`in_flight_tokens`).

        A window may begin in the middle of a block, hence one more; chunks begin with one.
        """
        if self.memory is Memory.STATE:
            return self.lists * self.states
        if self.memory is Memory.CONTEXT:
            return self.lists * -(-tokens // self.block_tokens)
        if self.memory is Memory.CHUNK:
            return self.lists * ceil(min(tokens, self.window + step_tokens) / self.block_tokens)
        held = min(tokens, self.window - 1 + step_tokens)
        return self.lists * (ceil(held / self.block_tokens) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KvCache:
    """The cache on one GPU; `block_bytes` 0 is a rank without any layer that caches."""

    block_bytes: int
    groups: tuple[KvGroup, ...]

    def blocks(self, tokens: int, step_tokens: int) -> int:
        """Blocks that one sequence of so many tokens holds; none for an empty one."""
        if tokens == 0:
            return 0
        blocks = 0
        for group in self.groups:
            blocks += group.blocks(tokens, step_tokens)
        return blocks

    def bytes_of(self, tokens: int, step_tokens: int) -> int:
        """Bytes that one sequence of so many tokens holds."""
        return self.block_bytes * self.blocks(tokens, step_tokens)

    def tokens_within(self, room: int, tokens: int, step_tokens: int) -> int:
        """Tokens that `room` bytes cache in all, in sequences of `tokens` (at least 1): what vLLM
        prints as "GPU KV cache size", and its "maximum concurrency" times the context where layers
        have a window or a state."""
        blocks = max(0, room) // self.block_bytes
        if len(self.groups) == 1 and self.groups[0].memory is Memory.CONTEXT:
            return blocks * self.groups[0].block_tokens
        return blocks * tokens // self.blocks(tokens, step_tokens)


def kv_cache_of(
    model: ModelProfile,
    *,
    layers: int | None = None,
    tensor_parallel: int = 1,
    states: int = 1,
    block_tokens: int = KV_BLOCK_TOKENS,
) -> KvCache:
    """The cache on a rank that holds `layers` of the model's layers (None: all). A sequence has so
    many `states` in each layer that keeps one. `block_tokens` is --block-size.

    Groups are formed of the layers of all ranks, and a rank has its part of each: as many lists,
    shorter blocks. Layers of a group are taken as spread evenly over the ranks, rounded up
    (vllm/v1/core/kv_cache_utils.py, _project_kv_cache_groups_to_worker).
    """
    here = model.layers if layers is None else layers
    local, recurrent, indexer = model.local_attention, model.recurrent, model.indexer
    tokens = indexer.block_tokens if indexer else block_tokens
    kinds: list[tuple[KvGroup, int]] = []  # with the bytes of a page
    if model.full_attention_layers:
        page = tokens * model.cached_bytes(model.attention, tensor_parallel)
        window = model.attention.sliding_window or 0
        group = KvGroup(
            memory=Memory.WINDOW if window else Memory.CONTEXT,
            layers=model.full_attention_layers,
            block_tokens=tokens,
            window=window,
        )
        kinds.append((group, page))
    if local is not None:
        page = block_tokens * model.cached_bytes(local.attention, tensor_parallel)
        group = KvGroup(
            memory=Memory.CHUNK if local.chunked else Memory.WINDOW,
            layers=local.layers,
            block_tokens=block_tokens,
            window=local.window,
        )
        kinds.append((group, page))
    if recurrent is not None:
        state = recurrent.bytes_per_gpu(tensor_parallel)
        # Pages of attention grow in steps of a block until they hold a state.
        kinds = [_enlarged(group, page, ceil(state / page)) for group, page in kinds]
        group = KvGroup(memory=Memory.STATE, layers=recurrent.layers, states=states)
        kinds.append((group, state))
    if not kinds:
        return KvCache(block_bytes=0, groups=())
    largest = max(page for _, page in kinds)
    counts = [group.layers for group, _ in kinds]
    evenly = max(counts) < min(counts) * _EVEN_GROUPS
    group_layers = max(counts) if evenly else min(counts)
    groups = [_enlarged(group, page, largest // page)[0] for group, page in kinds]
    # The indexer's keys lie beside the pages of its layers, in the same blocks.
    keys = indexer.layers * tokens * indexer.cached_bytes if indexer else 0
    pages = ceil(Fraction(group_layers * here, model.layers)) * largest
    return KvCache(
        block_bytes=pages + ceil(Fraction(keys * here, model.layers)),
        groups=tuple(replace(one, lists=ceil(one.layers / group_layers)) for one in groups),
    )


def states_held(model: ModelProfile, release: tuple[int, int]) -> int:
    """States of a sequence in each layer that keeps one, in this release of vLLM."""
    if release < _PREFIX_CACHED_STATES:
        return 1
    return 3 if release >= _CHECKPOINTED_STATES and model.architecture.startswith(_MAMBA2) else 2


def _enlarged(group: KvGroup, page: int, times: int) -> tuple[KvGroup, int]:
    """The group with pages of so many times the tokens; states have none, and are padded."""
    if group.memory is Memory.STATE:
        return group, page
    return replace(group, block_tokens=group.block_tokens * times), page * times
