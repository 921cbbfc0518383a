"""What may be stored: the domain's rules, where the API server asks for them."""

from typing import Any

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s.admission import Verdict, WorkspaceAdmission
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    WORKSPACE,
    WORKSPACE_V1ALPHA1,
    InvalidObject,
    KubeObject,
    Resource,
    thaw,
)
from kaito.domain.provisioner import Provisioner
from tests.unit.domain.builders import CATALOGUE, V100, manifest

BAD: dict[str, Any] = {
    "inference": {"preset": {"name": "gpt-5"}, "adapters": [{"source": {"name": "A"}}]}
}


@pytest.fixture
def guarded() -> ObjectStore:
    """A store that asks before it stores a Workspace."""
    numbers = iter(range(1000))
    return ObjectStore(
        now_s=lambda: 0.0,
        new_uid=lambda: f"uid-{next(numbers)}",
        admission=[WorkspaceAdmission(CATALOGUE)],
    )


def create(store: ObjectStore, served: Resource = WORKSPACE, **parts: Any) -> KubeObject:
    return store.create(served, manifest(version=served.version, **parts))


def stored_before_the_rule() -> dict[str, Any]:
    """An object that came in when nobody was asked."""
    unguarded = ObjectStore(now_s=lambda: 0.0, new_uid=lambda: "uid")
    found: dict[str, Any] = thaw(create(unguarded, metadata={"namespace": "default"}, **BAD))
    return found


@pytest.mark.parametrize("resource", [WORKSPACE, WORKSPACE_V1ALPHA1])
def test_a_good_workspace_is_stored(guarded: ObjectStore, resource: Resource) -> None:
    create(guarded, resource, metadata={"namespace": "default"})
    assert guarded.get(WORKSPACE, "phi", "default")["kind"] == "Workspace"


def test_every_problem_is_named(guarded: ObjectStore) -> None:
    with pytest.raises(InvalidObject) as caught:
        create(guarded, metadata={"namespace": "default"}, **BAD)
    assert caught.value.code == 422
    assert caught.value.causes == (
        "inference.preset.name",
        "inference.adapters[0].source.name",
        "inference.adapters[0].source",
    )
    text = str(caught.value)
    assert text.startswith("Workspace 'phi' is refused: inference.preset.name: unknown model")
    assert text.count("; ") >= 2
    assert guarded.list(WORKSPACE).items == ()


def test_what_does_not_parse_is_refused_too(guarded: ObjectStore) -> None:
    with pytest.raises(InvalidObject) as caught:
        create(guarded, metadata={"namespace": "default"}, resource={"count": "two"})
    assert caught.value.causes == ("resource.count",)


def test_a_change_is_asked_about(guarded: ObjectStore) -> None:
    create(guarded, metadata={"namespace": "default"})
    with pytest.raises(InvalidObject, match="unknown model"):
        guarded.patch(WORKSPACE, "phi", "default", {"inference": {"preset": {"name": "nothing"}}})
    guarded.patch(WORKSPACE, "phi", "default", {"inference": {"config": "settings"}})


def test_what_is_fixed_cannot_be_changed(guarded: ObjectStore) -> None:
    create(guarded, metadata={"namespace": "default"})
    with pytest.raises(InvalidObject) as caught:
        guarded.patch(
            WORKSPACE,
            "phi",
            "default",
            {"resource": {"instanceType": "Standard_NC24ads_A100_v4"}},
        )
    assert caught.value.causes == ("resource.instanceType",)
    assert "Delete the Workspace and make a new one" in str(caught.value)


def test_what_could_not_be_read_may_be_put_right_in_any_way() -> None:
    old = stored_before_the_rule()
    old["resource"]["count"] = "two"
    new = thaw(old)
    new["resource"] = manifest()["resource"]
    new["inference"] = manifest()["inference"]
    check("UPDATE", new, old)


def check(operation: Any, new: KubeObject | None, old: KubeObject | None = None) -> None:
    WorkspaceAdmission(CATALOGUE)(operation, WORKSPACE, new, old)


def test_what_leaves_the_spec_alone_passes_whatever_the_rules_say_now() -> None:
    old = stored_before_the_rule()
    labelled = thaw(old)
    labelled["metadata"]["labels"] = {"a": "b"}
    labelled["metadata"]["finalizers"] = []
    check("UPDATE", labelled, old)
    changed = thaw(old)
    changed["resource"]["count"] = 2
    with pytest.raises(InvalidObject):
        check("UPDATE", changed, old)


def test_what_is_accepted_may_come_with_warnings() -> None:
    admission = WorkspaceAdmission(CATALOGUE)
    old_card = manifest(instance_type=V100)
    verdict = admission.judge(old_card, None)
    assert verdict.problems == ()
    (warning,) = verdict.warnings
    assert warning.startswith("NVIDIA V100 16GB has compute capability 7.0")
    assert admission.judge(old_card, old_card).warnings == (), "once is enough"
    assert admission.judge(manifest(), None).warnings == ()


def test_a_workspace_that_is_being_deleted_can_always_be_let_go() -> None:
    old = stored_before_the_rule()
    old["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    changed = thaw(old)
    changed["metadata"]["finalizers"] = []
    changed["resource"]["count"] = 2
    check("UPDATE", changed, old)


def test_deletions_and_other_kinds_are_not_its_business(guarded: ObjectStore) -> None:
    check("DELETE", None, {"metadata": {"name": "phi"}})
    guarded.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "default"}})
    create(guarded, metadata={"namespace": "default"})
    guarded.delete(WORKSPACE, "phi", "default")
    assert guarded.list(WORKSPACE).items == ()


def test_where_users_bring_their_nodes_no_instance_type_is_needed() -> None:
    nodeless = manifest(instance_type="", metadata={"namespace": "default"})
    judge = WorkspaceAdmission(CATALOGUE, Provisioner.BYO).judge
    assert judge(nodeless, None) == Verdict()
    (problem,) = WorkspaceAdmission(CATALOGUE).judge(nodeless, None).problems
    assert problem.field == "resource.instanceType"
    expressions = [{"key": "pool", "operator": "In"}]
    wrong = manifest(resource={"labelSelector": {"matchExpressions": expressions}})
    assert [one.field for one in judge(wrong, None).problems] == [
        "resource.labelSelector.matchExpressions[0].values"
    ]
    (warning,) = judge(manifest(instance_type=V100), None).warnings
    assert "compute capability 7.0" in warning, "what is known of a type is told"
    (changed,) = judge(manifest(instance_type=V100), nodeless).problems
    assert changed.field == "resource.instanceType"


def test_what_may_be_bought_is_judged_although_it_is_an_annotation(guarded: ObjectStore) -> None:
    found = create(guarded, metadata={"namespace": "default"})
    for key, value in (
        ("kaito.sh/fallback-instance-types", "Standard_none"),
        ("kaito.sh/capacity-type", "cheap"),
    ):
        changed = thaw(found)
        changed["metadata"]["annotations"] = {key: value}
        with pytest.raises(InvalidObject) as caught:
            guarded.replace(WORKSPACE, changed)
        assert caught.value.causes == (f"metadata.annotations[{key}]",)
    changed = thaw(found)
    changed["metadata"]["annotations"] = {"kaito.sh/capacity-type": "spot"}
    guarded.replace(WORKSPACE, changed)
