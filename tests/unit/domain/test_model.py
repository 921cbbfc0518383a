from dataclasses import replace
from typing import Any

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.catalogue import Catalogue
from kaito.domain.model import Attention, Experts, Indexer, LocalAttention, RecurrentLayers


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.mark.parametrize(
    ("name", "kind", "bytes_per_token"),  # KAITO v0.12's catalogue
    [
        ("phi-3-mini-4k-instruct", "MHA", 393_216),
        ("phi-3-mini-128k-instruct", "MHA", 393_216),
        ("phi-3.5-mini-instruct", "MHA", 393_216),
        ("phi-3-medium-4k-instruct", "GQA", 204_800),
        ("phi-3-medium-128k-instruct", "GQA", 204_800),
        ("phi-4", "GQA", 204_800),
        ("phi-4-mini-instruct", "GQA", 131_072),
    ],
)
def test_cache_per_token_is_kaitos(
    catalogue: Catalogue, name: str, kind: str, bytes_per_token: int
) -> None:
    model = catalogue.model(name)
    assert model.kv_bytes_per_token() == bytes_per_token
    assert replace(model, kv_cache_dtype="fp8").kv_bytes_per_token() == bytes_per_token // 2
    assert model.attention.kind == kind
    assert model.caches_evenly


def test_heads_are_sharded_but_a_latent_vector_is_not() -> None:
    grouped = Attention(heads=40, kv_heads=10, head_dim=128)
    assert grouped.cached_elements() == 2560
    assert grouped.cached_elements(2) == 1280
    assert grouped.cached_elements(40) == 256  # at least one KV head on every GPU
    assert [n for n in (1, 2, 4, 5, 8, 20) if grouped.splits_into(n)] == [1, 2, 5, 20]
    latent = Attention(heads=128, kv_heads=128, head_dim=192, kv_lora_rank=512, qk_rope_head_dim=64)
    assert latent.kind == "MLA"
    assert latent.cached_elements(8) == latent.cached_elements() == 576
    assert latent.splits_into(8)
    assert Attention(heads=32, kv_heads=1, head_dim=64).kind == "MQA"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kv_heads": 7}, "7 KV heads do not divide 40 heads"),
        ({"kv_heads": 0}, "0 KV heads"),
        ({"kv_lora_rank": 512}, "together or not at all"),
    ],
)
def test_an_impossible_attention_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(Attention(heads=40, kv_heads=10, head_dim=128), **change)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"layers": 0}, "layers must be >= 1"),
        ({"dtype": "f8"}, "dtype must be one of .* 'f8'"),
        ({"quantization": "int3"}, "quantization must be one of fp8, .* got 'int3'"),
        ({"kv_cache_dtype": "int8"}, "kv_cache_dtype must be fp8 or left out, got 'int8'"),
        ({"cacheless_layers": 41}, "more than the 40 layers"),
    ],
)
def test_an_impossible_model_is_refused(
    catalogue: Catalogue, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(catalogue.model("phi-4"), **change)


def test_only_full_attention_grows_with_the_context(catalogue: Catalogue) -> None:
    plain = catalogue.model("phi-4")
    window = LocalAttention(layers=20, window=128, attention=plain.attention)
    mixed = replace(plain, local_attention=window)
    assert mixed.full_attention_layers == 20
    assert mixed.kv_bytes_per_token() == plain.kv_bytes_per_token() // 2
    state = RecurrentLayers(layers=24, state_bytes=1 << 20)
    hybrid = replace(plain, recurrent=state, cacheless_layers=12)
    assert hybrid.kv_bytes_per_token() == plain.kv_bytes_per_token() // 10
    assert not mixed.caches_evenly
    assert not hybrid.caches_evenly


def test_sparse_attention_caches_keys_to_find_tokens_by(catalogue: Catalogue) -> None:
    v32 = catalogue.model("deepseek-v3.2")
    assert v32.indexer is not None
    assert v32.indexer.cached_bytes == 128 + 4
    assert v32.kv_bytes_per_token() == 61 * (2 * 576 + 132)
    assert v32.kv_bytes_per_token(pipeline_parallel=2) == 31 * (2 * 576 + 132)
    in_fp8 = replace(v32, kv_cache_dtype="fp8", indexer=Indexer(layers=1, head_dim=128))
    assert in_fp8.cached_bytes(in_fp8.attention) == 656  # vLLM's fp8_ds_mla
    assert in_fp8.kv_bytes_per_token(tensor_parallel=8) == 61 * 656 + 132


def test_weights_may_need_newer_gpus(catalogue: Catalogue) -> None:
    phi = catalogue.model("phi-4")
    assert phi.min_compute_capability == (0, 0)
    awq = replace(phi, quantization="awq")
    assert awq.min_compute_capability == (7, 5)
    assert replace(awq, least_compute_capability=(9, 0)).min_compute_capability == (9, 0)


def test_parameters_are_stated_or_read_off_the_files(catalogue: Catalogue) -> None:
    phi = catalogue.model("phi-4")
    assert phi.parameters == phi.active_parameters == pytest.approx(14.66e9, rel=1e-3)
    assert replace(phi, stated_parameters=5).parameters == 5
    embeddings = 2 * 100352 * 5120
    assert phi.embedding_bytes == 2 * embeddings
    for name, bits in (("fp8", 8.002), ("awq", 4.156), ("int4", 4.5), ("mxfp4", 4.25)):
        packed = replace(phi, quantization=name, weight_bytes=2 * embeddings + 10**9)
        assert packed.parameters == pytest.approx(embeddings + 8e9 / bits, rel=1e-3)
    tiny = replace(phi, quantization="nvfp4", weight_bytes=1)
    assert tiny.parameters == embeddings


def test_few_experts_are_active_at_a_time(catalogue: Catalogue) -> None:
    phi = catalogue.model("phi-4")
    experts = Experts(layers=2, count=8, per_token=2, intermediate_size=10)
    mixture = replace(phi, experts=experts)
    assert mixture.parameters - mixture.active_parameters == 2 * 6 * 3 * 5120 * 10
    latent = replace(experts, gated=False, input_size=100)
    assert latent.parameters(5120) == 2 * 100 * 10
    with pytest.raises(ValueError, match="9 experts per token of 8 in all"):
        replace(experts, per_token=9)
