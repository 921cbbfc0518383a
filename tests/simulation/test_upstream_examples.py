"""What becomes of KAITO's own examples (kaito-project/kaito examples/, at v0.12 and older tags).

They are not copied: the test reads them where a checkout has them beside it, and is skipped
elsewhere. A row that no longer holds fails with what to put in its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from kaito.domain.errors import InvalidInput
from sim import manifests
from sim.loading import load
from sim.run import simulate

ROOT = Path(__file__).parents[2]
PLACES = [at / "shared" / "examples" / "upstream" for at in (ROOT, ROOT.parent)]
EXAMPLES: Final = next((place for place in PLACES if place.is_dir()), None)

pytestmark = pytest.mark.skipif(EXAMPLES is None, reason="KAITO's examples are not here")

READY = "READY"
OLD_GPU = "READY, and told that the GPU is old"
ACCEPTED = "accepted; there is no Workspace in it"
NOT_RECONCILED = "never READY: not reconciled yet"


def refused(*rules: str) -> str:
    """Nothing was run. A rule's id, or the field where the API server alone has a rule."""
    return f"refused: {', '.join(sorted(rules))}"


def never(reason: str) -> str:
    """It ran and waits for a human; the reason is WorkspaceSucceeded's."""
    return f"never READY: {reason}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """Files that are applied together, merge patches by kind, and what comes of it."""

    files: tuple[str, ...]
    outcome: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""

    @property
    def name(self) -> str:
        changed = f" with {self.why}" if self.changes else ""
        return " and ".join(Path(file).stem for file in self.files) + changed


def row(*files: str, outcome: str, why: str = "", **changes: Any) -> Row:
    return Row(files=files, outcome=outcome, changes=changes, why=why)


OUTPUT = {"image": "registry.example.com/phi-3-tuned:0.0.1", "imagePushSecret": "registry"}
ADAPTER = {"name": "phi-3-adapter", "image": "registry.example.com/adapter:0.0.1"}
CUSTOM_CONFIG = "vllm: {gpu-memory-utilization: 0.95, max-model-len: 16384, cpu-offload-gb: 0}"

TABLE: Final = [
    row("kaito_workspace_phi_4_mini.yaml", outcome=READY),
    row("kaito_configmap_tuning_phi_3.yaml", outcome=ACCEPTED),
    row("kaito_inferenceset_phi_4_mini.yaml", outcome=NOT_RECONCILED),
    # Texts to fill in.
    row("kaito_workspace_phi_3_with_adapters.yaml", outcome=refused("placeholder")),
    row(
        "kaito_workspace_phi_3_with_adapters.yaml",
        why="an image",
        Workspace={"inference": {"adapters": [{"source": ADAPTER, "strength": "1.0"}]}},
        outcome=READY,
    ),
    row("kaito_workspace_tuning_phi_3.yaml", outcome=refused("placeholder")),
    row(
        "kaito_workspace_tuning_phi_3.yaml",
        why="an output",
        Workspace={"tuning": {"output": OUTPUT}},
        outcome=READY,
    ),
    row(
        "kaito_configmap_tuning_phi_3.yaml",
        "kaito_workspace_tuning_phi_3.yaml",
        why="an output and the config",
        Workspace={"tuning": {"output": OUTPUT, "config": "optimized-phi3-tuning"}},
        outcome=READY,
    ),
    # A config for an older engine, and for two GPUs where there is one.
    row(
        "kaito_workspace_custom_config.yaml",
        outcome=refused("config-flag-removed", "config-parallel"),
    ),
    row(
        "kaito_workspace_custom_config.yaml",
        why="flags of today",
        ConfigMap={"data": {"inference_config.yaml": CUSTOM_CONFIG}},
        outcome=READY,
    ),
    row("kaito_workspace_gpt_oss_20b.yaml", outcome=READY),
    row("kaito_workspace_deepseek_v3.yaml", outcome=READY),
    # A token to fill in, and swap-space, a flag of older engines.
    row(
        "kaito_workspace_llama-3.3_70b_instruct.yaml",
        outcome=refused("config-flag-removed", "data.HF_TOKEN"),
    ),
    row(
        "kaito_workspace_llama-3.3_70b_instruct.yaml",
        why="a token and flags of today",
        Secret={"data": {"HF_TOKEN": "aGZfdG9rZW4="}},
        ConfigMap={"data": {"inference_config.yaml": CUSTOM_CONFIG}},
        outcome=READY,
    ),
    # Of versions of KAITO that are long gone.
    row("legacy_falcon_7b-instruct.yaml", outcome=OLD_GPU),
    row("legacy_phi_2.yaml", outcome=OLD_GPU),
]


def test_every_example_is_in_the_table() -> None:
    assert EXAMPLES is not None
    there = {file.name for file in EXAMPLES.glob("*.yaml")}
    assert {file for one in TABLE for file in one.files} == there


@pytest.mark.parametrize("found", TABLE, ids=lambda found: found.name)
def test_what_becomes_of_it(found: Row, tmp_path: Path) -> None:
    files = [_changed(name, found.changes, tmp_path) for name in found.files]
    outcome = _outcome(files)
    assert outcome == found.outcome, f"put {outcome!r} into the row of {found.name}"


def _changed(name: str, changes: Mapping[str, Any], folder: Path) -> str:
    """The example with the merge patches of its documents' kinds."""
    assert EXAMPLES is not None
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    documents = [one for one in yaml.safe_load_all(text) if one is not None]
    made = [manifests.merged(one, changes.get(one["kind"], {})) for one in documents]
    file = folder / name
    file.write_text(yaml.safe_dump_all(made), encoding="utf-8")
    return str(file)


def _outcome(files: list[str]) -> str:
    try:
        scenario = load(files)
    except InvalidInput as error:
        rules = {one.rule or one.field.rpartition(": ")[2] for one in error.problems}
        return refused(*rules)
    result = simulate(scenario)
    if scenario.unreconciled:
        assert {one.reason for one in result.warnings} == {"NotReconciled"}
        assert result.ok
        return NOT_RECONCILED
    if not result.workspaces:
        return ACCEPTED
    waiting = [one.reason for one in result.workspaces if not one.ready]
    if waiting:
        return never(", ".join(waiting))
    return OLD_GPU if "OldGpu" in {one.reason for one in result.warnings} else READY
