"""The numbers are worked out by hand from vLLM's rules, per case."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.files import load_catalogue
from kaito.domain.kv_cache import KvCache, Memory, kv_cache_of, states_held
from kaito.domain.model import Attention, Indexer, LocalAttention, ModelProfile, RecurrentLayers

STEP = 8192
ATTENTION = Attention(heads=32, kv_heads=8, head_dim=128)
PAGE = 16 * 2 * 8 * 128 * 2


@pytest.fixture(scope="module")
def base() -> ModelProfile:
    """32 layers of full attention with 8 KV heads."""
    return replace(
        load_catalogue().model("phi-4"),
        layers=32,
        attention=ATTENTION,
        vocab_size=128256,
        token_limit=131072,
    )


def windowed(base: ModelProfile, local: int, window: int, **changes: object) -> ModelProfile:
    layers = LocalAttention(layers=local, window=window, attention=ATTENTION)
    return replace(base, local_attention=replace(layers, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("tokens", "blocks"), [(0, 0), (1, 1), (16, 1), (17, 2), (131072, 8192)])
def test_full_attention_takes_whole_blocks(base: ModelProfile, tokens: int, blocks: int) -> None:
    cache = kv_cache_of(base)
    assert cache.block_bytes == 32 * PAGE
    assert cache.bytes_of(tokens, STEP) == blocks * 32 * PAGE


@pytest.mark.parametrize(("shards", "share"), [(2, 2), (8, 8), (16, 8)])
def test_a_rank_holds_at_least_one_head(base: ModelProfile, shards: int, share: int) -> None:
    assert kv_cache_of(base, tensor_parallel=shards).block_bytes == 32 * PAGE // share


def test_latent_vectors_are_on_every_rank(base: ModelProfile) -> None:
    latent = Attention(heads=32, kv_heads=32, head_dim=192, kv_lora_rank=512, qk_rope_head_dim=64)
    for shards in (1, 8):
        cache = kv_cache_of(replace(base, attention=latent), tensor_parallel=shards)
        assert cache.block_bytes == 32 * 16 * 576 * 2


def test_the_keys_of_an_indexer_lie_in_the_same_blocks(base: ModelProfile) -> None:
    cache = kv_cache_of(replace(base, indexer=Indexer(layers=32, head_dim=128)))
    assert cache.block_bytes == 32 * (4 * PAGE + 64 * 132)
    assert [(group.block_tokens, group.lists) for group in cache.groups] == [(64, 1)]
    wide = kv_cache_of(replace(base, indexer=Indexer(layers=8, head_dim=128, element_bytes=2)))
    assert wide.block_bytes == 32 * 8 * PAGE + 8 * 128 * 256
    assert wide.blocks(129, STEP) == 2


def test_where_all_layers_have_a_window_only_that_is_held(base: ModelProfile) -> None:
    """Mistral 7B v0.1: one list, and a block more than the window, which may begin in one."""
    cache = kv_cache_of(replace(base, attention=replace(ATTENTION, sliding_window=4096)))
    assert cache.block_bytes == 32 * PAGE
    assert cache.blocks(1, STEP) == 2
    assert cache.blocks(4096, STEP) == 257
    assert cache.blocks(32768, 2048) == cache.blocks(131072, 2048) == (4095 + 2048 + 15) // 16 + 1


def test_windows_form_groups_as_large_as_the_fewer_layers(base: ModelProfile) -> None:
    """Gemma 3 with 5 windows to 1 full layer: 62 layers, 52 of them with a window, so 10 to a
    group, and the last of six lists is padded."""
    cache = kv_cache_of(windowed(replace(base, layers=62), 52, 1024))
    assert cache.block_bytes == 10 * PAGE
    assert [(group.memory, group.lists) for group in cache.groups] == [
        (Memory.CONTEXT, 1),
        (Memory.WINDOW, 6),
    ]
    assert cache.blocks(1, STEP) == 1 + 6 * 2
    assert cache.blocks(1024, STEP) == 64 + 6 * 65
    held = (1023 + 8192 + 15) // 16 + 1
    assert cache.blocks(131072, STEP) == 8192 + 6 * held


def test_nearly_as_many_layers_share_one_group_size(base: ModelProfile) -> None:
    """13 full beside 12 with a window: one list each of 13, not three of 12."""
    cache = kv_cache_of(windowed(replace(base, layers=25), 12, 128))
    assert cache.block_bytes == 13 * PAGE
    assert [group.lists for group in cache.groups] == [1, 1]


def test_a_pipeline_rank_has_its_part_of_every_group(base: ModelProfile) -> None:
    """Groups are formed of all layers: as many lists on each rank, and half the layers in them."""
    gemma = windowed(replace(base, layers=62), 52, 1024)
    whole, half = kv_cache_of(gemma), kv_cache_of(gemma, layers=31)
    assert half.block_bytes == 5 * PAGE
    assert half.groups == whole.groups


def test_a_part_of_a_state_may_be_on_every_rank(base: ModelProfile) -> None:
    recurrent = RecurrentLayers(layers=32, state_bytes=1000, whole_bytes=200)
    assert kv_cache_of(replace(base, recurrent=recurrent), tensor_parallel=4).block_bytes == 32 * (
        200 + 800 // 4
    )


def test_smaller_pages_hold_more_tokens(base: ModelProfile) -> None:
    wide = replace(base, layers=12, attention=replace(ATTENTION, head_dim=512))
    cache = kv_cache_of(windowed(wide, 10, 512))
    assert cache.block_bytes == 2 * 4 * PAGE
    assert [group.block_tokens for group in cache.groups] == [16, 64]
    assert cache.blocks(64, STEP) == 4 + 5 * 2


def test_chunks_begin_with_a_block(base: ModelProfile) -> None:
    """Llama 4 on four ranks: 48 layers, 36 of them with chunks of 8192 tokens."""
    cache = kv_cache_of(windowed(replace(base, layers=48), 36, 8192, chunked=True))
    assert cache.blocks(8192, STEP) == 4 * 512
    assert cache.blocks(1 << 20, STEP) == (1 << 16) + 3 * 1024


def test_pages_of_attention_grow_until_they_hold_a_state(base: ModelProfile) -> None:
    state = 5 * PAGE // 2
    hybrid = replace(base, recurrent=RecurrentLayers(layers=24, state_bytes=state))
    cache = kv_cache_of(hybrid)
    assert cache.block_bytes == 8 * 3 * PAGE
    assert [group.block_tokens for group in cache.groups] == [48, 16]
    assert cache.blocks(1, STEP) == 1 + 3
    assert cache.blocks(4800, STEP) == 100 + 3
    twice = kv_cache_of(hybrid, states=2)
    assert twice.blocks(4800, STEP) == 100 + 3 * 2


def test_a_hybrid_gets_the_block_size_that_vllm_reports(base: ModelProfile) -> None:
    """Nemotron 3 Super on one GPU with an fp8 cache: 8320 tokens (vllm-project/vllm issue 48401).
    A state is 128 heads of 64 x 128 float32 and 3 x 10240 16-bit elements of the convolution."""
    hybrid = replace(
        base,
        layers=88,
        attention=Attention(heads=32, kv_heads=2, head_dim=128),
        recurrent=RecurrentLayers(layers=40, state_bytes=128 * 64 * 128 * 4 + 3 * 10240 * 2),
        cacheless_layers=40,
        kv_cache_dtype="fp8",
    )
    cache = kv_cache_of(hybrid)
    assert cache.groups[0].block_tokens == 8320
    assert [group.lists for group in cache.groups] == [1, 5]


@pytest.mark.parametrize(
    ("architecture", "states"),
    [
        ("NemotronHForCausalLM", [1, 2, 3]),
        ("GraniteMoeHybridForCausalLM", [1, 2, 3]),
        ("Qwen3NextForCausalLM", [1, 2, 2]),
    ],
)
def test_later_releases_hold_more_states(
    base: ModelProfile, architecture: str, states: list[int]
) -> None:
    hybrid = replace(base, architecture=architecture)
    assert [states_held(hybrid, (0, minor)) for minor in (26, 27, 32)] == states
    assert states_held(hybrid, (0, 31)) == 2


def test_states_alone_are_all_that_is_held(base: ModelProfile) -> None:
    cache = kv_cache_of(replace(base, recurrent=RecurrentLayers(layers=32, state_bytes=1001)))
    assert cache.bytes_of(1, STEP) == cache.bytes_of(131072, STEP) == 32 * 1001
    assert cache.tokens_within(64 * 1001, 1000, STEP) == 2000


def test_a_rank_may_have_no_cache_at_all(base: ModelProfile) -> None:
    cache = kv_cache_of(replace(base, cacheless_layers=32))
    assert cache == KvCache(block_bytes=0, groups=())
    assert cache.bytes_of(1000, STEP) == 0


def test_tokens_are_those_of_whole_blocks(base: ModelProfile) -> None:
    cache = kv_cache_of(base)
    assert cache.tokens_within(10 * 32 * PAGE + 1, 4096, STEP) == 160
    assert cache.tokens_within(-1, 4096, STEP) == 0


@pytest.mark.parametrize(
    ("room_gib", "shards", "printed"),
    [  # gpt-oss-20b at 8192 tokens: logs of llm-d-incubation/llm-d-planner pull request 205
        (58.47, 1, 1_277_184),
        (63.28, 2, 2_764_768),
        (66.57, 4, 5_817_056),
    ],
)
def test_tokens_with_windows_are_as_vllm_prints_them(
    room_gib: float, shards: int, printed: int
) -> None:
    cache = kv_cache_of(load_catalogue().model("gpt-oss-20b"), tensor_parallel=shards)
    tokens = cache.tokens_within(int(room_gib * (1 << 30)), 8192, STEP)
    # 0.19 prints a list's share of the blocks times 16, without the block more that a window takes.
    assert tokens == pytest.approx(printed, rel=1.2e-3)


@given(
    tokens=st.integers(0, 200_000),
    more=st.integers(0, 5000),
    local=st.integers(1, 31),
    window=st.integers(1, 9000),
)
def test_longer_sequences_never_hold_less(
    base: ModelProfile, tokens: int, more: int, local: int, window: int
) -> None:
    cache = kv_cache_of(windowed(base, local, window))
    assert cache.blocks(tokens, STEP) <= cache.blocks(tokens + more, STEP)


@given(local=st.integers(1, 31), shards=st.sampled_from([1, 2, 4, 8]))
def test_blocks_have_room_for_every_layer(base: ModelProfile, local: int, shards: int) -> None:
    cache = kv_cache_of(windowed(base, local, 512), tensor_parallel=shards)
    page = PAGE // shards
    for group in cache.groups:
        assert group.lists * cache.block_bytes >= group.layers * page
