"""presets/ against what KAITO lists, and against itself."""

from collections import Counter

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.engine import NoEngine, choose_engine
from kaito.domain.fit import what_would_fit
from kaito.domain.model import ModelProfile
from kaito.domain.quantity import GIB
from kaito.domain.workspace import TuningMethod
from tests.unit.adapters.listed_by_kaito import (
    LEGACY_MACHINES,
    MACHINES,
    MODELS,
    ListedMachine,
    ListedModel,
)

CATALOGUE = load_catalogue()
OF_OLD = (
    "falcon-7b", "falcon-7b-instruct", "falcon-40b", "falcon-40b-instruct", "llama-2-7b",
    "llama-2-7b-chat", "llama-2-13b", "llama-2-13b-chat", "llama-2-70b", "llama-2-70b-chat",
    "mistral-7b", "mistral-7b-instruct", "phi-2", "phi-3-mini-4k-instruct",
    "phi-3-mini-128k-instruct", "phi-3-medium-4k-instruct", "phi-3-medium-128k-instruct",
)  # fmt: skip
HELD_TWICE = {"openai/gpt-oss-20b", "openai/gpt-oss-120b"}


@pytest.mark.parametrize("listed", MODELS, ids=lambda listed: listed.hf_id)
def test_a_model_is_as_listed(listed: ListedModel) -> None:
    model = CATALOGUE.model(listed.hf_id)
    copies = 2 if listed.hf_id in HELD_TWICE else 1
    assert copies * model.weight_bytes / GIB == pytest.approx(listed.size_gib, abs=0.0051)
    assert model.disk_bytes == listed.disk_gib * GIB
    assert model.token_limit == listed.token_limit
    assert CATALOGUE.model(model.name) is CATALOGUE.model(listed.hf_id.upper()) is model
    if listed.alias:
        assert CATALOGUE.model(listed.alias) is model
    tuned = model.tuning.disk_bytes if model.tuning else 0
    assert tuned == listed.tuning_disk_gib * GIB
    if model.tuning is not None:
        assert model.tuning.methods == (TuningMethod.LORA, TuningMethod.QLORA)
        names = {linear.name for linear in model.linears}
        assert set(model.tuning.target_modules) <= names


def test_nothing_is_left_out_or_called_twice() -> None:
    assert len(MODELS) == 60
    assert sum(bool(listed.alias) for listed in MODELS) == 25
    listed = {one.hf_id for one in MODELS}
    others = [model.name for model in CATALOGUE.models if model.hf_id not in listed]
    assert sorted(others) == sorted(set(OF_OLD) & set(others))
    assert len(others) == 11
    every = [
        key.casefold()
        for model in CATALOGUE.models
        for key in (model.name, model.hf_id, *model.aliases)
    ]
    assert [key for key, count in Counter(every).items() if count > 1] == []


@pytest.mark.parametrize("name", OF_OLD)
def test_presets_of_old_manifests_are_known(name: str) -> None:
    assert CATALOGUE.model(name).source


@pytest.mark.parametrize("name", ["falcon-7b", "falcon-40b", "phi-2"])
def test_presets_of_old_tuning_manifests_can_be_tuned(name: str) -> None:
    """KAITO v0.3 tuned these (presets/models/{falcon,phi2}/model.go), not those for chats."""
    model = CATALOGUE.model(name)
    assert model.tuning is not None
    assert set(model.tuning.target_modules) <= {linear.name for linear in model.linears}


@pytest.mark.parametrize("listed", [*MACHINES, *LEGACY_MACHINES], ids=lambda listed: listed.name)
def test_a_machine_is_as_listed(listed: ListedMachine) -> None:
    machine = CATALOGUE.instance_type(listed.name)
    assert machine.cloud == listed.cloud
    assert machine.gpu_count == listed.gpus
    assert machine.total_gpu_memory_bytes == listed.memory_gib * GIB
    assert machine.nvme is listed.nvme
    assert machine.legacy is (listed in LEGACY_MACHINES)
    assert machine.gpu.capability_text == listed.compute_capability


MEASURED_ONLY = {"NVIDIA B200 SXM 180GB", "NVIDIA L40S"}
"""Cards of published measurements that no machine of the catalogue has."""


def test_no_machine_is_left_out_or_made_up() -> None:
    assert len(MACHINES) == 57
    assert len(LEGACY_MACHINES) == 39
    listed = {one.name for one in (*MACHINES, *LEGACY_MACHINES)}
    assert {one.name for one in CATALOGUE.instance_types} == listed
    used = {one.gpu.name for one in CATALOGUE.instance_types}
    assert used | MEASURED_ONLY == {gpu.name for gpu in CATALOGUE.gpus}


@pytest.mark.parametrize("model", CATALOGUE.models, ids=lambda model: model.name)
def test_every_model_fits_some_machine_of_azure(model: ModelProfile) -> None:
    fitting = what_would_fit(
        model, CATALOGUE.instance_types, CATALOGUE.engines, cloud="azure", node_limit=8
    )
    assert fitting
    assert all(one.gpu.compute_capability for one in fitting)


def test_a_machine_without_nvidia_cards_is_refused_with_a_reason() -> None:
    phi = CATALOGUE.model("phi-4")
    others = [one for one in CATALOGUE.instance_types if one.gpu.vendor != "NVIDIA"]
    assert {one.gpu.vendor for one in others} == {"AMD", "AWS"}
    for machine in others:
        with pytest.raises(NoEngine, match="no engine image has kernels for"):
            choose_engine(CATALOGUE.engines, machine.gpu, phi)


DENSE = [
    model
    for model in CATALOGUE.models
    if model.caches_evenly and model.experts is None and "Mistral3" not in model.architecture
]


@pytest.mark.parametrize("model", DENSE, ids=lambda model: model.name)
def test_shapes_account_for_the_weight_files(model: ModelProfile) -> None:
    """Embeddings and linear layers, from the shapes, are what the files hold but for the norms."""
    linear = model.layers * sum(one.parameters for one in model.linears)
    assert linear + model.embedding_parameters == pytest.approx(model.parameters, rel=2e-3)
    assert linear == pytest.approx(model.linear_parameters, rel=2e-3)


MIXTURES = [model for model in CATALOGUE.models if model.experts is not None]


@pytest.mark.parametrize("model", MIXTURES, ids=lambda model: model.name)
def test_experts_account_for_most_of_the_weight_files(model: ModelProfile) -> None:
    """Beside them there are attention, shared experts, further-token layers, vision towers."""
    assert model.experts is not None
    experts = model.experts
    routed = experts.layers * experts.count * experts.parameters(model.hidden_size)
    assert 0.80 * model.parameters < routed < model.parameters
    assert 0 < model.active_parameters < 0.3 * model.parameters


@pytest.mark.parametrize(
    ("name", "billions"),  # what the makers state: total, and active per token
    [
        ("deepseek-r1-0528", (671, 37)),
        ("kimi-k2.5", (1040, 32)),
        ("minimax-m2.7", (230, 10)),
        ("gpt-oss-120b", (117, 5.1)),
        ("qwen3.5-122b-a10b", (122, 10)),
        ("qwen3.6-35b-a3b-fp8", (35, 3)),
        ("nvidia-nemotron-3-nano-30b-a3b-bf16", (31.6, 3.5)),
        ("mistral-small-4-119b-2603-nvfp4", (119, 6.5)),
        ("qwen3-8b-awq", (8.19, 8.19)),
        ("gemma-3-27b-it", (27.4, 27.4)),
    ],
)
def test_parameters_are_about_what_the_makers_state(
    name: str, billions: tuple[float, float]
) -> None:
    model = CATALOGUE.model(name)
    total, active = (1e9 * figure for figure in billions)
    assert model.parameters == pytest.approx(total, rel=0.05)
    # Taking attention for quantised like the experts overstates what is active.
    assert model.parameters - model.active_parameters == pytest.approx(total - active, rel=0.05)
