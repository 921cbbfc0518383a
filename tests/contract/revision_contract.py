"""The contract of `WorkspaceStore` for the history of a Workspace."""

import json

import pytest

from kaito.adapters.kube_api import (
    CONTROLLER_REVISION,
    WORKSPACE,
    KubeObject,
    labels_of,
    name_of,
)
from kaito.domain import labels
from kaito.domain.cluster_view import RevisionView, WorkspaceView
from kaito.domain.revisions import content_of, revision_name
from tests.contract import kaito_v012 as kaito
from tests.contract.store_world import SERVING, TUNING, StoreWorld

CHANGED = {"inference": {"config": "settings"}}


def history(world: StoreWorld, name: str = "phi") -> list[RevisionView]:
    return list(world.workspaces.observe(world.view(name).workspace).revisions)


def stored(world: StoreWorld, name: str) -> KubeObject:
    return world.kube.get(CONTROLLER_REVISION, name)


def kept(world: StoreWorld, view: WorkspaceView, number: int = 1) -> RevisionView:
    """A revision of the Workspace's spec of now."""
    world.workspaces.create_revision(view.workspace, number)
    (found,) = [
        one
        for one in history(world, view.workspace.name)
        if one.content == content_of(view.workspace)
    ]
    return found


class RevisionContract:
    def test_none_yet(self, world: StoreWorld) -> None:
        world.workspace()
        assert history(world) == []

    @pytest.mark.parametrize("parts", [SERVING, TUNING], ids=["inference", "tuning"])
    def test_what_is_kept(self, world: StoreWorld, parts: dict[str, object]) -> None:
        view = world.workspace(parts=parts)
        found = kept(world, view, 3)
        made = stored(world, found.name)
        assert found.name == revision_name(view.workspace, 3)
        assert (found.number, found.uid) == (3, made["metadata"]["uid"])
        spec = world.kube.get(WORKSPACE, "phi")
        (mode,) = parts
        assert made["data"][mode] == spec[mode], "to go back to, as the user wrote it"
        assert made["data"]["resource"].items() <= spec["resource"].items()
        assert labels_of(made)[labels.HISTORY_OF] == "phi"
        assert labels.WORKSPACE not in labels_of(made), "a StatefulSet's revisions have that one"

    def test_others_may_label_it_and_take_it_from_its_owner(self, world: StoreWorld) -> None:
        """An API server takes no patch where it would write the data in other bytes."""
        spec = {"containers": [{"name": "own", "image": "i", "args": ["<a> & b", "\u00e9\u2028"]}]}
        found = kept(world, world.workspace(parts={"inference": {"template": {"spec": spec}}}))
        data = stored(world, found.name)["data"]
        world.patch(CONTROLLER_REVISION, found.name, {"metadata": {"labels": {"team": "a"}}})
        world.kube.api.delete(WORKSPACE, "phi", world.namespace, propagation="Orphan")

        def is_orphan() -> bool:
            return "ownerReferences" not in stored(world, found.name)["metadata"]

        world.kube.settle(is_orphan)
        assert is_orphan()
        assert stored(world, found.name)["data"] == data

    def test_the_same_spec_is_kept_once(self, world: StoreWorld) -> None:
        view = world.workspace()
        before = kept(world, view)
        world.workspaces.create_revision(view.workspace, 1)
        assert history(world) == [before]

    def test_a_spec_that_comes_back_is_kept_once_more(self, world: StoreWorld) -> None:
        view = world.workspace()
        before = kept(world, view)
        world.workspaces.create_revision(view.workspace, 3)
        first, again = sorted(history(world), key=lambda one: one.number)
        assert first == before
        assert (again.number, again.content) == (3, before.content)

    def test_in_order_and_only_its_own(self, world: StoreWorld) -> None:
        view, other = world.workspace(), world.workspace("other")
        first, foreign = kept(world, view), kept(world, other)
        world.patch(WORKSPACE, "phi", CHANGED)
        second = kept(world, world.view(), 2)
        assert history(world) == sorted([first, second], key=lambda one: one.name)
        assert history(world, "other") == [foreign]

    def test_it_goes_with_the_workspace(self, world: StoreWorld) -> None:
        name = kept(world, world.workspace()).name
        world.kube.api.delete(WORKSPACE, "phi", world.namespace)
        assert world.kube.collected(CONTROLLER_REVISION, name)

    def test_what_an_earlier_workspace_left_behind_is_another(self, world: StoreWorld) -> None:
        before = kept(world, world.workspace())
        world.patch(CONTROLLER_REVISION, before.name, {"metadata": {"finalizers": ["x.io/held"]}})
        view = world.again()
        assert history(world) == []
        after = kept(world, view)
        assert after.name != before.name
        assert after.content == before.content
        world.patch(CONTROLLER_REVISION, before.name, {"metadata": {"finalizers": None}})

    def test_a_name_that_is_taken(self, world: StoreWorld) -> None:
        view = world.workspace()
        names = [revision_name(view.workspace, 1, taken) for taken in range(3)]
        for name in names[:2]:
            body = world.kube.body(CONTROLLER_REVISION, name, data={"a": 1}, revision=9)
            world.kube.api.create(CONTROLLER_REVISION, body)
        foreign = [stored(world, name) for name in names[:2]]
        for _ in range(2):
            assert kept(world, view).name == names[2], "neither has its content, or its owner"
        assert [stored(world, name) for name in names[:2]] == foreign
        assert len(history(world)) == 1

    def test_one_that_was_numbered_by_hand_keeps_its_name(self, world: StoreWorld) -> None:
        view = world.workspace()
        name = kept(world, view).name
        edited = json.loads(json.dumps(stored(world, name))) | {"revision": 9}
        world.kube.api.replace(CONTROLLER_REVISION, edited)
        world.workspaces.create_revision(view.workspace, 1)
        assert sorted(one.number for one in history(world)) == [1, 9]

    def test_delete(self, world: StoreWorld) -> None:
        view = world.workspace()
        found = kept(world, view)
        another = "00000000-0000-4000-8000-00000000ffff"
        world.workspaces.delete_revision(view.workspace, found.name, another)
        assert history(world) == [found]
        for _ in range(2):
            world.workspaces.delete_revision(view.workspace, found.name, found.uid)
            assert history(world) == []

    @pytest.mark.parametrize("parts", [kaito.SERVING, kaito.TUNING], ids=["inference", "tuning"])
    def test_one_of_kaito_s(self, world: StoreWorld, parts: dict[str, object]) -> None:
        world.kube.api.create(WORKSPACE, kaito.workspace(world.namespace, parts))
        made = kaito.revision(world.kube.get(WORKSPACE, kaito.NAME))
        world.kube.api.create(CONTROLLER_REVISION, made)
        view = world.view(kaito.NAME)
        (found,) = history(world, kaito.NAME)
        assert (found.name, found.number) == (name_of(made), 1)
        assert found.content == content_of(view.workspace)
        world.workspaces.delete_revision(view.workspace, found.name, found.uid)
        assert history(world, kaito.NAME) == []

    def test_one_that_says_something_else(self, world: StoreWorld) -> None:
        """It counts, and is like no spec."""
        view = world.workspace()
        found = kept(world, view)
        odd = json.loads(json.dumps(stored(world, found.name)))
        odd["metadata"] = {
            key: odd["metadata"][key] for key in ("namespace", "labels", "ownerReferences")
        } | {"name": "phi-odd"}
        odd |= {"data": {"spec": {"template": {}}}, "revision": 7}
        world.kube.api.create(CONTROLLER_REVISION, odd)
        assert [(one.number, one.content) for one in history(world) if one.name == "phi-odd"] == [
            (7, "")
        ]
