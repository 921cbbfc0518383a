from dataclasses import replace

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.linear import linears_of

CATALOGUE = load_catalogue()


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("phi-4", "qkv_proj o_proj gate_up_proj down_proj"),
        ("phi-2", "q_proj k_proj v_proj dense fc1 fc2"),
        ("falcon-7b", "query_key_value dense dense_h_to_4h dense_4h_to_h"),
        ("llama-2-7b", "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"),
        (
            "deepseek-r1-0528",
            "q_a_proj q_b_proj kv_a_proj_with_mqa kv_b_proj o_proj gate_proj up_proj down_proj",
        ),
    ],
)
def test_layers_are_called_as_in_the_weight_files(model: str, names: str) -> None:
    found = linears_of(CATALOGUE.model(model))
    assert [one.name for one in found] == names.split()


def test_fused_projections_are_as_large_as_separate_ones() -> None:
    fused = CATALOGUE.model("phi-4")
    plain = replace(fused, architecture="LlamaForCausalLM")
    assert sum(one.parameters for one in plain.linears) == sum(
        one.parameters for one in fused.linears
    )


def test_latent_attention_projects_down_and_up() -> None:
    model = CATALOGUE.model("deepseek-r1-0528")
    sizes = {one.name: (one.inputs, one.outputs) for one in model.linears}
    assert sizes["q_b_proj"] == (1536, 128 * 192)
    assert sizes["kv_a_proj_with_mqa"] == (7168, 512 + 64)
    assert sizes["kv_b_proj"] == (512, 128 * (128 + 128))
    assert sizes["o_proj"] == (128 * 128, 7168)
    straight = replace(model, attention=replace(model.attention, q_lora_rank=None))
    assert straight.linears[0].name == "q_proj"
    assert straight.linears[0].outputs == 128 * 192
