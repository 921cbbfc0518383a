from typing import Any

import pytest

from kaito.domain import labels
from kaito.domain.errors import InvalidInput
from kaito.domain.workspace import (
    V1ALPHA1_INSTANCE_TYPE,
    LabelSelector,
    Workspace,
    parse_workspace,
    version_of,
)
from tests.unit.domain.builders import A10, MINI, TUNING, manifest, workspace

QUICK_START: dict[str, Any] = {
    "apiVersion": "kaito.sh/v1alpha1",
    "kind": "Workspace",
    "metadata": {"name": "workspace-phi-3-mini"},
    "resource": {
        "instanceType": "Standard_NC6s_v3",
        "labelSelector": {"matchLabels": {"apps": "phi-3"}},
    },
    "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
}


def problems(document: dict[str, Any]) -> dict[str, str]:
    """Field -> message and remedy of each problem that parsing finds."""
    with pytest.raises(InvalidInput) as caught:
        parse_workspace(document)
    found = {
        problem.field: f"{problem.message}. {problem.remedy}" if problem.remedy else problem.message
        for problem in caught.value.problems
    }
    assert len(found) == len(caught.value.problems), "each field is named once"
    return found


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
def test_the_quick_start_reads_the_same_in_both_versions(version: str) -> None:
    found = parse_workspace({**QUICK_START, "apiVersion": f"kaito.sh/{version}"})
    assert (found.name, found.namespace, found.uid) == ("workspace-phi-3-mini", "default", "")
    assert found.resource.instance_type == "Standard_NC6s_v3"
    assert found.resource.count == 1
    assert "count" not in found.resource.model_fields_set
    assert found.preset is not None
    assert found.preset.name == MINI
    assert found.preset.access_mode == "public"
    assert found == parse_workspace(QUICK_START)


def test_only_v1alpha1_has_a_default_instance_type() -> None:
    assert parse_workspace(manifest(version="v1beta1", instance_type="")).resource == (
        workspace(instance_type="").resource
    )
    found = parse_workspace(manifest(version="v1alpha1", instance_type=""))
    assert found.resource.instance_type == V1ALPHA1_INSTANCE_TYPE
    assert found.node_labels == {"apps": "phi"}
    assert parse_workspace(manifest(version="v1alpha1")).resource.instance_type == A10


def test_a_stored_object_is_read_with_its_metadata_and_without_its_status() -> None:
    found = parse_workspace(
        manifest(
            metadata={
                "namespace": "team",
                "uid": "u",
                "generation": 3,
                "resourceVersion": "7",
                "finalizers": ["a", "b"],
                "deletionTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {labels.RUNTIME: "vllm"},
                "managedFields": [{"manager": "kubectl"}],
            },
            status={"conditions": [{"unknown": "keys"}]},
        )
    )
    assert found.metadata.generation == 3
    assert found.metadata.finalizers == ("a", "b")
    assert found.is_deleting
    assert found.annotation(labels.RUNTIME) == "vllm"
    assert found.annotation("kaito.sh/other") == ""
    assert not workspace().is_deleting


def test_the_preset_is_that_of_inference_or_of_tuning() -> None:
    tuned = workspace(tuning=TUNING).preset
    assert tuned is not None
    assert tuned.name == "phi-3-mini-128k-instruct"
    document = manifest()
    del document["inference"]
    assert parse_workspace(document).preset is None


def test_labels_that_say_whose_a_node_is_cannot_be_claimed() -> None:
    claimed = dict.fromkeys(labels.RESERVED, "mine") | {"b": "2", "a": "1"}
    found = workspace(resource={"labelSelector": {"matchLabels": claimed}})
    assert list(found.node_labels.items()) == [("a", "1"), ("b", "2")]


def test_a_workspace_cannot_be_changed_once_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        workspace().resource.count = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("kaito.sh/v1", "Workspace"),
        ("v1beta1", "Workspace"),
        ("kaito.sh/v1beta1", "RAGEngine"),
        (None, None),
        (7, ["Workspace"]),
    ],
)
def test_what_is_no_workspace(api_version: object, kind: object) -> None:
    document = {"apiVersion": api_version, "kind": kind}
    with pytest.raises(InvalidInput) as caught:
        version_of(document)
    (problem,) = caught.value.problems
    assert problem.field == "apiVersion"
    assert repr(api_version) in problem.message
    assert problem.remedy == (
        "Use apiVersion kaito.sh/v1alpha1 or kaito.sh/v1beta1 and kind Workspace"
    )


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"resource": {"partition": {"mode": "mig"}}}, "resource.partition"),
        (
            {
                "inference": {
                    "preset": {"name": MINI, "presetOptions": {"modelAccessSecret": "token"}}
                }
            },
            "inference.preset.presetOptions.modelAccessSecret",
        ),
        (
            {
                "tuning": {
                    **TUNING,
                    "preset": {"name": MINI, "presetOptions": {"modelAccessSecret": "token"}},
                }
            },
            "tuning.preset.presetOptions.modelAccessSecret",
        ),
    ],
)
def test_what_v1alpha1_does_not_have(part: dict[str, Any], field: str) -> None:
    assert problems(manifest(version="v1alpha1", **part)) == {
        field: "does not exist in this apiVersion. Use apiVersion kaito.sh/v1beta1"
    }
    assert isinstance(parse_workspace(manifest(version="v1beta1", **part)), Workspace)


def test_every_problem_is_named_at_once() -> None:
    found = problems(
        {
            "apiVersion": "kaito.sh/v1alpha1",
            "kind": "Workspace",
            "metadata": {},
            "resource": {
                "count": "two",
                "instancetype": "Standard_NC6s_v3",
                "partition": {"mode": "mig"},
            },
            "inference": {
                "presets": {"name": MINI},
                "adapters": [{"strength": 0.5, "source": {"name": "a", "url": "x"}}],
            },
            "spec": {},
        }
    )
    assert found == {
        "metadata.name": "is required",
        "resource.count": "must be a whole number, got 'two'",
        "resource.instancetype": "unknown key. Did you mean instanceType?",
        "resource.labelSelector": "is required. Labels that the machines get and the pods look for",
        "resource.partition": "does not exist in this apiVersion. Use apiVersion kaito.sh/v1beta1",
        "inference.presets": "unknown key. Did you mean preset?",
        "inference.adapters[0].strength": 'must be a text, got 0.5. Put it in quotes: "0.5"',
        "inference.adapters[0].source.url": "unknown key. Did you mean urls?",
        "spec": "unknown key. Known: inference, metadata, resource, tuning",
    }


@pytest.mark.parametrize(
    ("part", "field", "text"),
    [
        ({"resource": {"count": 0}}, "resource.count", "greater than or equal to 1, got 0"),
        ({"resource": {"count": 1.5}}, "resource.count", "must be a whole number, got 1.5"),
        ({"resource": {"count": True}}, "resource.count", "must be a whole number, got True"),
        (
            {"resource": {"preferredNodes": "node-1"}},
            "resource.preferredNodes",
            "must be a list, got 'node-1'",
        ),
        (
            {"resource": {"labelSelector": {"matchLabels": ["apps"]}}},
            "resource.labelSelector.matchLabels",
            "must be a mapping, got ['apps']",
        ),
        (
            {"resource": {"labelSelector": {"matchLabels": {"apps": 3}}}},
            "resource.labelSelector.matchLabels.apps",
            'must be a text, got 3. Put it in quotes: "3"',
        ),
        (
            {
                "resource": {
                    "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Equals"}]}
                }
            },
            "resource.labelSelector.matchExpressions[0].operator",
            "'In', 'NotIn', 'Exists' or 'DoesNotExist', got 'Equals'",
        ),
        ({"resource": {"partition": {"mode": "half"}}}, "resource.partition.mode", "got 'half'"),
        ({"inference": {"preset": MINI}}, "inference.preset", f"must be a mapping, got '{MINI}'"),
        ({"inference": {"preset": {}}}, "inference.preset.name", "is required. Model name, such"),
        ({"inference": []}, "inference", "must be a mapping, got []"),
        ({"inference": {"adapters": [{}]}}, "inference.adapters[0].source", "is required"),
        ({"tuning": {**TUNING, "method": 4}}, "tuning.method", "must be a text, got 4"),
        (
            {"tuning": {**TUNING, "input": {"urls": ["a", None]}}},
            "tuning.input.urls[1]",
            "must be a text, got None",
        ),
        ({"metadata": {"name": None}}, "metadata.name", "must be a text, got None"),
    ],
)
def test_a_wrong_type_is_shown_with_its_value(part: dict[str, Any], field: str, text: str) -> None:
    found = problems(manifest(**part))
    assert list(found) == [field]
    assert text in found[field]


@pytest.mark.parametrize("missing", ["metadata", "resource"])
def test_a_missing_part(missing: str) -> None:
    document = manifest()
    del document[missing]
    assert list(problems(document)) == [missing]


def test_a_long_value_is_cut() -> None:
    found = problems(manifest(inference={"preset": ["x" * 1000]}))
    assert len(found["inference.preset"]) < 100
    assert found["inference.preset"].endswith("...")


def test_what_users_write_freely_is_kept_as_it_is() -> None:
    volume = {"persistentVolumeClaim": {"claimName": "data", "readOnly": True}}
    found = workspace(tuning={**TUNING, "input": {"volumeSource": volume}})
    assert found.tuning is not None
    assert found.tuning.input is not None
    assert found.tuning.input.volume_source == volume


LABELS = {"apps": "phi", "pool": "a", "empty": ""}


@pytest.mark.parametrize(
    ("operator", "key", "values", "matches", "text"),
    [
        ("In", "pool", ("a", "b"), True, "pool in (a,b)"),
        ("In", "pool", ("b",), False, "pool in (b)"),
        ("In", "absent", ("",), False, "absent in ()"),
        ("NotIn", "pool", ("a",), False, "pool notin (a)"),
        ("NotIn", "absent", ("a",), True, "absent notin (a)"),
        ("Exists", "empty", (), True, "empty"),
        ("Exists", "absent", (), False, "absent"),
        ("DoesNotExist", "absent", (), True, "!absent"),
        ("DoesNotExist", "empty", (), False, "!empty"),
    ],
)
def test_what_a_selector_finds(
    operator: str, key: str, values: tuple[str, ...], matches: bool, text: str
) -> None:
    expression = {"key": key, "operator": operator, "values": values}
    selector = LabelSelector.model_validate(
        {"matchLabels": {"apps": "phi"}, "matchExpressions": [expression]}
    )
    assert selector.matches(LABELS) is matches
    assert not selector.matches({**LABELS, "apps": "other"})
    assert str(selector) == f"apps=phi,{text}"


def test_a_selector_that_asks_for_nothing_finds_nothing() -> None:
    assert not LabelSelector.model_validate({}).matches(LABELS)
