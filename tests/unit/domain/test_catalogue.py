import pickle
from dataclasses import replace

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.catalogue import Catalogue, UnknownGpu, UnknownInstanceType, UnknownModel
from kaito.domain.errors import InvalidInput


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.mark.parametrize("name", ["phi-4", "PHI-4", "microsoft/phi-4", "Microsoft/Phi-4"])
def test_models_answer_to_name_and_hugging_face_id(catalogue: Catalogue, name: str) -> None:
    assert catalogue.model(name).name == "phi-4"


def test_aliases_answer_too(catalogue: Catalogue) -> None:
    phi = replace(catalogue.model("phi-4"), aliases=("Phi-Four",))
    assert replace(catalogue, models=(phi,)).model("phi-four") is phi


def test_machines_and_gpus_ignore_case(catalogue: Catalogue) -> None:
    assert catalogue.instance_type("standard_nc6S_V3").gpu is catalogue.gpu("nvidia v100 16gb")


def test_an_unknown_name_brings_the_nearest(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownModel, match="unknown model 'phi-3-mini-4k'") as model:
        catalogue.model("phi-3-mini-4k")
    assert model.value.nearest[0] == "phi-3-mini-4k-instruct"
    assert "Did you mean phi-3-mini-4k-instruct" in str(model.value)
    with pytest.raises(UnknownInstanceType) as machine:
        catalogue.instance_type("Standard_NC6_v3")
    assert "Standard_NC6s_v3" in machine.value.nearest
    with pytest.raises(UnknownGpu, match="Known: AMD Radeon"):
        catalogue.gpu("qqqq")
    with pytest.raises(UnknownGpu, match="Did you mean NVIDIA-A10"):
        catalogue.gpu_product("NVIDIA-A10X")


def test_gpus_answer_to_what_a_nodes_label_calls_them(catalogue: Catalogue) -> None:
    assert catalogue.gpu_product("tesla-t4") is catalogue.gpu("NVIDIA T4")
    twin = replace(catalogue.gpu("NVIDIA T4"), name="NVIDIA T4 again")
    with pytest.raises(InvalidInput, match="two entries are called so \\(GPU product\\)"):
        replace(catalogue, gpus=(*catalogue.gpus, twin))


def test_two_entries_of_one_name_are_refused(catalogue: Catalogue) -> None:
    twin = replace(catalogue.model("phi-4"), hf_id="someone/else")
    with pytest.raises(InvalidInput, match="two entries"):
        replace(catalogue, models=(*catalogue.models, twin))


def test_a_catalogue_can_be_sent_to_another_process(catalogue: Catalogue) -> None:
    copy = pickle.loads(pickle.dumps(catalogue))
    assert copy == catalogue
    assert copy.model("phi-4") == catalogue.model("phi-4")


def test_a_model_of_ones_own_needs_a_file(catalogue: Catalogue) -> None:
    with pytest.raises(UnknownModel) as near:
        catalogue.model("Qwen/Qwen3-8B")
    assert near.value.remedy.startswith("Did you mean Qwen/Qwen3-8B-AWQ or ")
    with pytest.raises(UnknownModel) as far:
        catalogue.model("zzz")
    for error in (near, far):
        assert "--models (KAITO_MODELS): see docs/models.md" in error.value.remedy


def test_problems_come_in_order(catalogue: Catalogue) -> None:
    twin = replace(catalogue.model("gemma-3-4b-it"), source="test")
    with pytest.raises(InvalidInput) as caught:
        replace(catalogue, models=(*catalogue.models, twin))
    assert [problem.field for problem in caught.value.problems] == [
        "gemma-3-4b-it",
        "google/gemma-3-4b-it",
        "gemma-3-4b-instruct",
    ]
