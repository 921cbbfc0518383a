import shutil
from pathlib import Path

import pytest
import yaml

from kaito.adapters.files import default_directory, load_catalogue
from kaito.domain.catalogue import UnknownModel
from kaito.domain.errors import InvalidInput
from kaito.domain.quantity import GIB


@pytest.fixture
def presets(tmp_path: Path) -> Path:
    """A copy of presets/ to spoil."""
    return Path(shutil.copytree(default_directory(), tmp_path / "presets"))


def edit(path: Path, **changes: object) -> None:
    document = yaml.safe_load(path.read_text())
    document.update(changes)
    path.write_text(yaml.safe_dump(document))


def problems(presets: Path) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        load_catalogue(presets)
    return [str(problem) for problem in caught.value.problems]


def test_everything_is_read() -> None:
    catalogue = load_catalogue()
    assert len(catalogue.models) == 71
    assert len(catalogue.instance_types) == 96
    assert {one.name for one in catalogue.engines} == {"vllm", "transformers"}
    phi = catalogue.model("phi-3-mini-4k-instruct")
    assert phi.disk_bytes == 87 * GIB
    assert phi.weight_bytes == 7_645_041_787
    assert phi.tuning is not None
    assert phi.tuning.disk_bytes == 80 * GIB
    assert phi.revision == "0a67737cc96d2554230f90338b163bc6380a2a85"


def test_every_figure_has_a_source_and_every_list_is_sorted() -> None:
    catalogue = load_catalogue()
    kinds = (catalogue.models, catalogue.gpus, catalogue.instance_types)
    for kind in kinds:
        names = [one.name for one in kind]
        assert names == sorted(names)
        assert all(one.source for one in kind)


def test_prices_are_those_of_the_source() -> None:
    catalogue = load_catalogue()
    v100 = catalogue.instance_type("Standard_NC6s_v3").price("eastus")
    assert v100 is not None
    assert (v100.on_demand_usd_per_hour, v100.spot_usd_per_hour) == (3.06, 0.3978)
    h100 = catalogue.instance_type("Standard_ND96isr_H100_v5")
    assert all(price.spot_usd_per_hour is None for price in h100.prices.values())
    assert any("spot omitted" in caveat for caveat in h100.caveats)
    assert catalogue.instance_type("Standard_NC6s_v3").legacy
    assert not h100.legacy


def test_all_problems_of_all_files_come_at_once(presets: Path) -> None:
    edit(presets / "models/phi-4.yaml", layer=40, disk=107)
    edit(presets / "gpus/a10.yaml", memory="24GB")
    edit(presets / "engines/vllm.yaml", name="vlm")
    found = problems(presets)
    assert any("models/phi-4.yaml: layer: unknown key. Did you mean layers" in one for one in found)
    assert any("models/phi-4.yaml: disk" in one and "107" in one for one in found)
    assert any("gpus/a10.yaml: memory" in one and "'24GB'" in one for one in found)
    assert any("engines/vllm.yaml: name" in one and "'vlm'" in one for one in found)


def test_a_file_without_source_is_refused(presets: Path) -> None:
    path = presets / "gpus/t4.yaml"
    document = yaml.safe_load(path.read_text())
    del document["source"]
    path.write_text(yaml.safe_dump(document))
    assert any(one.startswith("gpus/t4.yaml: source: is required") for one in problems(presets))


def test_values_that_contradict_each_other_are_refused(presets: Path) -> None:
    attention = {"heads": 40, "kv_heads": 7, "head_dim": 128}
    edit(presets / "models/phi-4.yaml", attention=attention)
    assert any("7 KV heads do not divide 40 heads" in one for one in problems(presets))


def test_mig_profiles_have_a_source_and_fit_their_pattern(presets: Path) -> None:
    edit(presets / "gpus/a100-80gb.yaml", mig={"memory_eighths": {"8g.80gb": 9}})
    found = [one for one in problems(presets) if one.startswith("gpus/a100-80gb.yaml: mig")]
    assert any("source: is required" in one for one in found)
    assert len(found) == 3


def test_a_machine_with_an_unknown_gpu_is_refused(presets: Path) -> None:
    path = presets / "instance_types/azure.yaml"
    path.write_text(path.read_text().replace("gpu: NVIDIA T4", "gpu: NVIDIA T5", 1))
    (found,) = problems(presets)
    assert "instance_types[3].gpu" in found
    assert "Did you mean NVIDIA T4" in found


def test_what_is_not_yaml_is_named(presets: Path) -> None:
    (presets / "models/broken.yaml").write_text("a: [")
    assert any(one.startswith("models/broken.yaml: is not YAML") for one in problems(presets))


def test_an_empty_directory_says_what_belongs_there(tmp_path: Path) -> None:
    found = problems(tmp_path)
    assert len(found) == 4
    assert "no *.yaml file" in found[0]


OWN_MODEL = Path(__file__).parents[3] / "examples" / "models" / "qwen3-0.6b.yaml"


def own_problems(models: Path) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        load_catalogue(models=models)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("models", [OWN_MODEL, OWN_MODEL.parent])
def test_models_of_ones_own_stand_beside_kaitos(models: Path) -> None:
    with pytest.raises(UnknownModel, match=r"named to kaito with --models \(KAITO_MODELS\)"):
        load_catalogue().model("Qwen/Qwen3-0.6B")
    catalogue = load_catalogue(models=models)
    assert catalogue.model("Qwen/Qwen3-0.6B").name == "qwen3-0.6b"
    assert [one.name for one in catalogue.models] == sorted(
        ["qwen3-0.6b", *(one.name for one in load_catalogue().models)]
    )


def test_a_model_of_ones_own_that_is_wrong_names_file_key_and_value(tmp_path: Path) -> None:
    text = OWN_MODEL.read_text()
    for old, new in (
        ("name: qwen3-0.6b", "name: Qwen 3"),
        ("hf_id: Qwen/Qwen3-0.6B", "hf_id: qwen3"),
        ("layers: 28", "layers: many"),
    ):
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    found = own_problems(tmp_path)
    assert len(found) == 3
    assert all(one.startswith(f"{file}: ") for one in found)
    for key, value in (("name", "Qwen 3"), ("hf_id", "qwen3"), ("layers", "many")):
        assert any(f": {key}: " in one and repr(value) in one for one in found), key


def test_models_that_are_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    assert own_problems(missing) == [f"{missing}: cannot be read: No such file or directory"]
    (found,) = own_problems(tmp_path)
    assert found == (
        f"models: no *.yaml file in {tmp_path}. Give a model's file, or the folder that holds "
        "such files"
    )


def test_a_model_that_kaito_has_is_refused(tmp_path: Path) -> None:
    shutil.copy(default_directory() / "models" / "phi-4.yaml", tmp_path)
    assert own_problems(tmp_path) == [
        "phi-4: two entries are called so (model). Rename",
        "microsoft/phi-4: two entries are called so (model). Rename",
    ]
