"""What quantised checkpoints hold in which format."""

from typing import Any

import pytest

from kaito.domain.errors import InvalidModel
from kaito.domain.hf_config import profile_from_config
from kaito.domain.model import ModelProfile
from kaito.domain.weights import LayerWeights
from tests.unit.domain.hf_config.published import decoder

# Sizes that every group divides: 256 x 256 for queries, keys, values and output; 512 for the MLP.
PLAIN = decoder("LlamaForCausalLM", 4, 256, (4, 4), 512, 1024)
ATTENTION, MLP, NORMS = 4 * 256 * 256, 3 * 256 * 512, 2 * 256 * 2
OUTPUTS = 4 * 256 + 2 * 512 + 256  # of all linear layers of a block
INPUTS = 4 * 256 + 2 * 256 + 512


def read(quantization: dict[str, Any] | None, **more: Any) -> ModelProfile:
    config = PLAIN | {"quantization_config": quantization} | more
    return profile_from_config(config, name="m", source="a test")


def layers(quantization: dict[str, Any], **more: Any) -> tuple[LayerWeights, ...]:
    weights = read(quantization, **more).weights
    assert weights is not None
    return weights.layers


def compressed(weights: dict[str, Any], **more: Any) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": weights, "input_activations": None}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, **more}


ALL = ATTENTION + MLP


@pytest.mark.parametrize(
    ("quantization", "linear_bytes", "name"),
    [
        ({"quant_method": "fp8"}, ALL + 7 * 4, "fp8"),
        (
            {"quant_method": "fp8", "weight_block_size": [128, 128]},
            ALL + (4 * 4 + 3 * 8) * 4,
            "fp8",
        ),
        ({"quant_method": "fbgemm_fp8"}, ALL + 4 * OUTPUTS, "fp8"),
        (
            {"quant_method": "gptq", "bits": 4, "group_size": 128},
            ALL // 2 + ALL // 128 * 5 // 2 + 4 * INPUTS,
            "gptq",
        ),
        (
            {"quant_method": "gptq", "bits": 8, "group_size": -1},
            ALL + 3 * OUTPUTS + 4 * INPUTS,
            "int8",
        ),
        (
            {"quant_method": "awq", "w_bit": 4, "q_group_size": 128},
            ALL // 2 + ALL // 128 * 5 // 2,
            "awq",
        ),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True},
            ALL // 2 + ALL // 16,
            "bitsandbytes",
        ),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, ALL + 4 * OUTPUTS, "int8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, ALL // 2 + ALL // 16, "nvfp4"),
        ({"quant_method": "modelopt_fp4"}, ALL // 2 + ALL // 16, "nvfp4"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, ALL + 7 * 4, "fp8"),
        (compressed({"num_bits": 8, "type": "int"}), ALL + 4 * OUTPUTS, "int8"),
        (
            compressed({"num_bits": 8, "type": "float", "strategy": "channel"}),
            ALL + 4 * OUTPUTS,
            "fp8",
        ),
        (compressed({"num_bits": 8, "type": "float"}), ALL + 7 * 4, "fp8"),
        (
            compressed({"num_bits": 8, "type": "float", "block_structure": [128, 128]}),
            ALL + (4 * 4 + 3 * 8) * 4,
            "fp8",
        ),
        (
            compressed({"num_bits": 4, "type": "int", "group_size": 32}),
            ALL // 2 + ALL // 16,
            "int4",
        ),
        (
            compressed({"num_bits": 4, "type": "int", "symmetric": False}),
            ALL // 2 + 5 * OUTPUTS // 2,
            "int4",
        ),
        (
            compressed({"num_bits": 4, "type": "float", "group_size": 16}),
            ALL // 2 + ALL // 16,
            "nvfp4",
        ),
        (
            compressed({"num_bits": 4, "type": "float", "group_size": 32}),
            ALL // 2 + ALL // 32,
            "mxfp4",
        ),
    ],
)
def test_bytes_of_a_block(quantization: dict[str, Any], linear_bytes: int, name: str) -> None:
    found = read(quantization)
    assert found.quantization == name
    assert found.weights is not None
    assert found.weights.layers[0].total == linear_bytes + NORMS
    assert found.weights.lm_head == 1024 * 256 * 2


HALF = LayerWeights(sharded=2 * ATTENTION + MLP + 3 * 4, replicated=NORMS)


@pytest.mark.parametrize(
    "skipped",
    [
        {"modules_to_not_convert": [f"model.layers.{n}.self_attn" for n in range(4)]},
        {"ignored_layers": ["self_attn"]},
        {"ignored_layers": ["model.language_model.layers.*.self_attn*"]},
        {"ignored_layers": ["language_model.model.layers.*.self_attn*"]},
        {"ignored_layers": [r"re:.*self_attn\.[qkvo]_proj"]},
        {"ignored_layers": [r"re:model\.language_model\.layers\.\d+\.self_attn"]},
        {"ignored_layers": {"model.layers.*.self_attn*": 4, "lm_head": 1, "re:nothing": 1}},
        {"llm_int8_skip_modules": ["q_proj", "k_proj", "v_proj", "self_attn.o_proj"]},
        {"dynamic": {r"-:.*attn.*": {}, r"+:.*mlp.*": {"bits": 8}}},
    ],
)
def test_what_stays_in_16_bits(skipped: dict[str, Any]) -> None:
    assert layers({"quant_method": "fp8", **skipped}) == (HALF,) * 4


def test_a_folded_list_may_mean_some_of_the_blocks() -> None:
    found = layers({"quant_method": "fp8", "ignore": {"model.layers.*.self_attn*": 3}})
    assert found[:3] == (HALF,) * 3
    assert found[3].total < HALF.total


def test_groups_that_name_their_layers_go_first() -> None:
    named = {
        "targets": ["re:.*mlp.*"],
        "weights": {"num_bits": 4, "type": "float", "group_size": 16},
    }
    rest = {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float"}}
    activations = {"targets": ["Linear"], "weights": None}
    found = layers(
        {"quant_algo": "MIXED", "config_groups": {"a": activations, "b": rest, "c": named}}
    )
    assert found[0].sharded == ATTENTION + 4 * 4 + MLP // 2 + MLP // 16
    empty = layers({"quant_method": "compressed-tensors", "config_groups": {"a": None, "b": named}})
    assert empty[0].sharded == 2 * ATTENTION + MLP // 2 + MLP // 16


def test_an_algorithm_for_each_layer() -> None:
    listed = {
        f"model.layers.{n}.mlp.{m}_proj": {"quant_algo": "NVFP4"}
        for n in range(4)
        for m in ("gate", "up", "down")
    }
    found = layers(
        {
            "quant_method": "modelopt",
            "quant_algo": "MIXED_PRECISION",
            "quantized_layers": {**listed, "model.layers.0.self_attn.o_proj": None},
        }
    )
    assert found[0].sharded == 2 * ATTENTION + MLP // 2 + MLP // 16


def test_lm_head_is_quantised_only_where_it_is_said() -> None:
    gptq = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    weights = read(gptq | {"lm_head": True}).weights
    assert weights is not None
    assert weights.lm_head < 1024 * 256
    assert read(gptq | {"lm_head": False}).weights == read(gptq).weights


def test_mxfp4_is_of_routed_experts() -> None:
    more = {
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "architectures": ["MixtralForCausalLM"],
    }
    found = layers({"quant_method": "mxfp4"}, **more)
    assert found[0].experts == 4 * (MLP // 2 + MLP // 32)
    assert found[0].sharded == 2 * ATTENTION


def test_the_inner_config_may_say_it() -> None:
    text = PLAIN | {"quantization_config": {"quant_method": "fp8"}}
    config = {"architectures": ["Mistral3ForConditionalGeneration"], "text_config": text}
    assert profile_from_config(config, name="m", source="a test").quantization == "fp8"


@pytest.mark.parametrize(
    ("said", "dtype"),
    [
        ({"kv_cache_scheme": {"num_bits": 8, "type": "float"}}, "fp8"),
        ({"kv_cache_scheme": {"num_bits": 4}}, None),
        ({"kv_cache_scheme": "FP8"}, "fp8"),
        ({"kv_cache_quant_algo": "FP8"}, "fp8"),
        ({}, None),
    ],
)
def test_the_cache_is_as_the_checkpoint_says(said: dict[str, Any], dtype: str | None) -> None:
    assert read({"quant_method": "fp8", **said}).kv_cache_dtype == dtype
    assert read(None).kv_cache_dtype is None


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        ({"quant_method": "exl2"}, "quantization_config.quant_method: must be one of awq,"),
        ({}, "quant_method: must be one of awq, awq_marlin, bitsandbytes"),
        ({"quant_method": "gptq", "bits": 3}, "quantization_config.bits: must be 4 or 8, got 3"),
        (compressed({"num_bits": 2}), "config_groups.group_0.weights.num_bits: must be 4 or 8"),
        (
            {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"},
            "quant_algo: must be NVFP4 or FP8 where no layers are listed, got 'MIXED_PRECISION'",
        ),
        (
            {"quant_method": "fp8", "weight_block_size": [128]},
            "weight_block_size: must be two sizes, got [128]",
        ),
        (
            {"quant_method": "fp8", "ignored_layers": ["re:("]},
            "quantization_config: has an expression that cannot be read",
        ),
        ("fp8", "quantization_config: must be an object, got 'fp8'"),
    ],
)
def test_errors(quantization: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidModel) as caught:
        read(quantization)
    assert expected in str(caught.value)
