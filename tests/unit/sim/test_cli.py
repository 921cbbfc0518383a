import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from sim.cli import app

ROOT = Path(__file__).parents[3]
QUICK_START = ROOT / "sim" / "scenarios" / "quickstart_phi_3.yaml"
HELP_LIMIT_S = 0.5
WORKSPACE = """\
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata:
  name: ws
resource:
  instanceType: Standard_NC24ads_A100_v4
  labelSelector:
    matchLabels:
      apps: ws
inference:
  preset:
    name: phi-4-mini-instruct
"""


def sim(*arguments: object, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def refused(*arguments: object, stdin: str | bytes | None = None) -> str:
    """What is said about bad input: on stderr, on one screen, without a traceback."""
    result = sim("run", *arguments, stdin=stdin)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 50
    return result.stderr


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    file = tmp_path / "ws.yaml"
    file.write_text(WORKSPACE)
    return file


class TestBadInput:
    @pytest.mark.parametrize(
        ("old", "new", "field", "value", "remedy"),
        [
            ("instanceType", "instanceTyp", "resource.instanceTyp", "unknown key", "instanceType"),
            ("name: ws", "name: 5", "metadata.name", "must be a text, got 5", '"5"'),
            (
                "phi-4-mini-instruct",
                "phi-4-mini-instrct",
                "inference.preset.name",
                "'phi-4-mini-instrct'",
                "Did you mean phi-4-mini-instruct",
            ),
            (
                "NC24ads_A100_v4",
                "NC24ads_A100_v5",
                "resource.instanceType",
                "'Standard_NC24ads_A100_v5'",
                "Did you mean Standard_NC24ads_A100_v4",
            ),
        ],
        ids=["unknown key", "wrong type", "unknown preset", "unknown instance type"],
    )
    def test_a_field_is_named_with_value_and_remedy(
        self, manifest: Path, old: str, new: str, field: str, value: str, remedy: str
    ) -> None:
        manifest.write_text(WORKSPACE.replace(old, new))
        said = refused(manifest)
        assert f"{manifest}:" in said
        assert field in said
        assert value in said
        assert remedy in said

    def test_a_model_that_cannot_fit_comes_with_what_would(self, manifest: Path) -> None:
        text = WORKSPACE.replace("phi-4-mini-instruct", "phi-3-medium-4k-instruct")
        manifest.write_text(text.replace("NC24ads_A100_v4", "NC6s_v3"))
        said = refused(manifest)
        assert "resource.instanceType" in said
        assert "does not fit Standard_NC6s_v3" in said
        assert "It fits on Standard_" in said

    @pytest.mark.parametrize("name", ["phi_3_with_adapters.yaml", "tuning_phi_3.yaml"])
    def test_a_placeholder_is_named_with_what_to_put_there(self, tmp_path: Path, name: str) -> None:
        part = {
            "phi_3_with_adapters.yaml": (
                "  adapters:\n  - source:\n      name: a\n"
                "      image: ACR_REPO_HERE.azurecr.io/ADAPTER_HERE:0.0.1\n"
            ),
            "tuning_phi_3.yaml": (
                "  method: qlora\n  input: {urls: ['https://example.com/data.parquet']}\n"
                "  output:\n    image: ACR_REPO_HERE.azurecr.io/IMAGE_NAME_HERE:0.0.1\n"
                "    imagePushSecret: ACR_REGISTRY_SECRET_HERE\n"
            ),
        }[name]
        file = tmp_path / name
        mode = "tuning" if "tuning" in name else "inference"
        file.write_text(WORKSPACE.replace("inference", mode, 1) + part)
        said = refused(file)
        assert "ACR_REPO_HERE" in said
        assert "ut the name of your container registry in place of ACR_REPO_HERE" in said

    def test_two_documents_with_one_name(self, manifest: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.yaml"
        other.write_text(WORKSPACE)
        said = refused(manifest, other)
        assert "Workspace default/ws is given twice" in said
        assert f"{manifest}:1" in said
        assert f"{other}:4: metadata.name" in said
        assert "Remove or rename one" in said

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "the file is empty"),
            (b"# nothing\n", "nothing but comments"),
            (gzip.compress(b"x"), "is not text in UTF-8"),
            (b"a: [1\n", "is not valid YAML"),
            (b"a: &a [*a]\n", "*a refers to itself"),
            (b"timeline:\n- {at: -5m, apply: ws.yaml}\n", "timeline[0].at: must not be negative"),
            (b"until: -1\n", "until: must not be negative, got -1"),
            (b"include: [x.yaml]\n", "includes itself: "),
        ],
        ids=["empty", "comments", "binary", "syntax", "circle", "time", "until", "include"],
    )
    def test_a_file_that_is_refused_says_why(
        self, tmp_path: Path, content: bytes, said: str
    ) -> None:
        file = tmp_path / "x.yaml"
        file.write_bytes(content)
        assert said in refused(file)

    def test_a_file_of_50_mb(self, tmp_path: Path) -> None:
        file = tmp_path / "x.yaml"
        file.write_bytes(b"# padding\n" * 5_000_000)
        assert "is too big: 47.7 MiB, the limit is 4 MiB" in refused(file)

    def test_an_alias_bomb(self, tmp_path: Path) -> None:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
        file = tmp_path / "x.yaml"
        file.write_text("\n".join(lines))
        assert "more than 200,000 values once aliases are expanded" in refused(file)

    def test_all_problems_are_listed_at_once(self, tmp_path: Path) -> None:
        file = tmp_path / "x.yaml"
        bad = WORKSPACE.replace("apps: ws", "apps: 1").replace("preset:", "prset:")
        file.write_text(f"{bad}---\n{WORKSPACE.replace('phi-4', 'psi-9')}")
        said = refused(file, tmp_path / "absent.yaml")
        assert said.startswith("5 problems in the input; nothing was run.\n")
        for part in ("matchLabels.apps", "inference.prset", "psi-9", "absent.yaml", "given twice"):
            assert part in said

    def test_standard_input_is_checked_too(self) -> None:
        assert "standard input:4: metadata.nam: unknown key" in refused(
            "-", stdin=WORKSPACE.replace("name: ws", "nam: ws")
        )

    @pytest.mark.parametrize(
        ("option", "value", "said"),
        [
            ("--until", "-5m", "--until: must not be negative, got '-5m'"),
            ("--until", "soon", "--until: must be a length of time, got 'soon'"),
            ("--seed", "-1", "--seed"),
            ("--seed", "x", "--seed"),
            ("--output", "xml", "xml"),
            ("--nonsense", "1", "nonsense"),
        ],
    )
    def test_an_option(self, manifest: Path, option: str, value: str, said: str) -> None:
        assert said in refused(manifest, option, value)

    def test_events_that_cannot_be_written_stop_the_run(self, manifest: Path) -> None:
        path = manifest.parent / "absent" / "events.jsonl"
        assert f"--events {path}: cannot be written" in refused(manifest, "--events", path)

    def test_events_do_not_overwrite_an_input(self, manifest: Path) -> None:
        assert "is an input" in refused(manifest, "--events", manifest)
        assert manifest.read_text() == WORKSPACE

    def test_no_file(self) -> None:
        assert sim("run").exit_code == 2


class TestRun:
    def test_a_plain_manifest_becomes_ready(self, manifest: Path) -> None:
        result = sim("run", manifest)
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[1].startswith("ws     Standard_NC24ads_A100_v4")
        assert "✓ Workspace default/ws is READY" in result.stdout
        assert result.stdout.splitlines()[-1].endswith(f"python -m sim run {manifest} --seed 0")
        assert result.stderr == ""

    def test_a_model_of_ones_own_is_served(self) -> None:
        manifest = ROOT / "examples" / "inference" / "kaito_workspace_qwen3_0.6b.yaml"
        assert "unknown model 'Qwen/Qwen3-0.6B'" in refused(manifest)
        result = sim("run", manifest, "--models", ROOT / "examples" / "models")
        assert result.exit_code == 0, result.output
        assert "READY" in result.stdout
        assert "--models" in result.stdout

    def test_json_is_all_of_the_output(self, manifest: Path) -> None:
        result = sim("run", manifest, "-o", "json", "--seed", 5)
        values = json.loads(result.stdout)
        assert (values["ok"], values["seed"]) == (True, 5)
        assert values["workspaces"][0]["ready"] is True
        assert values["workspaces"][0]["phases"]

    def test_standard_input_is_run(self) -> None:
        assert sim("run", "-", stdin=WORKSPACE).exit_code == 0

    def test_events_are_json_lines_and_repeat_with_the_seed(self, manifest: Path) -> None:
        logs = []
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            file = manifest.parent / name
            assert sim("run", manifest, "--events", file, "--seed", seed).exit_code == 0
            logs.append(file.read_bytes())
        assert all(isinstance(json.loads(line), dict) for line in logs[0].splitlines())
        assert logs[0] == logs[1]
        assert logs[0] != logs[2]

    def test_a_failed_expectation_is_exit_code_1(self, manifest: Path) -> None:
        result = sim("run", manifest, "--until", "1m", "--quiet")
        assert result.exit_code == 1
        assert "✗ Workspace default/ws is READY" in result.stdout

    def test_quiet_success_says_nothing(self, manifest: Path) -> None:
        result = sim("run", manifest, "-q")
        assert (result.exit_code, result.output) == (0, "")

    def test_assumed_secrets_are_named(self, manifest: Path) -> None:
        manifest.write_text(WORKSPACE + "    presetOptions: {imagePullSecrets: [registry]}\n")
        assert "Secret default/registry" in sim("run", manifest).stdout

    @pytest.mark.parametrize(
        "file", sorted((ROOT / "sim" / "scenarios").glob("*.yaml")), ids=lambda file: file.stem
    )
    def test_a_shipped_scenario_comes_true(self, file: Path) -> None:
        result = sim("run", file)
        assert result.exit_code == 0, result.output


def test_schema_is_json_schema() -> None:
    result = sim("schema")
    assert result.exit_code == 0
    Draft202012Validator.check_schema(json.loads(result.stdout))


def test_calibrate_compares_with_what_is_published() -> None:
    result = sim("calibrate", "--seeds", 20, "-o", "json")
    assert json.loads(result.stdout)["seeds"] == 20


class TestProcess:
    """What only a process of its own shows."""

    @staticmethod
    def start(*arguments: object, **options: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "sim", *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def test_help_answers_at_once(self) -> None:
        took_s = []
        for _ in range(3):
            began_s = time.perf_counter()  # noqa: TID251 (a real process takes wall-clock time)
            with self.start("--help") as process:
                text, _ = process.communicate()
            took_s.append(time.perf_counter() - began_s)  # noqa: TID251
        assert process.returncode == 0
        assert "run" in text
        assert min(took_s) < HELP_LIMIT_S

    def test_help_imports_nothing_heavy(self) -> None:
        program = "import sys, sim.cli; print(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert not {"simpy", "pydantic", "yaml", "rich"} & set(done.stdout.split())

    def test_a_reader_that_leaves_early_is_no_error(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        process = subprocess.run(
            [sys.executable, "-m", "sim", "schema"],
            cwd=ROOT,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(writing)
        assert process.stderr == ""

    def test_an_interrupt_is_exit_code_130(self, tmp_path: Path) -> None:
        fifo = tmp_path / "slow.yaml"
        os.mkfifo(fifo)
        with self.start("run", fifo) as process:
            writer = fifo.open("w")  # returns once the process has opened it for reading
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=10)
            writer.close()
        assert process.returncode == 130
        assert "Traceback" not in said

    @pytest.mark.parametrize("hash_seed", ["1", "2"])
    def test_the_schema_does_not_depend_on_the_process(self, hash_seed: str) -> None:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        with self.start("schema", env=environment) as process:
            text, _ = process.communicate()
        assert text == sim("schema").stdout
