from dataclasses import replace

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.catalogue import Catalogue
from kaito.domain.engine import EngineName, NoEngine, choose_engine

V100, T4, A10 = "NVIDIA V100 16GB", "NVIDIA T4", "NVIDIA A10"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.mark.parametrize(
    ("gpu", "requested", "engine", "dtype"),
    [
        (A10, None, EngineName.VLLM, "bfloat16"),
        (T4, None, EngineName.VLLM, "float16"),
        (A10, EngineName.TRANSFORMERS, EngineName.TRANSFORMERS, "bfloat16"),
        (T4, EngineName.TRANSFORMERS, EngineName.TRANSFORMERS, "float16"),
    ],
)
def test_current_cards_run_what_is_asked_without_a_warning(
    catalogue: Catalogue,
    gpu: str,
    requested: EngineName | None,
    engine: EngineName,
    dtype: str,
) -> None:
    choice = choose_engine(
        catalogue.engines, catalogue.gpu(gpu), catalogue.model("phi-4"), requested
    )
    assert (choice.engine.name, choice.dtype, choice.warning) == (engine, dtype, None)
    assert choice.engine.image == "mcr.microsoft.com/aks/kaito/kaito-base:0.5.0"


@pytest.mark.parametrize("requested", [None, EngineName.TRANSFORMERS])
def test_a_v100_gets_the_pinned_transformers_image_and_is_told(
    catalogue: Catalogue, requested: EngineName | None
) -> None:
    model = catalogue.model("phi-3-mini-4k-instruct")
    choice = choose_engine(
        catalogue.engines,
        catalogue.gpu(V100),
        model,
        requested,
        newer_instance_type="Standard_NV36ads_A10_v5",
    )
    assert choice.engine.name is EngineName.TRANSFORMERS
    assert choice.engine.image == "mcr.microsoft.com/aks/kaito/kaito-base:0.0.2"
    assert choice.dtype == "float16"
    assert choice.warning is not None
    for fact in (V100, "7.0", "7.5", "transformers", "float16", choice.engine.image, "QLoRA"):
        assert fact in choice.warning
    assert choice.warning.endswith("Standard_NV36ads_A10_v5 fits and runs vLLM")


def test_vllm_on_a_v100_is_refused_with_both_ways_out(catalogue: Catalogue) -> None:
    with pytest.raises(NoEngine, match=r"compute capability 7\.0") as caught:
        choose_engine(
            catalogue.engines, catalogue.gpu(V100), catalogue.model("phi-4"), EngineName.VLLM
        )
    assert "vllm 0.25.1 (from 7.5)" in caught.value.message
    assert "Remove the kaito.sh/runtime annotation" in caught.value.remedy
    assert "newer GPU" in caught.value.remedy


def test_a_card_that_no_image_knows(catalogue: Catalogue) -> None:
    model, v100 = catalogue.model("phi-4"), catalogue.gpu(V100)
    with pytest.raises(NoEngine, match=r"transformers 4\.51\.3 \(7\.0 to 7\.0\)"):
        choose_engine(catalogue.engines, replace(v100, compute_capability=(6, 0)), model)
    radeon = replace(v100, vendor="AMD", name="AMD Radeon PRO V620", compute_capability=None)
    with pytest.raises(NoEngine, match="kernels for AMD Radeon PRO V620"):
        choose_engine(catalogue.engines, radeon, model)


def test_a_model_that_the_requested_engine_does_not_run(catalogue: Catalogue) -> None:
    vllm_only = replace(catalogue.model("phi-4"), runtimes=(EngineName.VLLM,))
    with pytest.raises(NoEngine, match="phi-4 does not run on transformers, only on vllm"):
        choose_engine(catalogue.engines, catalogue.gpu(A10), vllm_only, EngineName.TRANSFORMERS)
    with pytest.raises(NoEngine, match="no image has kernels") as caught:
        choose_engine(
            catalogue.engines, catalogue.gpu(V100), vllm_only, newer_instance_type="Standard_X"
        )
    assert caught.value.remedy == "Choose an instance type such as Standard_X"


def test_no_engines_at_all(catalogue: Catalogue) -> None:
    with pytest.raises(NoEngine, match="no engine is known"):
        choose_engine([], catalogue.gpu(A10), catalogue.model("phi-4"))


def test_transformers_on_a_card_older_than_a_missing_vllm_is_no_surprise(
    catalogue: Catalogue,
) -> None:
    engines = [one for one in catalogue.engines if one.name is EngineName.TRANSFORMERS]
    assert choose_engine(engines, catalogue.gpu(V100), catalogue.model("phi-4")).warning is None


def test_weights_that_a_card_cannot_read(catalogue: Catalogue) -> None:
    fp8 = catalogue.model("ministral-3-8b-instruct-2512")
    with pytest.raises(NoEngine) as caught:
        choose_engine(catalogue.engines, catalogue.gpu(T4), fp8, newer_instance_type="Standard_X")
    assert caught.value.message == (
        f"{fp8.name} has fp8 weights, which need compute capability 8.0, and NVIDIA T4 has 7.5"
    )
    assert caught.value.remedy == "Choose an instance type such as Standard_X"
    gemma = catalogue.model("gemma-3-4b-it")
    with pytest.raises(NoEngine, match=r"gemma-3-4b-it needs compute capability 8\.0") as caught:
        choose_engine(catalogue.engines, catalogue.gpu(T4), gemma)
    assert caught.value.remedy == "Choose an instance type with a newer GPU"
    for model in (fp8, gemma):
        assert choose_engine(catalogue.engines, catalogue.gpu(A10), model).dtype == "bfloat16"
