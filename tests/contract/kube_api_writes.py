"""What creating, replacing and patching means on every `KubeApi`."""

from typing import Any

import pytest

from kaito.adapters.kube_api import (
    CONFIG_MAP,
    JOB,
    NODE,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    WORKSPACE_V1ALPHA1,
    AlreadyExists,
    EventType,
    InvalidObject,
    ObjectConflict,
    ObjectNotFound,
    Resource,
    name_of,
    thaw,
)
from tests.contract.kube_api_world import World, generation_of, metadata_of, version_of


class CreateContract:
    def test_created_object_can_be_read_back(self, world: World) -> None:
        created = world.config_map("one", data={"key": "value"}, labels={"app": "a"})
        meta = metadata_of(created)
        assert created["data"] == {"key": "value"}
        assert meta["labels"] == {"app": "a"}
        assert meta["uid"]
        assert meta["creationTimestamp"].endswith("Z")
        assert version_of(created) > 0
        assert world.get(CONFIG_MAP, "one") == created

    def test_what_is_handed_out_is_immutable(self, world: World) -> None:
        body = world.body(CONFIG_MAP, "one", data={"key": "value"})
        created = world.api.create(CONFIG_MAP, body)
        body["data"]["key"] = "changed by the caller"
        with pytest.raises(TypeError):
            created["data"]["key"] = "x"
        with pytest.raises(TypeError):
            created["metadata"].update(name="x")
        assert world.get(CONFIG_MAP, "one")["data"] == {"key": "value"}

    def test_server_sets_its_own_metadata(self, world: World) -> None:
        mine = {"uid": "mine", "creationTimestamp": "2020-01-01T00:00:00Z", "generation": 7}
        mine["deletionTimestamp"] = "2020-01-01T00:00:00Z"
        meta = metadata_of(world.workspace("one", metadata=mine))
        assert meta["uid"] != "mine"
        assert meta["creationTimestamp"] > "2020-01-01T00:00:00Z"
        assert meta["generation"] == 1
        assert "deletionTimestamp" not in meta

    def test_generated_names_differ(self, world: World) -> None:
        names = set()
        for _ in range(3):
            body = world.body(CONFIG_MAP, "", generateName="made-")
            names.add(name_of(world.api.create(CONFIG_MAP, body)))
        assert len(names) == 3
        assert all(name.startswith("made-") and len(name) == 10 for name in names)

    def test_a_second_one_of_the_same_name(self, world: World) -> None:
        world.workspace("one")
        with pytest.raises(AlreadyExists, match=r'workspaces\.kaito\.sh "one" already exists'):
            world.workspace("one")

    def test_namespace_must_exist(self, world: World) -> None:
        absent = f"{world.namespace}-absent"
        with pytest.raises(ObjectNotFound, match=f'namespaces "{absent}" not found'):
            world.config_map("one", metadata={"namespace": absent})

    @pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a" * 254, ""])
    def test_names_are_validated(self, world: World, name: str) -> None:
        with pytest.raises(InvalidObject) as caught:
            world.config_map(name)
        assert caught.value.code == 422
        assert caught.value.causes == ("metadata.name",)

    def test_all_that_is_wrong_is_told(self, world: World) -> None:
        with pytest.raises(InvalidObject) as caught:
            world.config_map("Upper", data={"a b": "c"}, finalizers=["not qualified"])
        assert set(caught.value.causes) == {
            "metadata.name",
            "metadata.finalizers",
            "metadata.finalizers[0]",
            "data[a b]",
        }

    @pytest.mark.parametrize(
        "parts",
        [{"data": "text"}, {"data": {"key": 1}}, {"metadata": {"labels": "text"}}],
        ids=["data", "value", "labels"],
    )
    def test_types_are_checked(self, world: World, parts: dict[str, Any]) -> None:
        with pytest.raises(InvalidObject) as caught:
            world.config_map("one", **parts)
        assert caught.value.code == 400

    def test_unknown_fields_of_a_built_in_kind_are_dropped(self, world: World) -> None:
        created = world.config_map("one", metadata={"odd": 1}, odd=1, data={"key": "1"})
        assert "odd" not in metadata_of(created)
        assert set(created) == {"apiVersion", "kind", "metadata", "data"}

    @pytest.mark.parametrize("labels", [{"app": "a" * 64}, {"app": "-a"}, {"a b": "c"}])
    def test_labels_are_validated(self, world: World, labels: dict[str, str]) -> None:
        with pytest.raises(InvalidObject) as caught:
            world.config_map("one", labels=labels)
        assert caught.value.causes == ("metadata.labels",)

    def test_kind_must_fit(self, world: World) -> None:
        with pytest.raises(InvalidObject) as caught:
            world.api.create(CONFIG_MAP, world.body(SECRET, "one"))
        assert caught.value.code == 400

    def test_status_begins_with_the_server(self, world: World) -> None:
        workspace = world.workspace("one", status={"mine": True})
        pod = world.pod("one", status={"phase": "Running"})
        assert "status" not in workspace
        assert pod["status"]["phase"] == "Pending"

    def test_node_keeps_its_first_status(self, world: World) -> None:
        node = world.node("one", status={"capacity": {"cpu": "4"}})
        assert node["status"]["capacity"] == {"cpu": "4"}
        world.api.delete(NODE, name_of(node))

    def test_secret_text_is_encoded(self, world: World) -> None:
        body = world.body(SECRET, "one", stringData={"key": "b"})
        secret = world.api.create(SECRET, body)
        assert secret["data"] == {"key": "Yg=="}
        assert secret["type"] == "Opaque"
        assert "stringData" not in secret

    def test_workspace_is_one_object_in_two_versions(self, world: World) -> None:
        old = world.api.create(
            WORKSPACE_V1ALPHA1, world.body(WORKSPACE_V1ALPHA1, "one", spec={"size": 1})
        )
        new = world.get(WORKSPACE, "one")
        assert old["apiVersion"] == "kaito.sh/v1alpha1"
        assert new["apiVersion"] == "kaito.sh/v1beta1"
        assert {**old, "apiVersion": ""} == {**new, "apiVersion": ""}
        listed = world.api.list(WORKSPACE_V1ALPHA1, world.namespace).items
        assert [each["apiVersion"] for each in listed] == ["kaito.sh/v1alpha1"]


class ReplaceContract:
    def test_replace_with_the_current_version(self, world: World) -> None:
        body = thaw(world.workspace("one", spec={"size": 1}))
        body["spec"] = {"size": 2}
        replaced = world.api.replace(WORKSPACE, body)
        assert replaced["spec"] == {"size": 2}
        assert version_of(replaced) > int(body["metadata"]["resourceVersion"])
        assert world.get(WORKSPACE, "one") == replaced

    @pytest.mark.parametrize("resource", [CONFIG_MAP, WORKSPACE])
    def test_stale_replace_is_a_conflict(self, world: World, resource: Resource) -> None:
        stale = world.api.create(resource, world.body(resource, "one"))
        world.api.patch(resource, "one", world.namespace, {"metadata": {"labels": {"a": "b"}}})
        with pytest.raises(ObjectConflict, match="the object has been modified"):
            world.api.replace(resource, {**stale, "data": {}})

    def test_replace_without_a_version(self, world: World) -> None:
        world.config_map("one", data={"key": "1"})
        body = world.body(CONFIG_MAP, "one", data={"key": "2"})
        assert world.api.replace(CONFIG_MAP, body)["data"] == {"key": "2"}
        world.workspace("one")
        with pytest.raises(InvalidObject, match=r"metadata\.resourceVersion"):
            world.api.replace(WORKSPACE, world.body(WORKSPACE, "one"))

    def test_replace_of_another_incarnation_is_a_conflict(self, world: World) -> None:
        world.config_map("one")
        with pytest.raises(ObjectConflict, match="UID in precondition"):
            world.api.replace(CONFIG_MAP, world.body(CONFIG_MAP, "one", metadata={"uid": "other"}))

    @pytest.mark.parametrize("resource", [CONFIG_MAP, WORKSPACE], ids=["built in", "custom"])
    def test_replace_of_one_that_is_gone(self, world: World, resource: Resource) -> None:
        one = world.api.create(resource, world.body(resource, "one"))
        world.api.delete(resource, "one", world.namespace)
        with pytest.raises(ObjectConflict, match="UID in precondition"):
            world.api.replace(resource, one)

    def test_replace_of_nothing(self, world: World) -> None:
        with pytest.raises(ObjectNotFound, match='configmaps "one" not found'):
            world.api.replace(CONFIG_MAP, world.body(CONFIG_MAP, "one"))

    def test_write_that_changes_nothing(self, world: World) -> None:
        one = world.workspace("one", spec={"size": 1})
        watch = world.watch(WORKSPACE, one)
        again = world.api.replace(WORKSPACE, one)
        patched = world.api.patch(WORKSPACE, "one", world.namespace, {"spec": {"size": 1}})
        assert version_of(again) == version_of(patched) == version_of(one)
        world.workspace("two")
        events = world.events(watch, 1)
        assert [(event.type, name_of(event.object)) for event in events] == [
            (EventType.ADDED, "two")
        ]

    def test_generation_counts_changes_of_the_spec(self, world: World) -> None:
        world.workspace("one", spec={"size": 1})

        def after(patch: dict[str, Any], **how: Any) -> int:
            return generation_of(world.api.patch(WORKSPACE, "one", world.namespace, patch, **how))

        assert after({"metadata": {"labels": {"a": "b"}}}) == 1
        assert after({"status": {"ready": True}}, subresource="status") == 1
        assert after({"spec": {"size": 2}}) == 2
        assert after({"other": {"size": 2}}) == 3

    def test_generation_of_a_stateful_set(self, world: World) -> None:
        world.stateful_set("one")
        labelled = {"metadata": {"labels": {"a": "b"}}}
        paced = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}}
        first = world.api.patch(STATEFUL_SET, "one", world.namespace, labelled)
        second = world.api.patch(STATEFUL_SET, "one", world.namespace, paced)
        assert (generation_of(first), generation_of(second)) == (1, 2)

    def test_server_owned_metadata_stays(self, world: World) -> None:
        one = world.workspace("one")
        body = thaw(one)
        body["metadata"].update(generation=99, creationTimestamp="2020-01-01T00:00:00Z")
        body["metadata"]["labels"] = {"a": "b"}
        meta = dict(metadata_of(world.api.replace(WORKSPACE, body)))
        for key in ("generation", "creationTimestamp", "uid"):
            assert meta[key] == metadata_of(one)[key]
        with pytest.raises(InvalidObject, match="field is immutable"):
            world.api.patch(WORKSPACE, "one", world.namespace, {"metadata": {"uid": "other"}})

    def test_immutable_parts_of_workloads(self, world: World) -> None:
        world.stateful_set("one")
        with pytest.raises(InvalidObject, match="updates to statefulset spec") as caught:
            world.api.patch(STATEFUL_SET, "one", world.namespace, {"spec": {"serviceName": "x"}})
        assert caught.value.causes == ("spec",)
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}
        world.api.create(JOB, world.body(JOB, "one", spec={"parallelism": 0, "template": template}))
        changed = {"spec": {"template": {"spec": {"restartPolicy": "OnFailure"}}}}
        with pytest.raises(InvalidObject, match="field is immutable") as caught:
            world.api.patch(JOB, "one", world.namespace, changed)
        assert caught.value.causes == ("spec.template",)
        world.pod("one")
        with pytest.raises(InvalidObject, match="pod updates may not change fields"):
            world.api.patch(POD, "one", world.namespace, {"spec": {"hostname": "x"}})

    def test_immutable_config_map(self, world: World) -> None:
        world.config_map("one", data={"key": "1"}, immutable=True)
        for patch in ({"data": {"key": "2"}}, {"immutable": False}):
            with pytest.raises(InvalidObject, match="immutable"):
                world.api.patch(CONFIG_MAP, "one", world.namespace, patch)
        labelled = {"metadata": {"labels": {"a": "b"}}}
        world.api.patch(CONFIG_MAP, "one", world.namespace, labelled)

    def test_service_address_stays(self, world: World) -> None:
        ports = [{"port": 80}]
        service = world.api.create(SERVICE, world.body(SERVICE, "one", spec={"ports": ports}))
        address = service["spec"]["clusterIP"]
        assert address
        with pytest.raises(InvalidObject, match="may not change once set"):
            world.api.patch(SERVICE, "one", world.namespace, {"spec": {"clusterIP": "10.0.0.3"}})
        more = {"spec": {"ports": [{"port": 81}]}}
        patched = world.api.patch(SERVICE, "one", world.namespace, more)
        assert patched["spec"]["clusterIP"] == address
        headless = world.body(SERVICE, "two", spec={"clusterIP": "None", "selector": {"a": "b"}})
        assert world.api.create(SERVICE, headless)["spec"]["clusterIP"] == "None"


class StatusContract:
    def test_replace_leaves_the_status(self, world: World) -> None:
        world.workspace("one", spec={"size": 1})
        current = world.api.patch(
            WORKSPACE, "one", world.namespace, {"status": {"a": 1}}, subresource="status"
        )
        body = thaw(current)
        body["status"], body["spec"] = {"a": 2}, {"size": 2}
        replaced = world.api.replace(WORKSPACE, body)
        assert (replaced["spec"], replaced["status"]) == ({"size": 2}, {"a": 1})

    def test_replace_status_leaves_the_rest(self, world: World) -> None:
        body = thaw(world.workspace("one", spec={"size": 1}))
        body["status"], body["spec"] = {"a": 2}, {"size": 2}
        replaced = world.api.replace_status(WORKSPACE, body)
        assert (replaced["spec"], replaced["status"]) == ({"size": 1}, {"a": 2})
        with pytest.raises(ObjectConflict):
            world.api.replace_status(WORKSPACE, body)

    def test_patch_of_the_status_leaves_the_rest(self, world: World) -> None:
        world.workspace("one", spec={"size": 1})
        patch = {"status": {"a": 1}, "spec": {"size": 2}}
        patched = world.api.patch(WORKSPACE, "one", world.namespace, patch, subresource="status")
        assert (patched["spec"], patched["status"]) == ({"size": 1}, {"a": 1})
        patched = world.api.patch(WORKSPACE, "one", world.namespace, patch)
        assert (patched["spec"], patched["status"]) == ({"size": 2}, {"a": 1})

    def test_status_of_a_built_in_kind_takes_labels_along(self, world: World) -> None:
        world.pod("one")
        world.workspace("one")
        patch = {"metadata": {"labels": {"a": "b"}}, "status": {}}
        pod = world.api.patch(POD, "one", world.namespace, patch, subresource="status")
        custom = world.api.patch(WORKSPACE, "one", world.namespace, patch, subresource="status")
        assert metadata_of(pod)["labels"] == {"a": "b"}
        assert "labels" not in metadata_of(custom)

    def test_kind_without_a_status(self, world: World) -> None:
        with pytest.raises(ObjectNotFound, match="could not find the requested resource"):
            world.api.replace_status(CONFIG_MAP, world.body(CONFIG_MAP, "none"))
        world.config_map("one")
        with pytest.raises(ObjectNotFound):
            world.api.patch(CONFIG_MAP, "one", world.namespace, {}, subresource="status")


class PatchContract:
    def test_merge_patch(self, world: World) -> None:
        spec = {"keep": 1, "drop": 2, "list": [1, 2], "deep": {"keep": 1, "drop": 2}}
        world.workspace("one", spec=spec)
        patch = {"spec": {"drop": None, "list": [3], "deep": {"drop": None, "new": {"a": 1}}}}
        patched = world.api.patch(WORKSPACE, "one", world.namespace, patch)
        wanted = {"keep": 1, "list": [3], "deep": {"keep": 1, "new": {"a": 1}}}
        assert patched["spec"] == wanted

    def test_merge_patch_at_a_version(self, world: World) -> None:
        one = world.config_map("one")
        patch = {"metadata": {"resourceVersion": metadata_of(one)["resourceVersion"]}}
        patch["data"] = {"key": "1"}
        world.api.patch(CONFIG_MAP, "one", world.namespace, patch)
        with pytest.raises(ObjectConflict, match="the object has been modified"):
            world.api.patch(CONFIG_MAP, "one", world.namespace, patch)

    def test_merge_patch_that_takes_the_version_away(self, world: World) -> None:
        world.config_map("one")
        world.workspace("one")
        patch = {"metadata": {"resourceVersion": None, "labels": {"a": "b"}}}
        world.api.patch(CONFIG_MAP, "one", world.namespace, patch)
        with pytest.raises(InvalidObject, match=r"metadata\.resourceVersion"):
            world.api.patch(WORKSPACE, "one", world.namespace, patch)

    def test_json_patch(self, world: World) -> None:
        world.workspace("one", spec={"list": [1, 2, 3], "a/b": "x", "old": {"k": 1}})
        operations = [
            {"op": "test", "path": "/spec/list/1", "value": 2},
            {"op": "add", "path": "/spec/list/1", "value": 9},
            {"op": "add", "path": "/spec/list/-", "value": 4},
            {"op": "remove", "path": "/spec/list/0"},
            {"op": "replace", "path": "/spec/a~1b", "value": "y"},
            {"op": "copy", "from": "/spec/old/k", "path": "/spec/copied"},
            {"op": "move", "from": "/spec/old", "path": "/spec/new"},
        ]
        patched = world.api.patch(WORKSPACE, "one", world.namespace, operations, patch_type="json")
        wanted = {"list": [9, 2, 3, 4], "a/b": "y", "copied": 1, "new": {"k": 1}}
        assert patched["spec"] == wanted

    @pytest.mark.parametrize(
        "operation",
        [
            {"op": "test", "path": "/spec/size", "value": 2},
            {"op": "remove", "path": "/spec/absent"},
            {"op": "add", "path": "/absent/deep/er", "value": 1},
            {"op": "add", "path": "/spec/list/9", "value": 1},
        ],
    )
    def test_json_patch_that_does_not_apply(self, world: World, operation: Any) -> None:
        one = world.workspace("one", spec={"size": 1, "list": []})
        operations = [{"op": "add", "path": "/spec/new", "value": 1}, operation]
        with pytest.raises(InvalidObject) as caught:
            world.api.patch(WORKSPACE, "one", world.namespace, operations, patch_type="json")
        assert caught.value.code == 422
        assert world.get(WORKSPACE, "one") == one

    def test_patch_of_nothing(self, world: World) -> None:
        with pytest.raises(ObjectNotFound, match=r'workspaces\.kaito\.sh "one" not found'):
            world.api.patch(WORKSPACE, "one", world.namespace, {})

    def test_patch_cannot_rename(self, world: World) -> None:
        world.config_map("one")
        with pytest.raises(InvalidObject) as caught:
            world.api.patch(CONFIG_MAP, "one", world.namespace, {"metadata": {"name": "two"}})
        assert caught.value.code == 400
