from dataclasses import replace
from typing import Any

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.catalogue import Catalogue
from kaito.domain.model import Attention


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
    assert model.kv_bytes_per_token(1) == bytes_per_token // 2
    assert model.attention.kind == kind


def test_shapes_account_for_the_weight_files(catalogue: Catalogue) -> None:
    """Embeddings and linear layers, from the shapes, are what the files hold but for the norms."""
    for model in catalogue.models:
        linear = model.layers * sum(one.parameters for one in model.linears)
        assert linear + model.embedding_parameters == pytest.approx(model.parameters, rel=2e-3)
        assert linear == pytest.approx(model.linear_parameters, rel=2e-3)


def test_unfused_architectures_have_seven_linear_layers(catalogue: Catalogue) -> None:
    fused = catalogue.model("phi-4")
    plain = replace(fused, architecture="LlamaForCausalLM")
    assert [one.name for one in plain.linears] == [
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    ]  # fmt: skip
    assert sum(one.parameters for one in plain.linears) == sum(
        one.parameters for one in fused.linears
    )


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
    ("change", "complaint"), [({"layers": 0}, "layers must be >= 1"), ({"dtype": "f8"}, "'f8'")]
)
def test_an_impossible_model_is_refused(
    catalogue: Catalogue, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(catalogue.model("phi-4"), **change)
