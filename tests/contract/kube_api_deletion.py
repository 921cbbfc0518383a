"""What deleting means on every `KubeApi`, with the garbage collector's part in it."""

import pytest

from kaito.adapters.kube_api import (
    CONFIG_MAP,
    NAMESPACE,
    NODE,
    NODE_CLAIM,
    POD,
    SECRET,
    STATEFUL_SET,
    WORKSPACE,
    EventType,
    Forbidden,
    InvalidObject,
    ObjectConflict,
    ObjectNotFound,
    name_of,
)
from tests.contract.kube_api_world import (
    World,
    generation_of,
    metadata_of,
    owner_reference,
    version_of,
)

NO_UID = "00000000-0000-0000-0000-000000000000"


class DeleteContract:
    def test_delete(self, world: World) -> None:
        one = world.config_map("one")
        watch = world.watch(CONFIG_MAP, one)
        world.api.delete(CONFIG_MAP, "one", world.namespace)
        (event,) = world.events(watch, 1)
        assert event.type is EventType.DELETED
        assert metadata_of(event.object)["uid"] == metadata_of(one)["uid"]
        with pytest.raises(ObjectNotFound):
            world.get(CONFIG_MAP, "one")
        with pytest.raises(ObjectNotFound):
            world.api.delete(CONFIG_MAP, "one", world.namespace)

    def test_preconditions(self, world: World) -> None:
        stale = world.config_map("one", data={"a": "1"})
        world.api.patch(CONFIG_MAP, "one", world.namespace, {"data": {"a": "2"}})
        version = metadata_of(stale)["resourceVersion"]
        with pytest.raises(ObjectConflict, match="the UID in the precondition"):
            world.api.delete(CONFIG_MAP, "one", world.namespace, uid="other")
        with pytest.raises(ObjectConflict, match="the ResourceVersion in the precondition"):
            world.api.delete(CONFIG_MAP, "one", world.namespace, resource_version=version)
        world.api.delete(CONFIG_MAP, "one", world.namespace, uid=metadata_of(stale)["uid"])
        assert not world.exists(CONFIG_MAP, "one")

    def test_finalizers_hold_an_object(self, world: World) -> None:
        first = world.workspace("one", finalizers=["kaito.sh/a", "kaito.sh/b"])
        watch = world.watch(WORKSPACE, first)
        world.api.delete(WORKSPACE, "one", world.namespace)
        marked = world.get(WORKSPACE, "one")
        assert metadata_of(marked)["deletionTimestamp"]
        assert metadata_of(marked)["deletionGracePeriodSeconds"] == 0
        assert generation_of(marked) == 2

        world.api.delete(WORKSPACE, "one", world.namespace)
        assert world.get(WORKSPACE, "one") == marked
        patch = {"metadata": {"finalizers": ["kaito.sh/b"]}}
        world.api.patch(WORKSPACE, "one", world.namespace, patch)
        assert world.exists(WORKSPACE, "one")
        world.api.patch(WORKSPACE, "one", world.namespace, {"metadata": {"finalizers": None}})
        assert not world.exists(WORKSPACE, "one")
        types = [event.type for event in world.events(watch, 3)]
        assert types == [EventType.MODIFIED, EventType.MODIFIED, EventType.DELETED]

    def test_deleted_object_takes_no_new_finalizer(self, world: World) -> None:
        world.workspace("one", finalizers=["kaito.sh/a"])
        world.api.delete(WORKSPACE, "one", world.namespace)
        patch = {"metadata": {"finalizers": ["kaito.sh/a", "kaito.sh/b"]}}
        with pytest.raises(InvalidObject, match="no new finalizers can be added"):
            world.api.patch(WORKSPACE, "one", world.namespace, patch)
        changed = world.api.patch(WORKSPACE, "one", world.namespace, {"spec": {"size": 1}})
        assert metadata_of(changed)["deletionTimestamp"]
        world.api.patch(WORKSPACE, "one", world.namespace, {"metadata": {"finalizers": None}})

    def test_deletion_time_stays(self, world: World) -> None:
        world.config_map("one", finalizers=["kaito.sh/a"])
        late = {"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}}
        with pytest.raises(InvalidObject, match="field is immutable"):
            world.api.patch(CONFIG_MAP, "one", world.namespace, late)
        world.api.delete(CONFIG_MAP, "one", world.namespace)
        marked = metadata_of(world.get(CONFIG_MAP, "one"))
        patched = metadata_of(world.api.patch(CONFIG_MAP, "one", world.namespace, late))
        assert patched["deletionTimestamp"] == marked["deletionTimestamp"]
        world.api.patch(CONFIG_MAP, "one", world.namespace, {"metadata": {"finalizers": None}})

    def test_pod_that_waits_for_finalizers_takes_another_propagation(self, world: World) -> None:
        world.pod("one", finalizers=["kaito.sh/a"])
        world.api.delete(POD, "one", world.namespace)
        version = version_of(world.get(POD, "one"))
        world.api.delete(POD, "one", world.namespace, propagation="Orphan")
        assert version_of(world.get(POD, "one")) > version
        world.api.patch(POD, "one", world.namespace, {"metadata": {"finalizers": None}})
        assert world.collected(POD, "one")

    def test_pod_without_a_node_goes_at_once(self, world: World) -> None:
        world.pod("one", node="")
        world.api.delete(POD, "one", world.namespace, grace_period_s=30)
        assert not world.exists(POD, "one")

    def test_pod_on_a_node_waits_for_its_kubelet(self, world: World) -> None:
        world.pod("one", node=f"{world.namespace}-node")
        world.api.delete(POD, "one", world.namespace)
        meta = metadata_of(world.get(POD, "one"))
        assert meta["deletionGracePeriodSeconds"] == 30
        assert meta["deletionTimestamp"] > meta["creationTimestamp"]
        world.api.delete(POD, "one", world.namespace, grace_period_s=60)
        assert metadata_of(world.get(POD, "one")) == meta
        world.api.delete(POD, "one", world.namespace, grace_period_s=0)
        assert not world.exists(POD, "one")

    def test_eviction_is_a_delete_with_the_pods_own_grace(self, world: World) -> None:
        pod = world.pod("one", node=f"{world.namespace}-node")
        with pytest.raises(ObjectConflict):
            world.api.evict("one", world.namespace, uid=NO_UID)
        assert "deletionTimestamp" not in metadata_of(world.get(POD, "one"))
        world.api.evict("one", world.namespace, uid=metadata_of(pod)["uid"])
        assert metadata_of(world.get(POD, "one"))["deletionGracePeriodSeconds"] == 30
        world.api.evict("one", world.namespace)
        world.api.delete(POD, "one", world.namespace, grace_period_s=0)
        with pytest.raises(ObjectNotFound):
            world.api.evict("one", world.namespace)

    def test_namespace_takes_its_content_along(self, world: World) -> None:
        name = f"{world.namespace}-extra"
        world.api.create(NAMESPACE, world.body(NAMESPACE, name))
        held = {"namespace": name, "finalizers": ["kaito.sh/held"]}
        world.config_map("plain", metadata={"namespace": name})
        world.config_map("held", metadata=held)
        world.api.delete(NAMESPACE, name)

        def plain_is_gone() -> bool:
            listed = world.api.list(CONFIG_MAP, name).items
            return "plain" not in [name_of(obj) for obj in listed]

        world.settle(plain_is_gone)
        assert plain_is_gone()
        assert world.api.get(NAMESPACE, name)["status"]["phase"] == "Terminating"
        with pytest.raises(Forbidden, match="because it is being terminated"):
            world.config_map("late", metadata={"namespace": name})
        world.api.patch(CONFIG_MAP, "held", name, {"metadata": {"finalizers": None}})
        assert world.collected(NAMESPACE, name)

    def test_default_namespace_stays(self, world: World) -> None:
        with pytest.raises(Forbidden, match="this namespace may not be deleted"):
            world.api.delete(NAMESPACE, "default")


class GarbageCollectionContract:
    def test_dependents_follow_their_owner(self, world: World) -> None:
        top = world.workspace("top")
        middle = world.stateful_set("middle", ownerReferences=[owner_reference(top)])
        world.config_map("leaf", ownerReferences=[owner_reference(middle)])
        world.config_map("other")
        world.api.delete(WORKSPACE, "top", world.namespace)
        assert world.collected(STATEFUL_SET, "middle")
        assert world.collected(CONFIG_MAP, "leaf")
        assert world.kept(CONFIG_MAP, "other")

    def test_dependent_that_comes_after_its_owner_went(self, world: World) -> None:
        owner = world.config_map("owner")
        world.api.delete(CONFIG_MAP, "owner", world.namespace)
        world.config_map("late", ownerReferences=[owner_reference(owner)])
        assert world.collected(CONFIG_MAP, "late")

    def test_one_owner_of_two_is_enough(self, world: World) -> None:
        owners = [world.workspace("a"), world.workspace("b")]
        world.config_map("shared", ownerReferences=[owner_reference(each) for each in owners])
        world.api.delete(WORKSPACE, "a", world.namespace)

        def owner_names() -> list[str]:
            references = metadata_of(world.get(CONFIG_MAP, "shared"))["ownerReferences"]
            return [reference["name"] for reference in references]

        world.settle(lambda: owner_names() == ["b"])
        assert owner_names() == ["b"]
        world.api.delete(WORKSPACE, "b", world.namespace)
        assert world.collected(CONFIG_MAP, "shared")

    def test_owner_counts_by_uid(self, world: World) -> None:
        owner = world.config_map("owner")
        reference = owner_reference(owner, uid="00000000-0000-0000-0000-000000000000")
        world.config_map("dependent", ownerReferences=[reference])
        assert world.collected(CONFIG_MAP, "dependent")
        assert world.kept(CONFIG_MAP, "owner")

    def test_foreground_waits_for_what_blocks(self, world: World) -> None:
        owner = world.workspace("owner")
        blocking = [owner_reference(owner, blocks=True)]
        world.config_map("held", ownerReferences=blocking, finalizers=["kaito.sh/held"])
        world.api.delete(WORKSPACE, "owner", world.namespace, propagation="Foreground")
        meta = metadata_of(world.get(WORKSPACE, "owner"))
        assert meta["finalizers"] == ["foregroundDeletion"]
        assert meta["deletionTimestamp"]

        def marked() -> bool:
            return "deletionTimestamp" in metadata_of(world.get(CONFIG_MAP, "held"))

        world.settle(marked)
        assert marked()
        assert world.exists(WORKSPACE, "owner")
        world.api.patch(CONFIG_MAP, "held", world.namespace, {"metadata": {"finalizers": None}})
        assert world.collected(WORKSPACE, "owner")
        assert not world.exists(CONFIG_MAP, "held")

    def test_foreground_goes_on_once_nothing_blocks_any_more(self, world: World) -> None:
        owner = world.workspace("owner")
        blocking = [owner_reference(owner, blocks=True)]
        world.config_map("held", ownerReferences=blocking, finalizers=["kaito.sh/held"])
        world.api.delete(WORKSPACE, "owner", world.namespace, propagation="Foreground")
        patch = {"metadata": {"ownerReferences": [owner_reference(owner)]}}
        world.api.patch(CONFIG_MAP, "held", world.namespace, patch)
        assert world.collected(WORKSPACE, "owner")
        world.api.patch(CONFIG_MAP, "held", world.namespace, {"metadata": {"finalizers": None}})
        assert world.collected(CONFIG_MAP, "held")

    def test_foreground_does_not_wait_for_the_others(self, world: World) -> None:
        owner = world.workspace("owner")
        reference = owner_reference(owner)
        world.config_map("held", ownerReferences=[reference], finalizers=["kaito.sh/held"])
        world.api.delete(WORKSPACE, "owner", world.namespace, propagation="Foreground")
        assert world.collected(WORKSPACE, "owner")
        world.api.patch(CONFIG_MAP, "held", world.namespace, {"metadata": {"finalizers": None}})
        assert world.collected(CONFIG_MAP, "held")

    def test_foreground_goes_down_to_the_leaves(self, world: World) -> None:
        top = world.workspace("top")
        middle = world.stateful_set("middle", ownerReferences=[owner_reference(top, blocks=True)])
        world.config_map("leaf", ownerReferences=[owner_reference(middle, blocks=True)])
        world.api.delete(WORKSPACE, "top", world.namespace, propagation="Foreground")
        assert world.collected(WORKSPACE, "top")
        assert not world.exists(STATEFUL_SET, "middle")
        assert not world.exists(CONFIG_MAP, "leaf")

    def test_orphan_leaves_dependents(self, world: World) -> None:
        owner = world.workspace("owner")
        world.config_map("orphan", ownerReferences=[owner_reference(owner)])
        world.api.delete(WORKSPACE, "owner", world.namespace, propagation="Orphan")
        assert world.collected(WORKSPACE, "owner")
        assert world.kept(CONFIG_MAP, "orphan")
        assert "ownerReferences" not in metadata_of(world.get(CONFIG_MAP, "orphan"))

    def test_owner_with_a_finalizer_keeps_its_dependents(self, world: World) -> None:
        owner = world.workspace("owner", finalizers=["kaito.sh/a"])
        world.config_map("dependent", ownerReferences=[owner_reference(owner)])
        world.api.delete(WORKSPACE, "owner", world.namespace)
        assert world.kept(CONFIG_MAP, "dependent")
        world.api.patch(WORKSPACE, "owner", world.namespace, {"metadata": {"finalizers": None}})
        assert world.collected(CONFIG_MAP, "dependent")

    def test_owner_in_another_namespace_is_absent(self, world: World) -> None:
        elsewhere = f"{world.namespace}-elsewhere"
        world.api.create(NAMESPACE, world.body(NAMESPACE, elsewhere))
        owner = world.config_map("owner", metadata={"namespace": elsewhere})
        world.config_map("dependent", ownerReferences=[owner_reference(owner)])
        assert world.collected(CONFIG_MAP, "dependent")
        world.api.delete(NAMESPACE, elsewhere)

    def test_cluster_scoped_owner(self, world: World) -> None:
        node = world.node("owner")
        world.api.create(
            SECRET, world.body(SECRET, "dependent", ownerReferences=[owner_reference(node)])
        )
        assert world.kept(SECRET, "dependent")
        world.api.delete(NODE, name_of(node))
        assert world.collected(SECRET, "dependent")

    def test_namespaced_owner_of_a_cluster_scoped_object(self, world: World) -> None:
        owner = world.workspace("owner")
        name = f"{world.namespace}-claim"
        body = world.body(NODE_CLAIM, name, ownerReferences=[owner_reference(owner)])
        world.api.create(NODE_CLAIM, body)
        world.api.delete(WORKSPACE, "owner", world.namespace)
        assert world.kept(NODE_CLAIM, name)
        world.api.delete(NODE_CLAIM, name)
