"""What kaito counts from a config, held against the sizes of published weight files."""

from dataclasses import replace

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.hf_config import profile_from_config
from kaito.domain.model import ModelProfile
from tests.unit.domain.hf_config.published import EXACT, PRESETS

CATALOGUE = load_catalogue()


def read(name: str) -> ModelProfile:
    return profile_from_config(PRESETS[name][0], name=name, source="a test")


@pytest.mark.parametrize("name", PRESETS)
def test_the_weights_of_a_config_are_those_of_the_files(name: str) -> None:
    published = CATALOGUE.model(name)
    weights = read(name).weights
    assert weights is not None
    least, most = PRESETS[name][1]
    off = 100 * (weights.total / published.weight_bytes - 1)
    assert least <= off <= most, f"{name}: {off:+.2f} %"


def test_most_are_exact() -> None:
    assert sum(bounds == EXACT for _, bounds in PRESETS.values()) > len(PRESETS) / 2


@pytest.mark.parametrize("name", PRESETS)
def test_shapes_are_those_of_the_catalogue(name: str) -> None:
    """The catalogue's were written down one by one; what caches hang on must be the same."""
    own, published = read(name), CATALOGUE.model(name)
    for field in (
        "layers",
        "hidden_size",
        "intermediate_size",
        "vocab_size",
        "quantization",
        "local_attention",
        "recurrent",
        "cacheless_layers",
        "indexer",
        "experts",
        "full_attention_layers",
    ):
        assert getattr(own, field) == getattr(published, field), field
    own = replace(own, kv_cache_dtype=published.kv_cache_dtype)  # a choice, not a shape
    for tensor_parallel in (1, 2, 8):
        assert own.kv_bytes_per_token(
            tensor_parallel=tensor_parallel
        ) == published.kv_bytes_per_token(tensor_parallel=tensor_parallel)


@pytest.mark.parametrize(
    ("name", "parameters", "active"),
    [  # in billions, as the models' cards say
        ("llama-3.1-8b-instruct", 8.03, 8.03),
        ("deepseek-r1-0528", 671.0, 37.6),
        ("gpt-oss-120b", 116.8, 5.7),
        ("kimi-k2.5", 1026.9, 33.3),
        ("qwen3.6-35b-a3b", 35.1, 3.9),
        ("nvidia-nemotron-3-nano-30b-a3b-bf16", 31.6, 3.6),
    ],
)
def test_parameters(name: str, parameters: float, active: float) -> None:
    found = read(name)
    assert found.parameters / 1e9 == pytest.approx(parameters, rel=0.005)
    assert found.active_parameters / 1e9 == pytest.approx(active, rel=0.03)
