import textwrap
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from kaito.adapters.documents import read
from kaito.domain.errors import InvalidInput
from sim.fault_kinds import ClockJump
from sim.injection import over_after_s
from sim.loading import load
from sim.manifests import Key
from sim.scenario import Apply, Delete, Inject, Patch, Scenario
from sim.scenario_file import (
    ApiError,
    ExpectMachines,
    ExpectWorkspace,
    OperatorCrash,
    scenario_schema,
)

SHIPPED = sorted((Path(__file__).parents[3] / "sim" / "scenarios").glob("*.yaml"))
WORKSPACE = """\
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {name: ws}
resource:
  instanceType: Standard_NC24ads_A100_v4
  labelSelector: {matchLabels: {apps: ws}}
inference:
  preset: {name: phi-4-mini-instruct}
"""
ENGINE_CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data:
  inference_config.yaml: |
"""
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata: {key: value}\n"


class Folder:
    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, text: str) -> str:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return str(file)

    def load(self, text: str) -> Scenario:
        return load([self.write("main.yaml", text)])

    def problems(self, *files: str) -> list[str]:
        with pytest.raises(InvalidInput) as error:
            load(list(files))
        return [str(problem).replace(f"{self.root}/", "") for problem in error.value.problems]

    def problems_of(self, text: str) -> list[str]:
        return self.problems(self.write("main.yaml", text))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_scenario_is_sound(file: Path) -> None:
    scenario = load([str(file)])
    assert scenario.description
    assert scenario.expectations
    for document in read(str(file)):
        Draft202012Validator(scenario_schema()).validate(document.body)


def test_the_quick_starts_are_shipped() -> None:
    assert {file.stem for file in SHIPPED} >= {
        "quickstart_phi_3",
        "quickstart_phi_3_adapters",
        "quickstart_tuning_phi_3",
        "delete_while_provisioning",
        "change_model_config",
    }


def test_the_schema_describes_every_field() -> None:
    schema = scenario_schema()
    Draft202012Validator.check_schema(schema)
    parts = {"": schema, **schema["$defs"]}
    silent = [
        f"{part}.{name}"
        for part, content in parts.items()
        for name, field in content.get("properties", {}).items()
        if not field.get("description")
    ]
    assert silent == []


@pytest.mark.parametrize(
    "body",
    [
        {"timeline": [{"at": "-5m", "apply": "x"}]},
        {"timeline": [{"at": "5m"}]},
        {"timeline": [{"apply": "x", "delete": {"kind": "Workspace", "name": "x"}}]},
        {"seed": -1},
        {"seeed": 1},
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(body: object) -> None:
    assert list(Draft202012Validator(scenario_schema()).iter_errors(body))


def test_a_plain_manifest_is_applied_at_once_and_expected_ready(folder: Folder) -> None:
    file = folder.write("ws.yaml", WORKSPACE)
    scenario = load([file])
    (step,) = scenario.steps
    assert isinstance(step, Apply)
    assert (step.at_s, step.key, step.source) == (
        0.0,
        Key("Workspace", "default", "ws"),
        f"{file}:1",
    )
    assert step.manifest["metadata"] == {"name": "ws", "namespace": "default"}
    assert scenario.expectations == (ExpectWorkspace(workspace="ws", ready=True),)
    assert (scenario.seed, scenario.world.region, scenario.files) == (0, "eastus", (file,))


def test_what_kubectl_printed_can_be_applied(folder: Folder) -> None:
    live = WORKSPACE.replace(
        "{name: ws}", "{name: ws, uid: u, resourceVersion: '1', generation: 3}"
    )
    (step,) = load([folder.write("ws.yaml", live + "status: {state: Ready}\n")]).steps
    assert isinstance(step, Apply)
    assert step.manifest["metadata"] == {"name": "ws", "namespace": "default"}
    assert "status" not in step.manifest


def test_a_timeline_is_sorted_by_time_and_keeps_the_order_of_one_time(folder: Folder) -> None:
    folder.write("ws.yaml", WORKSPACE)
    scenario = folder.load(
        """\
        description: Everything at once.
        seed: 7
        until: 2h
        world: {region: westus2, latency_scale: 0.5, latencies: {node_provision: 3m}}
        timeline:
        - at: 30m
          delete: {kind: Workspace, name: ws}
        - at: 10m
          fault: {kind: operator-crash}
        - at: 20m
          fault: {kind: api-error, for: 30s, effect: after}
        - apply: [ws.yaml, {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}]
        - at: 600
          patch: {kind: ConfigMap, name: c, merge: {data: {k: v}}}
        expect:
        - machines: 0
        """
    )
    assert [(type(step), step.at_s) for step in scenario.steps] == [
        (Apply, 0.0),
        (Apply, 0.0),
        (Inject, 600.0),
        (Patch, 600.0),
        (Inject, 1_200.0),
        (Delete, 1_800.0),
    ]
    faults = [step.fault for step in scenario.steps if isinstance(step, Inject)]
    assert faults == [
        OperatorCrash.model_validate({"kind": "operator-crash"}),
        ApiError.model_validate({"kind": "api-error", "for": 30, "effect": "after"}),
    ]
    assert (scenario.seed, scenario.until_s) == (7, 7_200.0)
    assert (scenario.world.region, scenario.world.latency_scale) == ("westus2", 0.5)
    assert scenario.world.latencies_s == {"node_provision": 180.0}
    assert scenario.expectations == (ExpectMachines(machines=0),)


def test_every_kind_of_fault_is_read(folder: Folder) -> None:
    folder.write("ws.yaml", WORKSPACE)
    scenario = folder.load(
        """\
        timeline:
        - apply: ws.yaml
        - fault: {kind: operator-crash, after_writes: 3}
        - fault: {kind: launch-failure, count: 2, reason: quota}
        - fault: {kind: stale-read, for: 1m, lag: 30s}
        - fault: {kind: node-loss, workspace: ws, index: 1, how: not-ready, for: 5m}
        - fault: {kind: image-pull-failure, registry: mcr.microsoft.com, for: 10m}
        - fault: {kind: dropped-watch, for: 2m}
        - fault: {kind: clock-jump, back: 1h, for: 3m}
        - fault: {kind: clock-jump, forward: 1h}
        expect:
        - machines: 0
        """
    )
    faults = [step.fault for step in scenario.steps if isinstance(step, Inject)]
    assert [fault.kind for fault in faults] == [
        "operator-crash",
        "launch-failure",
        "stale-read",
        "node-loss",
        "image-pull-failure",
        "dropped-watch",
        "clock-jump",
        "clock-jump",
    ]
    assert [over_after_s(fault) for fault in faults] == [10, 0, 60, 300, 600, 120, 180, 0]
    assert [fault.by_s for fault in faults if isinstance(fault, ClockJump)] == [-3600, 3600]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("{kind: node-loss, workspace: sw}", "no Workspace default/sw is ever applied"),
        ("{kind: node-loss, workspace: ws, for: 1m}", "Remove for, or write how: not-ready"),
        ("{kind: image-pull-failure}", "timeline[1].fault.for"),
        ("{kind: image-pull-failure, for: 1m, registry: a, image: b}", "at most one of registry"),
        ("{kind: clock-jump}", "exactly one of forward and back"),
        ("{kind: clock-jump, forward: 1h, back: 1h}", "exactly one of forward and back"),
        ("{kind: operator-crash, after_writes: 0}", "timeline[1].fault.after_writes"),
        ("{kind: node-lost}", "kind is one of operator-crash, api-error"),
    ],
)
def test_a_fault_that_makes_no_sense(folder: Folder, fault: str, said: str) -> None:
    folder.write("ws.yaml", WORKSPACE)
    text = f"timeline:\n- apply: ws.yaml\n- fault: {fault}\nexpect:\n- machines: 0\n"
    with pytest.raises(InvalidInput) as error:
        folder.load(text)
    assert said in str(error.value)


def test_secrets_are_assumed_for_plain_manifests_unless_provided(folder: Folder) -> None:
    options = "{modelAccessSecret: token, imagePullSecrets: [pull]}"
    text = WORKSPACE.replace(
        "phi-4-mini-instruct}", f"phi-4-mini-instruct, presetOptions: {options}}}"
    )
    secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: pull}\nstringData: {a: b}\n"
    assert load([folder.write("a.yaml", text)]).assumed_secrets == (
        ("default", "token"),
        ("default", "pull"),
    )
    assert load([folder.write("b.yaml", text + secret)]).assumed_secrets == (("default", "token"),)
    assert folder.load("timeline:\n- apply: a.yaml\n").assumed_secrets == ()


def test_namespaces_in_use_are_made_unless_provided(folder: Folder) -> None:
    in_team = [
        text.replace("metadata: {", "metadata: {namespace: team, ")
        for text in (WORKSPACE, CONFIG_MAP)
    ]
    own = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: team}\n"
    assert load([folder.write("a.yaml", "---\n".join(in_team))]).namespaces == ("team",)
    assert load([folder.write("b.yaml", "---\n".join(in_team) + own)]).namespaces == ()


def test_an_include_is_read_once_and_its_settings_can_be_overridden(folder: Folder) -> None:
    folder.write("parts/ws.yaml", WORKSPACE)
    folder.write(
        "parts/base.yaml", "seed: 3\nuntil: 1h\ninclude: [ws.yaml]\nexpect: [{machines: 1}]\n"
    )
    folder.write("parts/more.yaml", "include: [base.yaml]\n")
    scenario = folder.load("seed: 4\ninclude: [parts/base.yaml, parts/more.yaml]\n")
    assert (scenario.seed, scenario.until_s, len(scenario.steps)) == (4, 3_600.0, 1)
    assert ExpectMachines(machines=1) in scenario.expectations


def test_a_cyclic_include_is_refused_with_its_chain(folder: Folder) -> None:
    main = folder.write("a.yaml", "include: [b.yaml]\n")
    folder.write("b.yaml", "include: [c.yaml]\n")
    folder.write("c.yaml", "include: [./b.yaml]\n")
    (problem,) = folder.problems(main)
    assert problem == "c.yaml:1: include[0]: includes itself: b.yaml -> c.yaml -> b.yaml"


def test_two_documents_with_one_name_are_refused_with_both_places(folder: Folder) -> None:
    files = [folder.write("a.yaml", WORKSPACE), folder.write("b.yaml", "---\n" + WORKSPACE)]
    assert folder.problems(*files) == [
        "b.yaml:4: metadata.name: Workspace default/ws is given twice at one time, also at "
        "a.yaml:1. Remove or rename one"
    ]


def test_one_name_at_two_times_is_an_update(folder: Folder) -> None:
    folder.write("ws.yaml", WORKSPACE)
    assert len(folder.load("timeline:\n- apply: ws.yaml\n- at: 1h\n  apply: ws.yaml\n").steps) == 2


def test_settings_that_disagree_are_refused_with_both_places(folder: Folder) -> None:
    files = [
        folder.write("a.yaml", "seed: 1\ninclude: [ws.yaml]\n"),
        folder.write("b.yaml", "until: 1m\nseed: 2\n"),
    ]
    folder.write("ws.yaml", WORKSPACE)
    (problem,) = folder.problems(*files)
    assert problem.startswith("b.yaml:2: seed: is 2 here and 1 at a.yaml:1")


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (
            "apiVersion: kaito.sh/v1alpha1\nkind: InferenceSet\nmetadata: {name: x}\n",
            "spec: is required",
        ),
        (
            "apiVersion: kaito.sh/v1beta1\nkind: ModelMirror\nmetadata: {name: x}\n",
            "'kaito.sh/v1beta1' is not a version of ModelMirror. Use kaito.sh/v1alpha1",
        ),
        ("apiVersion: kaito.sh/v1beta1\nkind: RAGEngine\n", "metadata: must be a mapping"),
        (
            "apiVersion: kaito.sh/v1beta1\nkind: RAGEngine\nmetadata: {nam: x}\n",
            "metadata.nam: unknown key",
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", "is not simulated"),
        (
            "apiVersion: v1\nkind: StorageClass\nmetadata: {name: x}\nprovisioner: y\n",
            "Use apiVersion storage.k8s.io/v1",
        ),
        (
            "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: x}\n",
            "provisioner",
        ),
        (
            "apiVersion: storage.k8s.io/v1\nkind: ConfigMap\nmetadata: {name: x}\n",
            "Use apiVersion v1",
        ),
        ("apiVersion: v1\nkind: ConfigMp\nmetadata: {name: x}\n", "Did you mean ConfigMap?"),
        ("apiVersion: kaito.sh/v2\nkind: Workspace\nmetadata: {name: x}\n", "kaito.sh/v1beta1"),
        ("kind: Workspace\nmetadata: {name: x}\n", "apiVersion: is required"),
        ("apiVersion: v1\nmetadata: {name: x}\n", "kind: is required"),
        (CONFIG_MAP.replace("config", "Config"), "metadata.name: 'Config' is not a DNS subdomain"),
        (
            CONFIG_MAP.replace("value", "1"),
            'data.key: must be a text, got 1. Put it in quotes: "1"',
        ),
        (CONFIG_MAP.replace("data", "dta"), "dta: unknown key. Did you mean data?"),
        (
            CONFIG_MAP.replace("name", "nam"),
            "metadata.nam: unknown key. Did you mean name or namespace?",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {k: '<token>'}\n",
            "data.k: is not base64",
        ),
        ("timelin: []\n", "Did you mean timeline or timeouts or until?"),
    ],
)
def test_a_manifest_that_is_not_accepted_says_what_is(
    folder: Folder, manifest: str, said: str
) -> None:
    assert said in " ".join(folder.problems(folder.write("x.yaml", manifest)))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("phi-4-mini-instruct", "phi-4-mini-instrct", "did you mean phi-4-mini-instruct"),
        (
            "Standard_NC24ads_A100_v4",
            "Standard_NC24ads_A100",
            "did you mean standard_nc24ads_a100_v4",
        ),
        (
            "instanceType",
            "instanceTyp",
            "resource.instancetyp: unknown key. did you mean instancetype?",
        ),
        ("name: ws", "name: 5", "metadata.name: must be a text, got 5"),
        ("name: ws", "nam: ws", "metadata.nam: unknown key"),
    ],
)
def test_a_workspace_is_checked_before_the_run(
    folder: Folder, old: str, new: str, said: str
) -> None:
    text = WORKSPACE.replace(old, new)
    assert said in " ".join(folder.problems(folder.write("x.yaml", text))).lower()


def test_an_engine_config_counts_for_the_fit(folder: Folder) -> None:
    text = f"{WORKSPACE}  config: c\n---\n{ENGINE_CONFIG}    vllm: {{max-model-len: 99999999}}\n"
    problems = folder.problems(folder.write("x.yaml", text))
    assert any("99999999" in problem for problem in problems)


def test_an_engine_config_is_yaml(folder: Folder) -> None:
    (problem,) = folder.problems(folder.write("x.yaml", f"{ENGINE_CONFIG}    vllm: [\n"))
    assert problem.startswith("x.yaml:5: data.inference_config.yaml: in its line")


def test_what_a_patch_leaves_is_checked(folder: Folder) -> None:
    folder.write("ws.yaml", WORKSPACE)
    problems = folder.problems_of(
        """\
        timeline:
        - apply: ws.yaml
        - at: 10m
          patch:
            kind: Workspace
            name: ws
            merge: {inference: {adapters: [{sorce: {}}]}}
        - at: 11m
          patch: {kind: Workspace, name: sw, merge: {resource: {count: 2}}}
        - at: 12m
          delete: {kind: ConfigMap, name: nothing}
        expect:
        - {workspace: wss, ready: true}
        """
    )
    adapter = "timeline[1].patch.merge.inference.adapters[0]"
    assert problems == [
        f"main.yaml:7: {adapter}.source: is required",
        f"main.yaml:7: {adapter}.sorce: unknown key. Did you mean source?",
        "main.yaml:9: timeline[2].patch.name: there is no Workspace default/sw at 660 s. "
        "Did you mean ws?",
        "main.yaml:11: timeline[3].delete.name: there is no ConfigMap default/nothing at 720 s. "
        "Apply it at an earlier time",
        "main.yaml:13: expect[0].workspace: no Workspace default/wss is ever applied. "
        "Did you mean default/ws?",
    ]


def test_every_problem_of_every_file_is_listed(folder: Folder) -> None:
    files = [
        folder.write("a.yaml", WORKSPACE.replace("phi-4-mini-instruct", "nope")),
        folder.write("b.yaml", ""),
        folder.write("c.yaml", "timeline:\n- at: -5m\n  apply: absent.yaml\nseeed: 1\n"),
        str(folder.root / "absent.yaml"),
    ]
    said = folder.problems(*files)
    assert [problem.split(":")[0] for problem in said] == [
        "b.yaml",
        "c.yaml",
        "c.yaml",
        "absent.yaml",
        "a.yaml",
    ]


def test_an_unknown_region_is_refused(folder: Folder) -> None:
    folder.write("ws.yaml", WORKSPACE)
    (problem,) = folder.problems_of("world: {region: eastus9}\ninclude: [ws.yaml]\n")
    assert problem.startswith(
        "main.yaml:1: world.region: there is no price in the region 'eastus9'. Did you mean eastus"
    )


def test_a_scenario_in_which_nothing_happens_is_refused(folder: Folder) -> None:
    assert "nothing ever happens" in folder.problems_of("expect: [{machines: 0}]\n")[0]
