import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from kaito.cli import app
from kaito.domain import labels
from tests.unit.domain.builders import A10, A100, TUNING, TWO_A10, V100, manifest

RUNNER = CliRunner()
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}


def plan(*arguments: str, stdin: str | None = None) -> Result:
    return RUNNER.invoke(app, ["plan", *arguments], input=stdin)


def document(*arguments: str) -> dict[str, Any]:
    found = plan(*arguments, "-o", "json")
    assert found.exit_code == 0, found.stderr
    return dict(json.loads(found.stdout))


def refused(*arguments: str) -> str:
    found = plan(*arguments)
    assert found.exit_code == 2, found.output
    assert found.stdout == ""
    return found.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "my-model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return path


def test_the_table_names_the_cheapest_and_why_others_are_out() -> None:
    found = plan("phi-4", "--context", "16384", "--region", "eastus")
    assert found.exit_code == 0
    lines = found.stdout.splitlines()
    assert lines[0].startswith("phi-4: 14.7 billion parameters, 27.31 GiB of weights in bfloat16")
    assert lines[4].startswith(A100)
    assert f"Recommended: 1 x {A100}: 16,384 tokens of context" in found.stdout
    assert "3.67 USD" in found.stdout
    assert "no engine image has kernels for AMD Radeon PRO V620" in found.stdout
    assert "whose source has no date" in found.stdout


def test_what_a_v100_can_and_cannot_hold() -> None:
    """The models of the examples that people begin with, on the machine that they name."""
    short = document("phi-3-mini-4k-instruct", "--instance-type", V100)
    (offer,) = short["offers"]
    assert offer["verdict"] == "fits"
    assert (offer["engine"], offer["dtype"], offer["context"]) == ("transformers", "float16", 4096)
    long = document("phi-3-mini-128k-instruct", "--instance-type", V100)
    (offer,) = long["offers"]
    assert offer["verdict"] == "fits"
    assert 2048 < offer["context"] < 20_000
    whole = plan("phi-3-mini-128k-instruct", "--instance-type", V100, "--context", "131072")
    assert whole.exit_code == 1
    assert "does not fit" in whole.stdout
    assert "which leaves room for" in " ".join(whole.stdout.split())


def test_json_has_the_documented_keys_and_every_type() -> None:
    found = document("phi-4", "--cloud", "all", "--concurrency", "20")
    assert found["version"] == 1
    assert found["recommended"] == found["offers"][0]["instance_type"]
    known = {one["instance_type"] for one in found["offers"] + found["rejected"]}
    assert {A10, "p4d.24xlarge", "Standard_NC4_A2"} <= known
    assert all(one["concurrency"] >= 20 for one in found["offers"])
    last = found["offers"][-1]
    assert last["price"] is None
    assert last["usd_per_hour"] is None
    page = (Path(__file__).parents[2] / "docs" / "plan.md").read_text(encoding="utf-8")
    keys = {*found, *found["model"], *found["asked"], *last, *found["offers"][0]["price"]}
    assert {key for key in keys if f"`{key}`" not in page} == set()


def test_a_type_that_is_named_is_looked_at_closely() -> None:
    found = document("phi-4", "--instance-type", "Standard_ND96asr_A100_v4")
    options = {one["layout"]: one for one in found["offers"][0]["options"]}
    assert options["TP 2 x DP 4"]["taken"]
    assert not options["TP 8"]["taken"]
    assert "MIG 3g.20gb" in options
    table = plan("phi-4", "--instance-type", "Standard_ND96asr_A100_v4").stdout
    assert "Layouts on Standard_ND96asr_A100_v4" in table
    assert "40 heads and 10 KV heads do not split 8 ways" in table


def test_a_load_decides_how_many() -> None:
    load = ("--rate", "4", "--input-tokens", "1500", "--output-tokens", "300")
    found = document("llama-3.3-70b-instruct", *load, "--ttft", "1s", "--tpot", "50ms")
    for one in found["offers"]:
        assert one["ttft_s"] <= 1
        assert one["tpot_s"] <= 0.0501
        assert one["requests_per_s"] == pytest.approx(4, rel=0.01)
        assert one["machines"] == one["copies"] * one["nodes"]
    assert found["asked"]["tpot_s"] == 0.05


def test_spot_prices_that_are_unknown_are_marked() -> None:
    table = plan("phi-4", "--spot").stdout
    assert "6.98+" in table
    assert "+: no spot price is known" in table


def test_markdown_and_html_have_the_same_rows() -> None:
    offers = document("phi-4")["offers"]
    markdown = plan("phi-4", "-o", "markdown").stdout
    page = plan("phi-4", "-o", "html").stdout
    for one in offers:
        assert one["instance_type"].replace("_", "\\_") in markdown
        assert one["instance_type"] in page
    assert markdown.startswith("## phi-4\n")
    assert page.startswith("<!doctype html>")


def test_a_folder_of_ones_own(folder: Path) -> None:
    for path in (folder, folder / "config.json"):
        found = document(str(path))
        assert found["model"]["name"] == "my-model"
        assert found["model"]["token_limit"] == 8192
        assert found["offers"]


def test_a_file_that_describes_a_model(folder: Path) -> None:
    models = Path(__file__).parents[2] / "examples" / "models"
    assert document("qwen3-0.6b", "--models", str(models))["offers"]


def write(folder: Path, *documents: dict[str, Any]) -> str:
    path = folder / "workspace.yaml"
    path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    return str(path)


def test_a_manifest_says_model_types_and_context(tmp_path: Path) -> None:
    config = {
        "kind": "ConfigMap",
        "metadata": {"name": "serving"},
        "data": {"inference_config.yaml": "vllm: {max-model-len: 6000}"},
    }
    inference = {"preset": {"name": "phi-4"}, "config": "serving"}
    notes = {labels.FALLBACK_INSTANCE_TYPES: A100}
    made = manifest(instance_type=TWO_A10, metadata={"annotations": notes}, inference=inference)
    found = document("-f", write(tmp_path, made, config))
    assert [one["instance_type"] for one in found["offers"]] == [A100, TWO_A10]
    assert {one["context"] for one in found["offers"]} == {6000}
    alone = plan("-f", write(tmp_path, made))
    assert "ConfigMap serving is not in the file" in alone.stdout
    wider = document("-f", write(tmp_path, made, config), "--instance-type", A10)
    assert [one["instance_type"] for one in wider["offers"]] == [A10]


def test_a_manifest_from_standard_input() -> None:
    found = plan("-f", "-", stdin=json.dumps(manifest()))
    assert found.exit_code == 0
    assert "Layouts on" in found.stdout


def test_nothing_that_does_it_is_exit_code_one() -> None:
    found = plan("phi-4", "--instance-type", V100)
    assert found.exit_code == 1
    assert "Recommended: nothing, as none does what is asked." in found.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "MODEL|PATH, -f: give one of the two"),
        (("phi-4", "-f", "x.yaml"), "MODEL|PATH, -f: give one of the two"),
        (("phi-44",), "unknown model 'phi-44'. Did you mean phi-4"),
        (("phi-4", "--context", "0"), "--context: must be at least 1, got 0"),
        (("phi-4", "--concurrency", "-3"), "--concurrency: must be at least 1, got -3"),
        (("phi-4", "--context", "16385"), "is 16385, and the limit of phi-4 is 16384 tokens"),
        (("phi-4", "--region", "narnia"), "no price is known in 'narnia'. Known: centralus"),
        (("phi-4", "--cloud", "moon"), "unknown cloud 'moon'. Known: arc, aws, azure"),
        (("phi-4", "--instance-type", "NC24"), "unknown instance type 'NC24'"),
        (("phi-4", "--ttft", "soon"), "--ttft: must be a time, got 'soon'"),
        (("phi-4", "--rate", "0"), "--rate: must be a number above 0, got 0.0"),
        (("phi-4", "--rate", "nan"), "--rate: must be a number above 0, got nan"),
        (("phi-4", "--tpot", "1ms"), "keeps --tpot 1 ms; the closest is Standard_ND96isr_H200_v5"),
        (("phi-4", "-f"), "requires an argument"),
        (("-f", "none.yaml"), "none.yaml: cannot be read"),
        (("phi-4", "--models", "none.yaml"), "none.yaml: cannot be read"),
    ],
)
def test_a_wrong_question_is_told(arguments: tuple[str, ...], message: str) -> None:
    assert message in refused(*arguments)


def test_a_config_that_is_wrong_is_told(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**CONFIG, "num_hidden_layers": 0}), encoding="utf-8")
    assert "num_hidden_layers" in refused(str(folder))
    path.write_text("{", encoding="utf-8")
    assert "config.json: is not JSON" in refused(str(folder))


def test_weights_that_are_cut_off_are_told(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((1000).to_bytes(8, "little") + b"{")
    assert "ends within its header" in refused(str(folder))


def test_an_architecture_that_nobody_knows_is_told(folder: Path) -> None:
    config = {**CONFIG, "architectures": ["LlamoForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert "LlamoForCausalLM" in refused(str(folder))


def test_the_hub_is_not_asked_when_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in refused("nobody/has-this-model")


def training(**arguments: int) -> dict[str, Any]:
    sections = {
        "TrainingArguments": arguments,
        "QuantizationConfig": {"load_in_4bit": True},
    }
    text = yaml.safe_dump({"training_config": sections})
    return {
        "kind": "ConfigMap",
        "metadata": {"name": "training"},
        "data": {"training_config.yaml": text},
    }


def test_a_tuning_manifest(tmp_path: Path) -> None:
    made = manifest(instance_type=A100, tuning={**TUNING, "config": "training"})
    path = write(tmp_path, made, training(per_device_train_batch_size=3))
    found = document("-f", path)
    assert found["mode"] == "tuning"
    assert found["asked"]["batch_size"] == 3
    assert found["recommended"] == A100
    assert document("-f", path, "--batch-size", "5")["asked"]["batch_size"] == 5
    alone = plan("-f", write(tmp_path, made))
    assert "ConfigMap training is not in the file: its batch size" in " ".join(alone.stdout.split())


def test_a_tuning_job_in_every_format() -> None:
    job = ("phi-4", "--tuning", "qlora", "--batch-size", "6", "--rank", "16")
    found = document(*job)
    assert found["asked"]["rank"] == 16
    verdicts = {one["instance_type"]: one["verdict"] for one in found["offers"]}
    assert (verdicts[A10], verdicts[A100]) == ("tight", "fits")
    assert found["recommended"] == A100
    assert V100 in {one["instance_type"] for one in found["rejected"]}
    offer = found["offers"][0]
    assert set(offer["memory_gib"]) >= {"weights", "adapters", "optimizer", "activations"}
    page = (Path(__file__).parents[2] / "docs" / "plan.md").read_text(encoding="utf-8")
    assert {key for key in (*found, *found["asked"], *offer) if f"`{key}`" not in page} == set()
    table = plan(*job).stdout
    assert "OPTIMIZER  ACTIVATIONS" in table
    assert "no tuning was measured" in " ".join(table.split())
    assert "a smaller batch or shorter sequences are safer" in " ".join(table.split())
    assert "| optimizer | activations |" in plan(*job, "-o", "markdown").stdout
    html = plan(*job, "-o", "html").stdout
    assert 'class="p-optimizer"' in html
    assert "Memory of one GPU" in html
    assert "KV cache" not in html


def test_a_tuning_job_that_nothing_holds_is_exit_code_one() -> None:
    found = plan("phi-4", "--tuning", "lora", "--instance-type", V100)
    assert found.exit_code == 1
    assert "with 1024 tokens a sequence does not fit" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tuning", "lora", "--rate", "4", "--ttft", "1s"), "--rate, --ttft: is about serving"),
        (("--batch-size", "4", "--rank", "8"), "--batch-size, --rank: is about tuning"),
        (("--tuning", "lora", "--rank", "0"), "--rank: must be within 1..1000000 for phi-4, got 0"),
        (("--tuning", "lora", "--sequence-length", "20000"), "must be within 1..16384 for phi-4"),
        (("--tuning", "full"), "Invalid value for '--tuning'"),
        (("--rate", "1000000"), "the closest is Standard_ND96isr_H200_v5, with 11,686 copies"),
    ],
)
def test_a_wrong_question_about_a_job_is_told(arguments: tuple[str, ...], message: str) -> None:
    assert message in refused("phi-4", *arguments)


def test_a_manifest_that_serves_is_no_tuning_job(tmp_path: Path) -> None:
    assert "serves a model" in refused("-f", write(tmp_path, manifest()), "--tuning", "lora")


def test_copies_and_adapters_are_counted_in_words() -> None:
    assert "copies on a machine each, as one does not carry it" in " ".join(
        plan("phi-4", "--rate", "20").stdout.split()
    )


def test_one_adapter_is_one(tmp_path: Path) -> None:
    adapters = [{"source": {"name": "a", "image": "registry.test/a:1"}}]
    for count in (1, 2):
        inference = {"preset": {"name": "phi-4"}, "adapters": adapters * count}
        shown = plan("-f", write(tmp_path, manifest(instance_type=A100, inference=inference)))
        assert f"; {count} adapter{'s' * (count - 1)}. Machines" in shown.stdout
