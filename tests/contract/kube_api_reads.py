"""What listing and watching means on every `KubeApi`."""

from typing import Any

import pytest

from kaito.adapters.kube_api import (
    CONFIG_MAP,
    EVENT,
    NODE,
    POD,
    SECRET,
    WORKSPACE,
    WORKSPACE_V1ALPHA1,
    EventType,
    Gone,
    InvalidObject,
    ObjectNotFound,
    name_of,
    thaw,
)
from tests.contract.kube_api_world import World, metadata_of, version_of


class ListContract:
    def test_order_and_version(self, world: World) -> None:
        for name in ("b", "c", "a"):
            world.workspace(name)
        listed = world.api.list(WORKSPACE, world.namespace)
        assert [name_of(obj) for obj in listed.items] == ["a", "b", "c"]
        assert all(obj["kind"] == "Workspace" for obj in listed.items)
        assert int(listed.resource_version) >= max(version_of(obj) for obj in listed.items)
        everywhere = {metadata_of(obj)["uid"] for obj in world.api.list(WORKSPACE).items}
        assert {metadata_of(obj)["uid"] for obj in listed.items} <= everywhere

    def test_get_of_nothing(self, world: World) -> None:
        with pytest.raises(
            ObjectNotFound, match=r'workspaces\.kaito\.sh "one" not found'
        ) as caught:
            world.get(WORKSPACE, "one")
        assert caught.value.code == 404

    @pytest.mark.parametrize(
        ("labels", "wanted"),
        [
            ({"app": "x"}, "ab"),
            ({"app": "x", "tier": "1"}, "a"),
            ({"app": "none"}, ""),
            ({}, "abcd"),
            ("app=x", "ab"),
            ("app==x,tier=2", "b"),
            ("app!=x", "cd"),
            ("app in (x, y)", "abc"),
            ("app notin (x, y)", "d"),
            ("tier", "abc"),
            ("!tier", "d"),
            ("app in (x), tier notin (1)", "b"),
            ("tier>1", "bc"),
            ("example.com/zone=", "d"),
        ],
    )
    def test_label_selectors(self, world: World, labels: Any, wanted: str) -> None:
        world.config_map("a", labels={"app": "x", "tier": "1"})
        world.config_map("b", labels={"app": "x", "tier": "2"})
        world.config_map("c", labels={"app": "y", "tier": "3"})
        world.config_map("d", labels={"example.com/zone": ""})
        assert world.names(labels=labels) == list(wanted)

    def test_selectors_follow_changes(self, world: World) -> None:
        world.config_map("one", labels={"app": "x"})
        world.api.patch(CONFIG_MAP, "one", world.namespace, {"metadata": {"labels": {"app": "y"}}})
        assert world.names(labels={"app": "x"}) == []
        assert world.names(labels={"app": "y"}) == ["one"]
        world.api.delete(CONFIG_MAP, "one", world.namespace)
        assert world.names(labels={"app": "y"}) == []

    @pytest.mark.parametrize("labels", ["a in (", "a b", "=x", "a in x", "a=b c", {"a": "b" * 64}])
    def test_bad_label_selectors(self, world: World, labels: Any) -> None:
        with pytest.raises(InvalidObject) as caught:
            world.names(labels=labels)
        assert caught.value.code == 400

    def test_field_selectors(self, world: World) -> None:
        node = f"{world.namespace}-node"
        world.pod("bound", node=node)
        world.pod("free")
        world.api.create(SECRET, world.body(SECRET, "typed", type="kaito.sh/test"))
        assert world.names(POD, fields={"spec.nodeName": node}) == ["bound"]
        assert world.names(POD, fields={"metadata.name": "free"}) == ["free"]
        assert world.names(POD, fields={"status.phase": "Pending"}) == ["bound", "free"]
        assert world.names(POD, fields={"status.phase": "Running"}) == []
        assert world.names(SECRET, fields={"type": "kaito.sh/test"}) == ["typed"]
        where = {"metadata.namespace": world.namespace, "metadata.name": "bound"}
        assert [name_of(pod) for pod in world.api.list(POD, fields=where).items] == ["bound"]

    def test_field_selectors_of_events_and_nodes(self, world: World) -> None:
        for name, reason in (("one", "Started"), ("two", "Stopped")):
            involved = {"kind": "Pod", "name": name, "namespace": world.namespace, "uid": name}
            body = world.body(EVENT, name, involvedObject=involved, reason=reason, type="Normal")
            world.api.create(EVENT, body)
        # A controller may have written events of its own: only these two are looked for.
        assert world.names(EVENT, fields={"involvedObject.uid": "one"}) == ["one"]
        both = {"reason": "Stopped", "involvedObject.kind": "Pod", "type": "Normal"}
        assert world.names(EVENT, fields=both) == ["two"]
        node = world.node("one", spec={"unschedulable": True})
        where = {"metadata.name": name_of(node), "spec.unschedulable": "true"}
        assert [name_of(each) for each in world.api.list(NODE, fields=where).items] == [
            name_of(node)
        ]
        world.api.delete(NODE, name_of(node))

    def test_unknown_field(self, world: World) -> None:
        for resource in (WORKSPACE, POD, CONFIG_MAP):
            with pytest.raises(InvalidObject) as caught:
                world.api.list(resource, world.namespace, fields={"spec.colour": "red"})
            assert caught.value.code == 400
        with pytest.raises(InvalidObject):
            world.api.list(NODE, fields={"metadata.namespace": world.namespace})

    def test_last_page_may_be_empty(self, world: World) -> None:
        for name, app in (("a", "x"), ("b", "y")):
            world.workspace(name, labels={"app": app})
        where: dict[str, Any] = {"labels": {"app": "x"}, "limit": 1}
        first = world.api.list(WORKSPACE, world.namespace, **where)
        assert [name_of(obj) for obj in first.items] == ["a"]
        assert first.continue_token, "something follows, whether it matches or not"
        token = first.continue_token
        last = world.api.list(WORKSPACE, world.namespace, **where, continue_token=token)
        assert (last.items, last.continue_token) == ((), "")

    def test_pages_show_one_snapshot(self, world: World) -> None:
        for index in range(5):
            world.workspace(f"w{index}", spec={"size": 1}, labels={"app": "x"})
        where: dict[str, Any] = {"labels": {"app": "x"}, "limit": 2}
        first = world.api.list(WORKSPACE, world.namespace, **where)
        assert [name_of(obj) for obj in first.items] == ["w0", "w1"]
        world.api.delete(WORKSPACE, "w2", world.namespace)
        world.api.patch(WORKSPACE, "w3", world.namespace, {"spec": {"size": 2}})
        world.workspace("w25", labels={"app": "x"})
        seen = []
        page = first
        while page.continue_token:
            page = world.api.list(
                WORKSPACE, world.namespace, **where, continue_token=page.continue_token
            )
            assert page.resource_version == first.resource_version
            seen += [(name_of(obj), obj.get("spec")) for obj in page.items]
        assert seen == [(name, {"size": 1}) for name in ("w2", "w3", "w4")]

    def test_bad_continue_token(self, world: World) -> None:
        with pytest.raises(InvalidObject) as caught:
            world.api.list(WORKSPACE, world.namespace, limit=1, continue_token="junk")
        assert caught.value.code == 400

    def test_continue_token_grows_too_old(self, world: World) -> None:
        if world.forget_history is None:
            pytest.skip("this API cannot be made to forget")
        for name in ("a", "b"):
            world.config_map(name)
        page = world.api.list(CONFIG_MAP, world.namespace, limit=1)
        world.forget_history()
        with pytest.raises(Gone) as caught:
            world.api.list(CONFIG_MAP, world.namespace, continue_token=page.continue_token)
        assert caught.value.code == 410


class WatchContract:
    def test_watch_tells_what_a_list_did_not(self, world: World) -> None:
        world.workspace("old")
        listed = world.api.list(WORKSPACE, world.namespace)
        watch = world.api.watch(
            WORKSPACE, world.namespace, resource_version=listed.resource_version
        )
        world.workspace("new", spec={"size": 1})
        world.api.patch(WORKSPACE, "new", world.namespace, {"spec": {"size": 2}})
        world.api.delete(WORKSPACE, "new", world.namespace)
        events = world.events(watch, 3)
        assert [(event.type, name_of(event.object)) for event in events] == [
            (EventType.ADDED, "new"),
            (EventType.MODIFIED, "new"),
            (EventType.DELETED, "new"),
        ]
        versions = [version_of(event.object) for event in events]
        assert versions == sorted(set(versions))
        assert versions[0] > int(listed.resource_version)
        assert events[1].object["spec"] == {"size": 2}
        assert list(watch.poll()) == []

    def test_what_a_watch_hands_out_is_immutable(self, world: World) -> None:
        marker = world.config_map("marker")
        watch = world.watch(CONFIG_MAP, marker)
        world.config_map("one", data={"key": "value"})
        (event,) = world.events(watch, 1)
        with pytest.raises(TypeError):
            event.object["data"]["key"] = "x"
        assert thaw(event.object)["data"] == {"key": "value"}

    def test_watch_resumes_after_any_event(self, world: World) -> None:
        marker = world.config_map("marker")
        watch = world.watch(CONFIG_MAP, marker)
        for index in range(4):
            world.config_map(f"c{index}")
        events = world.events(watch, 4)
        watch.close()
        resumed = world.watch(CONFIG_MAP, events[1].object)
        again = world.events(resumed, 2)
        assert [name_of(event.object) for event in again] == ["c2", "c3"]

    def test_watch_of_one_namespace_or_all(self, world: World) -> None:
        marker = world.config_map("marker")
        everywhere = world.api.watch(
            CONFIG_MAP, resource_version=metadata_of(marker)["resourceVersion"]
        )
        default = world.api.watch(
            CONFIG_MAP, "default", resource_version=metadata_of(marker)["resourceVersion"]
        )
        world.config_map("one")
        seen = [metadata_of(event.object)["namespace"] for event in world.events(everywhere, 1)]
        assert world.namespace in seen
        assert world.namespace not in [
            metadata_of(event.object)["namespace"] for event in default.poll()
        ]

    def test_watch_in_another_version(self, world: World) -> None:
        marker = world.workspace("marker")
        watch = world.watch(WORKSPACE_V1ALPHA1, marker)
        world.workspace("one")
        (event,) = world.events(watch, 1)
        assert event.object["apiVersion"] == "kaito.sh/v1alpha1"

    def test_watch_wakes(self, world: World) -> None:
        calls: list[int] = []
        marker = world.config_map("marker")
        watch = world.watch(CONFIG_MAP, marker, wake=lambda: calls.append(1))
        world.config_map("one")
        assert len(world.events(watch, 1)) == 1
        assert calls
        del calls[:]
        world.config_map("two")
        assert len(world.events(watch, 1)) == 1
        assert calls

    def test_late_watch_wakes_for_what_it_missed(self, world: World) -> None:
        calls: list[int] = []
        marker = world.config_map("marker")
        world.config_map("one")
        watch = world.watch(CONFIG_MAP, marker, wake=lambda: calls.append(1))
        assert len(world.events(watch, 1)) == 1
        assert calls

    def test_closed_watch_is_silent(self, world: World) -> None:
        calls: list[int] = []
        marker = world.config_map("marker")
        watch = world.watch(CONFIG_MAP, marker, wake=lambda: calls.append(1))
        watch.close()
        watch.close()
        world.config_map("one")
        world.pause()
        assert list(watch.poll()) == []
        assert not calls

    def test_version_too_old(self, world: World) -> None:
        if world.forget_history is None:
            pytest.skip("this API cannot be made to forget")
        marker = world.config_map("marker")
        slow = world.watch(CONFIG_MAP, marker)
        world.forget_history()
        for watch in (slow, world.watch(CONFIG_MAP, marker)):
            with pytest.raises(Gone):
                world.events(watch, 1)
        listed = world.api.list(CONFIG_MAP, world.namespace)
        fresh = world.api.watch(
            CONFIG_MAP, world.namespace, resource_version=listed.resource_version
        )
        world.config_map("one")
        assert [name_of(event.object) for event in world.events(fresh, 1)] == ["one"]
