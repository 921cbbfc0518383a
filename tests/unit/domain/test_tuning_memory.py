from dataclasses import replace

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.catalogue import Catalogue
from kaito.domain.tuning_memory import OPTIMIZER_BYTES, tuning_memory
from kaito.domain.workspace import TuningMethod

LORA, QLORA = TuningMethod.LORA, TuningMethod.QLORA


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


def test_qlora_packs_the_linear_layers_only(catalogue: Catalogue) -> None:
    model, gpu = catalogue.model("phi-4"), catalogue.gpu("NVIDIA A100 80GB")
    lora, qlora = tuning_memory(model, gpu, LORA), tuning_memory(model, gpu, QLORA)
    assert lora.weights == model.weight_bytes
    embeddings = 2 * 2 * 100352 * 5120
    assert qlora.weights == pytest.approx(embeddings + 13.63e9 * 0.516, rel=0.01)
    assert lora.adapters == lora.gradients == lora.optimizer // 2
    assert lora.adapters == qlora.adapters


def test_adapter_size_is_rank_times_the_edges_of_its_targets(catalogue: Catalogue) -> None:
    model, gpu = catalogue.model("phi-3-mini-4k-instruct"), catalogue.gpu("NVIDIA A100 80GB")
    memory = tuning_memory(model, gpu, LORA, lora_rank=8, target_modules=["qkv_proj"])
    assert memory.adapters == 4 * 8 * 32 * (3072 + 9216)
    assert tuning_memory(replace(model, tuning=None), gpu, LORA).adapters == (
        4 * 8 * 32 * (3072 + 9216 + 3072 + 3072 + 3072 + 16384 + 8192 + 3072)
    )


@pytest.mark.parametrize("method", TuningMethod)
def test_longer_wider_or_unchecked_tuning_takes_more(
    catalogue: Catalogue, method: TuningMethod
) -> None:
    model, gpu = catalogue.model("phi-3-mini-128k-instruct"), catalogue.gpu("NVIDIA T4")
    base = tuning_memory(model, gpu, method).total
    assert tuning_memory(model, gpu, method, sequence_tokens=2048).total > base
    assert tuning_memory(model, gpu, method, lora_rank=64).total > base
    assert tuning_memory(model, gpu, method, gradient_checkpointing=False).total > base
    assert (
        tuning_memory(model, gpu, method, batch_size=2).total
        == tuning_memory(model, gpu, method, sequence_tokens=2048).total
    )


def test_the_optimizer_says_what_a_trained_parameter_takes(catalogue: Catalogue) -> None:
    """Two float32 moments, two in 8 bits, or none, beside a float32 parameter and its gradient."""
    model, gpu = catalogue.model("phi-4"), catalogue.gpu("NVIDIA A100 80GB")
    for name, state in (("adamw_torch", 8), ("paged_adamw_8bit", 2), ("sgd", 0)):
        memory = tuning_memory(model, gpu, LORA, optimizer=name)
        assert memory.optimizer * 4 == memory.adapters * state
    assert set(OPTIMIZER_BYTES.values()) == {8, 2, 0}
