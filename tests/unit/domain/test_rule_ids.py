"""Every rule of docs/validation.md: something that breaks it, and the field that is told."""

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kaito.domain import labels
from kaito.domain.change_rules import change_problems
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.inference_set import parse_inference_set, validate_inference_set
from kaito.domain.provisioner import Provisioner
from kaito.domain.validation import validate
from kaito.domain.workspace import parse_workspace
from tests.unit.domain.builders import (
    A10,
    A100,
    CATALOGUE,
    FOUR_T4,
    GATED,
    LONG,
    MINI,
    TRAINING,
    TUNING,
    TWO_A100,
    V100,
    byo,
    manifest,
    workspace,
)

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs" / "validation.md"
SERVING = {"preset": {"name": MINI}}
SERVER = {"name": "server", "image": "registry.test/server:1"}
VOLUME = {"persistentVolumeClaim": {"claimName": "data"}}

FALLBACKS = "metadata.annotations[kaito.sh/fallback-instance-types]"

Broken = Callable[[], list[Problem]]


def new(**parts: Any) -> Broken:
    """A Workspace that is created."""
    return lambda: validate(workspace(**parts), CATALOGUE)


def own(**parts: Any) -> Broken:
    """A Workspace that is created where users bring Nodes."""
    return lambda: validate(byo(**parts), CATALOGUE, provisioner=Provisioner.BYO)


def templated(config: str = "", labels: Any = None, **spec: Any) -> Broken:
    """A Workspace with a pod template; `spec` goes over that of a template which is right."""
    template = {"metadata": {"labels": labels or {}}, "spec": {"containers": [SERVER], **spec}}
    return new(inference={"template": template, "config": config})


def read(**parts: Any) -> Broken:
    """A manifest that cannot even be read."""

    def problems() -> list[Problem]:
        with pytest.raises(InvalidInput) as caught:
            parse_workspace(manifest(**parts))
        return list(caught.value.problems)

    return problems


def adapted(*sources: dict[str, Any], **more: Any) -> Broken:
    """A Workspace with these adapters."""
    good = {"name": "style", "image": "registry.test/a:1"}
    found = [{"source": {**good, **source}, **more} for source in sources]
    return new(inference={**SERVING, "adapters": found})


def tuned(**changed: Any) -> Broken:
    """A Workspace that tunes; None takes a field away."""
    parts = {key: value for key, value in {**TUNING, **changed}.items() if value is not None}
    return new(tuning=parts)


def configured(**flags: Any) -> Broken:
    """A Workspace whose ConfigMap has these flags of vLLM."""
    told = {key.replace("_", "-"): value for key, value in flags.items()}
    return lambda: validate(workspace(), CATALOGUE, {"vllm": told})


def trained(**sections: Any) -> Broken:
    """A tuning Workspace whose ConfigMap has these sections."""
    config = {"training_config": {**TRAINING["training_config"], **sections}}
    return lambda: validate(workspace(tuning=TUNING), CATALOGUE, config)


def changed(old: dict[str, Any], after: dict[str, Any]) -> Broken:
    """A Workspace that is updated."""
    return lambda: change_problems(workspace(**old), workspace(**after))


def gated(**options: str) -> Broken:
    """A Workspace whose model Hugging Face asks a token for."""
    models = tuple(replace(one, requires_auth=one.name == MINI) for one in CATALOGUE.models)
    catalogue = replace(CATALOGUE, models=models)
    preset = {"name": MINI, "presetOptions": options}
    return lambda: validate(workspace(inference={"preset": preset}), catalogue)


def several(name: str = "phi", **spec: Any) -> Broken:
    """An InferenceSet."""
    document = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "InferenceSet",
        "metadata": {"name": name},
        "spec": {
            "labelSelector": {"matchLabels": {"apps": "phi"}},
            "template": {"resource": {"instanceType": A10}, "inference": SERVING},
            **spec,
        },
    }
    return lambda: validate_inference_set(parse_inference_set(document), CATALOGUE)


def window(**fields: str) -> Broken:
    """An InferenceSet that is upgraded at certain times."""
    times = {"schedule": "0 2 * * 6", **fields}
    return several(autoUpgrade={"maintenanceWindow": times})


def selecting(**selector: Any) -> dict[str, Any]:
    return {"resource": {"labelSelector": selector}}


# Rule: what breaks it, and the field that is told.
EXAMPLES: dict[str, tuple[Broken, str]] = {
    "api-version": (read(version="v2"), "apiVersion"),
    "unknown-field": (read(resource={"instanceTyp": A10}), "resource.instanceTyp"),
    "required-field": (read(inference={"preset": {}}), "inference.preset.name"),
    "wrong-type": (read(resource={"count": "two"}), "resource.count"),
    "invalid-value": (read(resource={"count": 0}), "resource.count"),
    "newer-field": (
        read(version="v1alpha1", resource={"partition": {"mode": "mig"}}),
        "resource.partition",
    ),
    "placeholder": (new(resource={"instanceType": "TYPE_HERE"}), "resource.instanceType"),
    "name-dns-label": (new(name="a.b"), "metadata.name"),
    "name-length": (new(name="a" * 53), "metadata.name"),
    "name-container": (new(name="pusher", tuning=TUNING), "metadata.name"),
    "runtime-known": (
        new(annotations={labels.RUNTIME: "ollama"}),
        "metadata.annotations[kaito.sh/runtime]",
    ),
    "paused-known": (
        new(annotations={labels.PAUSED: "yes"}),
        "metadata.annotations[kaito.sh/paused]",
    ),
    "capacity-type-known": (
        new(annotations={labels.CAPACITY_CHOICE: "cheap"}),
        "metadata.annotations[kaito.sh/capacity-type]",
    ),
    "fallback-known": (new(annotations={labels.FALLBACK_INSTANCE_TYPES: "A"}), FALLBACKS),
    "fallback-fits": (
        new(
            instance_type=A100,
            inference={"preset": {"name": "phi-4"}},
            annotations={labels.FALLBACK_INSTANCE_TYPES: A10},
        ),
        FALLBACKS,
    ),
    "fallback-one-machine": (
        new(
            instance_type=TWO_A100,
            inference={"preset": GATED},
            annotations={labels.FALLBACK_INSTANCE_TYPES: A100},
        ),
        FALLBACKS,
    ),
    "machines-ordered": (
        own(annotations={labels.CAPACITY_CHOICE: "spot"}),
        "metadata.annotations[kaito.sh/capacity-type]",
    ),
    "tuning-retries-known": (
        new(annotations={labels.TUNING_RETRIES: "11"}, tuning=TUNING),
        "metadata.annotations[kaito.sh/tuning-retries]",
    ),
    "rollout-known": (
        new(annotations={labels.ROLLOUT: "recreate"}),
        "metadata.annotations[kaito.sh/rollout]",
    ),
    "node-image-family": (
        new(annotations={labels.NODE_IMAGE_FAMILY: "windows"}),
        "metadata.annotations[kaito.sh/node-image-family]",
    ),
    "mode-missing": (
        lambda: validate(workspace(inference=None), CATALOGUE),
        "inference",
    ),
    "mode-both": (new(inference=SERVING, tuning=TUNING), "inference"),
    "instance-type-required": (new(instance_type=""), "resource.instanceType"),
    "instance-type-known": (new(instance_type="Standard_X"), "resource.instanceType"),
    "selector-empty": (new(**selecting()), "resource.labelSelector"),
    "selector-reserved": (
        new(**selecting(matchLabels={labels.WORKSPACE: "phi"})),
        "resource.labelSelector.matchLabels",
    ),
    "selector-expressions": (
        new(**selecting(matchExpressions=[{"key": "a", "operator": "Exists"}])),
        "resource.labelSelector.matchExpressions[0]",
    ),
    "selector-values": (
        own(resource={"labelSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
        "resource.labelSelector.matchExpressions[0].values",
    ),
    "label-key": (
        new(**selecting(matchLabels={"a b": "c"})),
        "resource.labelSelector.matchLabels",
    ),
    "label-value": (
        new(**selecting(matchLabels={"a": "b c"})),
        "resource.labelSelector.matchLabels.a",
    ),
    "label-system": (
        new(**selecting(matchLabels={"kubernetes.io/os": "linux"})),
        "resource.labelSelector.matchLabels",
    ),
    "count-limit": (new(resource={"count": 101}), "resource.count"),
    "preferred-node-name": (
        own(resource={"preferredNodes": ["GPU 1"]}),
        "resource.preferredNodes[0]",
    ),
    "partition-ordered": (
        new(resource={"partition": {"mode": "mig", "profile": "1g.10gb"}}),
        "resource.partition",
    ),
    "partition-preset": (
        own(tuning=TUNING, resource={"partition": {"mode": "accelerator", "count": 1}}),
        "resource.partition",
    ),
    "partition-profile": (
        own(resource={"partition": {"mode": "mig", "profile": "9g.10gb"}}),
        "resource.partition.profile",
    ),
    "partition-count": (
        own(resource={"partition": {"mode": "accelerator"}}),
        "resource.partition.count",
    ),
    "preset-required": (new(inference={}), "inference.preset"),
    "preset-and-template": (
        new(inference={**SERVING, "template": {"spec": {}}}),
        "inference.template",
    ),
    "template-alone": (templated(config="settings"), "inference.config"),
    "template-structure": (new(inference={"template": {"spec": {}}}), "inference.template.spec"),
    "template-container": (
        templated(containers=[{"name": "server"}]),
        "inference.template.spec.containers[0].image",
    ),
    "template-restart-policy": (
        templated(restartPolicy="Never"),
        "inference.template.spec.restartPolicy",
    ),
    "template-node-name": (
        templated(nodeName="gpu-0"),
        "inference.template.spec.nodeName",
    ),
    "template-labels": (
        templated(labels={labels.WORKSPACE: "another"}),
        "inference.template.metadata.labels",
    ),
    "template-placement": (
        templated(nodeSelector={"apps": "another"}),
        "inference.template.spec.nodeSelector",
    ),
    "template-gpus": (
        templated(containers=[{**SERVER, "resources": {"limits": {labels.GPU_RESOURCE: 2}}}]),
        "inference.template.spec.containers",
    ),
    "model-known": (new(inference={"preset": {"name": "phi-5"}}), "inference.preset.name"),
    "model-access-secret": (gated(), "inference.preset.presetOptions.modelAccessSecret"),
    "model-fits": (
        new(instance_type=V100, inference={"preset": {"name": "phi-4"}}),
        "resource.instanceType",
    ),
    "engine-available": (
        new(instance_type=V100, annotations={labels.RUNTIME: "vllm"}),
        "metadata.annotations[kaito.sh/runtime]",
    ),
    "object-name": (new(inference={**SERVING, "config": "My Config"}), "inference.config"),
    "image-reference": (
        adapted({"image": "Registry.test/A"}),
        "inference.adapters[0].source.image",
    ),
    "volume-one-kind": (
        adapted({"image": "", "volumeSource": {}}),
        "inference.adapters[0].source.volumeSource",
    ),
    "volume-kind": (
        adapted({"image": "", "volumeSource": {"disk": {}}}),
        "inference.adapters[0].source.volumeSource.disk",
    ),
    "volume-settings": (
        adapted({"image": "", "volumeSource": {"nfs": {}}}),
        "inference.adapters[0].source.volumeSource.nfs.server",
    ),
    "adapter-limit": (adapted(*({"name": f"a{n}"} for n in range(11))), "inference.adapters"),
    "adapter-name": (adapted({"name": "A"}), "inference.adapters[0].source.name"),
    "adapter-name-length": (adapted({"name": "4-bit"}), "inference.adapters[0].source.name"),
    "adapter-duplicate": (adapted({}, {}), "inference.adapters[1].source.name"),
    "adapter-urls": (
        adapted({"image": "", "urls": ["https://example.com"]}),
        "inference.adapters[0].source.urls",
    ),
    "adapter-source": (adapted({"volumeSource": VOLUME}), "inference.adapters[0].source"),
    "adapter-strength": (adapted({}, strength="2"), "inference.adapters[0].strength"),
    "tuning-preset-required": (tuned(preset=None), "tuning.preset"),
    "tuning-method": (tuned(method="full"), "tuning.method"),
    "tuning-supported": (
        lambda: validate(
            workspace(instance_type=A100, tuning=TUNING),
            replace(CATALOGUE, models=tuple(replace(one, tuning=None) for one in CATALOGUE.models)),
        ),
        "tuning.preset.name",
    ),
    "tuning-one-machine": (new(tuning=TUNING, resource={"count": 2}), "resource.count"),
    "tuning-input-required": (tuned(input=None), "tuning.input"),
    "tuning-input-source": (tuned(input={"name": "data"}), "tuning.input"),
    "tuning-input-url": (tuned(input={"urls": ["http://10.0.0.1/a"]}), "tuning.input.urls[0]"),
    "tuning-output-required": (tuned(output=None), "tuning.output"),
    "tuning-output-target": (tuned(output={}), "tuning.output"),
    "tuning-push-secret": (
        tuned(output={"image": "registry.test/a:1"}),
        "tuning.output.imagePushSecret",
    ),
    "mode-fixed": (changed({}, {"inference": SERVING, "tuning": TUNING}), "tuning"),
    "instance-type-fixed": (changed({}, {"instance_type": A100}), "resource.instanceType"),
    "count-fixed": (changed({}, {"resource": {"count": 2}}), "resource.count"),
    "selector-fixed": (
        changed({}, selecting(matchLabels={"apps": "other"})),
        "resource.labelSelector.matchLabels",
    ),
    "partition-fixed": (
        changed({}, {"resource": {"partition": {"mode": "mig", "profile": "1g.10gb"}}}),
        "resource.partition",
    ),
    "preset-fixed": (
        changed({}, {"inference": {"preset": {"name": LONG}}}),
        "inference.preset.name",
    ),
    "template-fixed": (
        changed({}, {"inference": {"template": {"spec": {}}}}),
        "inference.template",
    ),
    "tuning-method-fixed": (
        changed({"tuning": TUNING}, {"tuning": {**TUNING, "method": "lora"}}),
        "tuning.method",
    ),
    "tuning-input-fixed": (
        changed(
            {"tuning": TUNING}, {"tuning": {**TUNING, "input": {**TUNING["input"], "name": "b"}}}
        ),
        "tuning.input.name",
    ),
    "context-number": (
        configured(max_model_len="long"),
        "inference.config[vllm.max-model-len]",
    ),
    "context-limit": (configured(max_model_len=4097), "inference.config[vllm.max-model-len]"),
    "config-section": (
        lambda: validate(workspace(), CATALOGUE, {"vllm": ["max-model-len"]}),
        "inference.config[vllm]",
    ),
    "config-key": (
        lambda: validate(workspace(), CATALOGUE, {"max-model-len": 2048}),
        "inference.config[max-model-len]",
    ),
    "config-flag-known": (
        configured(max_model_length=1),
        "inference.config[vllm.max-model-length]",
    ),
    "config-flag-removed": (configured(swap_space=4), "inference.config[vllm.swap-space]"),
    "config-flag-reserved": (configured(port=80), "inference.config[vllm.port]"),
    "config-flag-value": (
        configured(kv_transfer_config={"a": 1}),
        "inference.config[vllm.kv-transfer-config]",
    ),
    "config-utilization": (
        configured(gpu_memory_utilization=95),
        "inference.config[vllm.gpu-memory-utilization]",
    ),
    "config-parallel": (
        configured(tensor_parallel_size=2),
        "inference.config[vllm.tensor-parallel-size]",
    ),
    "config-heads": (
        lambda: validate(
            workspace(instance_type=FOUR_T4, inference={"preset": {"name": "phi-4"}}),
            CATALOGUE,
            {"vllm": {"tensor-parallel-size": 4}},
        ),
        "inference.config[vllm.tensor-parallel-size]",
    ),
    "config-stages": (
        configured(pipeline_parallel_size=64),
        "inference.config[vllm.pipeline-parallel-size]",
    ),
    "config-batch": (configured(max_num_seqs=4096), "inference.config[vllm.max-num-seqs]"),
    "config-cache-dtype": (
        configured(kv_cache_dtype="fp9"),
        "inference.config[vllm.kv-cache-dtype]",
    ),
    "config-block-size": (configured(block_size=24), "inference.config[vllm.block-size]"),
    "config-lora": (configured(max_lora_rank=24), "inference.config[vllm.max-lora-rank]"),
    "config-offload": (configured(cpu_offload_gb=-1), "inference.config[vllm.cpu-offload-gb]"),
    "config-switch": (configured(enforce_eager="no"), "inference.config[vllm.enforce-eager]"),
    "config-machines": (
        lambda: validate(
            workspace(instance_type=A100), CATALOGUE, {"vllm": {"gpu-memory-utilization": 0.05}}
        ),
        "inference.config[vllm.gpu-memory-utilization]",
    ),
    "training-sections": (trained(Lora={}), "tuning.config[training_config.Lora]"),
    "training-bits": (
        trained(QuantizationConfig={}),
        "tuning.config[training_config.QuantizationConfig]",
    ),
    "training-number": (
        trained(LoraConfig={"r": "eight"}),
        "tuning.config[training_config.LoraConfig.r]",
    ),
    "training-output": (
        trained(TrainingArguments={"output_dir": "/tmp/results"}),
        "tuning.config[training_config.TrainingArguments.output_dir]",
    ),
    "inference-set-name": (several("a" * 47), "metadata.name"),
    "upgrade-schedule": (
        window(schedule="at night"),
        "spec.autoUpgrade.maintenanceWindow.schedule",
    ),
    "upgrade-duration": (window(duration="0h"), "spec.autoUpgrade.maintenanceWindow.duration"),
}

# Only the operator can know these; test_decision.py, test_own_nodes.py and test_workspace_plan.py
# have their messages.
OF_THE_CLUSTER = {"config-missing", "config-readable", "own-nodes", "name-taken", "write-accepted"}


@pytest.mark.parametrize("rule", EXAMPLES)
def test_a_broken_rule_tells_its_id_and_its_field(rule: str) -> None:
    broken, field = EXAMPLES[rule]
    assert (rule, field) in [(problem.rule, problem.field) for problem in broken()]


def test_a_token_opens_a_gated_model() -> None:
    assert gated(modelAccessSecret="token")() == []
    assert gated(image="registry.test/llama:1")() == []


def ids_in_code() -> set[str]:
    """The ids that any call gives as `rule=`."""
    found = set()
    for file in sorted((ROOT / "kaito").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "rule":
                found |= {
                    part.value
                    for part in ast.walk(node.value)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                }
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "rule":
                found |= {
                    part.value
                    for part in ast.walk(node.value)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                }
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "_Fixed":
                argument = node.args[1]
                assert isinstance(argument, ast.Constant)
                found.add(argument.value)
    return found


def documented() -> list[str]:
    """The ids at the beginning of the rows of "The rules"."""
    section = DOCS.read_text(encoding="utf-8").split("## The rules")[1].split("\n## ")[0]
    return re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)


def test_the_docs_have_every_rule_once() -> None:
    rows = documented()
    assert sorted(rows) == sorted(set(rows))
    assert set(rows) == ids_in_code()


def test_every_rule_has_an_example() -> None:
    assert set(EXAMPLES) | OF_THE_CLUSTER == ids_in_code()


def test_what_the_docs_say_of_kaito_names_rules_that_exist() -> None:
    section = DOCS.read_text(encoding="utf-8").split("## KAITO v0.12's rules")[1]
    rows = re.findall(r"^\| [^|\n]+ \| (\w[\w ]*?) \| ([^|\n]*) \|$", section, re.MULTILINE)
    rows = [row for row in rows if row[0] != "Here"]
    assert len(rows) > 50
    known = set(documented())
    for status, text in rows:
        assert status in {"kept", "changed", "needs cluster state", "not ours"}
        named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", text))
        assert named <= known, text
        assert named or status != "kept", text


@pytest.mark.parametrize("remedy_for", ["config-flag-known", "config-key", "unknown-field"])
def test_the_nearest_name_is_told(remedy_for: str) -> None:
    broken, _ = EXAMPLES[remedy_for]
    assert any(one.remedy.startswith(("Did you mean", "Known")) for one in broken())
