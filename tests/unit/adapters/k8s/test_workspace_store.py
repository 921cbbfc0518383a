"""The cluster port on an API server: what is found, what is written, what counts as different."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from kaito.adapters.config_view import to_config_view
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s.manifests import render
from kaito.adapters.k8s.node_claims import to_node_claim
from kaito.adapters.k8s.workspace_store import KubeWorkspaceStore
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    EVENT,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    KubeObject,
    Resource,
    thaw,
)
from kaito.domain import labels
from kaito.domain.cluster_view import WorkloadState, WorkspaceView
from kaito.domain.errors import Conflict, NotFound, Rejected
from kaito.domain.machine import MachineSpec
from kaito.domain.plan import Note
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workload import Workload
from kaito.domain.workspace_plan import machine_specs
from tests.unit.adapters.k8s.conftest import Clock
from tests.unit.domain.builders import (
    CATALOGUE,
    MINI,
    NOW_S,
    TUNING,
    condition,
    config,
    manifest,
    wanted,
)

Apply = Callable[..., KubeObject]
ADAPTER = {"source": {"name": "style", "image": "registry.test/style:1"}}
TOKEN = {"modelAccessSecret": "hugging-face"}


@pytest.fixture
def port(store: ObjectStore, clock: Clock) -> KubeWorkspaceStore:
    return KubeWorkspaceStore(store, clock)


def read(port: KubeWorkspaceStore, name: str = "phi") -> WorkspaceView:
    view = port.read_workspace("default", name)
    assert view is not None
    return view


def workload_of(view: WorkspaceView) -> Workload:
    return wanted(view.workspace).workload


def spec_of(view: WorkspaceView, slot: int = 0) -> MachineSpec:
    sizing = replace(wanted(view.workspace).sizing, nodes=slot + 1)
    return machine_specs(view, sizing)[slot]


# --- the Workspace itself ---


def test_a_workspace_is_read(port: KubeWorkspaceStore, apply: Apply) -> None:
    created = apply()
    view = read(port)
    assert view.workspace.uid == created["metadata"]["uid"]
    assert view.version == created["metadata"]["resourceVersion"]
    assert view.status == WorkspaceStatus()
    assert port.read_workspace("default", "other") is None
    assert port.read_workspace("other", "phi") is None


def test_a_stored_object_that_does_not_parse(port: KubeWorkspaceStore, apply: Apply) -> None:
    apply(resource={"count": "two"})
    assert [problem.field for problem in read(port).problems] == ["resource.count"]


def test_the_finalizer_comes_and_goes(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply(metadata={"finalizers": ["other.io/keep"]})
    view = port.add_finalizer(read(port))
    assert view.workspace.metadata.finalizers == ("other.io/keep", labels.WORKSPACE_FINALIZER)
    port.remove_finalizer(view)
    assert read(port).workspace.metadata.finalizers == ("other.io/keep",)
    port.remove_finalizer(read(port))  # a no-op without it
    store.delete(WORKSPACE, "phi", "default")
    leaving = read(port)
    port.remove_finalizer(replace(leaving, workspace=view.workspace, version=leaving.version))


def test_removing_the_finalizer_lets_a_deleted_workspace_go(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply()
    port.add_finalizer(read(port))
    store.delete(WORKSPACE, "phi", "default")
    view = read(port)
    assert view.workspace.is_deleting
    port.remove_finalizer(view)
    assert port.read_workspace("default", "phi") is None
    port.remove_finalizer(view)  # gone already


def test_a_status_is_written_and_read(port: KubeWorkspaceStore, apply: Apply) -> None:
    apply()
    status = WorkspaceStatus(
        conditions=(condition("WorkspaceSucceeded", "False", since_s=NOW_S),),
        target_node_count=1,
        state="Pending",
    )
    view = port.write_status(read(port), status)
    assert view.status == status
    assert view == read(port)
    assert view.workspace.metadata.generation == 1, "a status is no change of the spec"


@pytest.mark.parametrize("same", [True, False])
def test_every_write_fails_from_a_stale_view(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply, same: bool
) -> None:
    apply()
    stale = read(port)
    store.patch(WORKSPACE, "phi", "default", {"metadata": {"labels": {"a": "b"}}})
    status = stale.status if same else WorkspaceStatus(state="Ready")
    with pytest.raises(Conflict):
        port.write_status(stale, status)
    with pytest.raises(Conflict):
        port.add_finalizer(stale)
    owned = port.add_finalizer(read(port))
    store.patch(WORKSPACE, "phi", "default", {"metadata": {"labels": {"a": "c"}}})
    with pytest.raises(Conflict):
        port.remove_finalizer(owned)


def test_writes_to_a_workspace_that_is_gone(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply()
    view = read(port)
    store.delete(WORKSPACE, "phi", "default")
    with pytest.raises(Conflict, match="UID in precondition"):
        port.write_status(view, view.status)
    with pytest.raises(NotFound):
        port.add_finalizer(view)


def test_one_made_again_under_its_name_is_another(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply()
    before = read(port)
    store.delete(WORKSPACE, "phi", "default")
    apply()
    with pytest.raises(Conflict):
        port.write_status(before, before.status)


def test_an_event_is_recorded_on_it(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply()
    port.note(read(port), Note(type="Normal", reason="FitDecided", message="fits"))
    (event,) = store.list(EVENT).items
    assert event["involvedObject"]["uid"] == read(port).workspace.uid
    assert event["involvedObject"]["kind"] == "Workspace"


# --- what belongs to it ---


def test_it_sees_what_is_its_own_and_nothing_else(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply()
    apply(name="other")
    view, other = read(port), read(port, "other")
    for owner in (view, other):
        spec = spec_of(owner)
        port.create_machine(spec)
        store.create(
            NODE,
            {"metadata": {"name": f"node-of-{owner.workspace.name}", "labels": dict(spec.labels)}},
        )
        pod_labels = {
            labels.WORKSPACE: owner.workspace.name,
            labels.WORKSPACE_NAMESPACE: "default",
        }
        store.create(
            POD,
            {
                "metadata": {
                    "name": f"{owner.workspace.name}-0",
                    "namespace": "default",
                    "labels": pod_labels,
                },
                "spec": {"containers": [{"name": "x", "image": "x"}]},
            },
        )
    # Carries the user's labels, but no record of ours stands behind it.
    store.create(NODE, {"metadata": {"name": "stranger", "labels": {"apps": "phi"}}})
    seen = port.observe(view.workspace)
    assert [one.spec for one in seen.machines] == [spec_of(view)]
    assert [node.name for node in seen.nodes] == ["node-of-phi"]
    assert [pod.name for pod in seen.pods] == ["phi-0"]
    assert (seen.config, seen.has_workload) == (None, False)


def test_a_node_that_lost_its_labels_is_still_its_machines(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply()
    view = read(port)
    port.create_machine(spec_of(view))
    (claim,) = store.list(NODE_CLAIM).items
    store.patch(
        NODE_CLAIM,
        claim["metadata"]["name"],
        None,
        {"status": {"nodeName": "node"}},
        subresource="status",
    )
    assert port.observe(view.workspace).nodes == ()
    store.create(NODE, {"metadata": {"name": "node"}})
    assert [node.name for node in port.observe(view.workspace).nodes] == ["node"]


def test_it_sees_whether_it_has_a_workload(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply()
    view = read(port)
    store.create(
        STATEFUL_SET,
        {**thaw(render(workload_of(view))[-1].body), "metadata": {"name": "phi"}}
        | {"metadata": {"name": "phi", "namespace": "default"}},
    )
    assert not port.observe(view.workspace).has_workload, "somebody else's"
    store.delete(STATEFUL_SET, "phi", "default")
    port.apply_workload(workload_of(view), replace=False)
    assert port.observe(view.workspace).has_workload
    port.delete_workload(view.workspace)
    assert not port.observe(view.workspace).has_workload


def test_it_reads_the_config_map_that_it_names(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply(inference={"preset": {"name": MINI}, "config": "settings"})
    view = read(port)
    missing = port.observe(view.workspace).config
    assert missing is not None
    assert missing.missing
    assert missing.problem == "ConfigMap 'settings' does not exist"
    data = {"inference_config.yaml": "vllm:\n  max-model-len: 512\n"}
    store.create(
        CONFIG_MAP, {"metadata": {"name": "settings", "namespace": "default"}, "data": data}
    )
    found = port.observe(view.workspace).config
    assert found is not None
    assert (found.problem, found.values) == ("", {"vllm": {"max-model-len": 512}})


def test_each_mode_has_its_key(port: KubeWorkspaceStore, store: ObjectStore, apply: Apply) -> None:
    apply(tuning={**TUNING, "config": "settings"})
    apply(name="bare", inference=None)
    data = {"training_config.yaml": "training_config: {}"}
    store.create(
        CONFIG_MAP, {"metadata": {"name": "settings", "namespace": "default"}, "data": data}
    )
    found = port.observe(read(port).workspace).config
    assert found is not None
    assert found.values == {"training_config": {}}
    assert port.observe(read(port, "bare").workspace).config is None


def stored(data: dict[str, str] | None) -> KubeObject:
    return {"metadata": {"name": "settings"}, "data": data}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "ConfigMap 'settings' has no key 'k'"),
        ({"other": ""}, "ConfigMap 'settings' has no key 'k'"),
        ({"k": "a: ["}, "ConfigMap 'settings': k line "),
        ({"k": "- 1\n- 2\n"}, "ConfigMap 'settings': k line 1: "),
        ({"k": "a: 1\nb: !!python/object:os.system x"}, "ConfigMap 'settings': k line 2: b: "),
    ],
)
def test_a_config_map_that_cannot_be_used(data: dict[str, str] | None, problem: str) -> None:
    found = to_config_view("settings", "k", stored(data))
    assert found.problem.startswith(problem)
    assert not found.missing
    assert found.values is None


def test_the_hash_of_a_config_map_is_that_of_the_part_that_is_read() -> None:
    def hashed(**data: str) -> str:
        return to_config_view("settings", "k", stored(data)).content_hash

    assert hashed(k="a: 1") == hashed(k="a: 1", other="x") != hashed(k="a: 2")
    assert to_config_view("settings", "k", stored({"k": ""})).values == {}


# --- machines ---


def test_a_machine_is_recorded_once(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply()
    spec = spec_of(read(port))
    port.create_machine(spec)
    (claim,) = store.list(NODE_CLAIM).items
    port.create_machine(replace(spec, instance_type="Standard_Other"))
    assert store.list(NODE_CLAIM).items == (claim,)


def test_a_machine_is_released_by_name_and_uid(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply()
    port.create_machine(spec_of(read(port)))
    (found,) = port.observe(read(port).workspace).machines
    port.delete_machine(found.claim_name, "another-uid")
    assert not port.observe(read(port).workspace).machines[0].deleting
    port.delete_machine(found.claim_name, found.uid)
    assert port.observe(read(port).workspace).machines[0].deleting
    store.patch(NODE_CLAIM, found.claim_name, None, {"metadata": {"finalizers": []}})
    port.delete_machine(found.claim_name, found.uid)  # gone already


def test_a_record_that_the_api_refuses(port: KubeWorkspaceStore, apply: Apply) -> None:
    apply()
    spec = replace(spec_of(read(port)), labels={"apps": "not a label value"})
    with pytest.raises(Rejected, match=r"metadata\.labels"):
        port.create_machine(spec)


# --- the workload ---


@pytest.mark.parametrize("tuning", [False, True])
def test_what_was_applied_is_the_same_until_somebody_changes_it(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply, tuning: bool
) -> None:
    apply(**({"tuning": TUNING} if tuning else {"inference": serving()}))
    workload = workload_of(read(port))
    assert port.compare(workload).state is WorkloadState.MISSING
    port.apply_workload(workload, replace=False)
    live = port.compare(workload)
    assert (live.state, live.differences, live.taken) == (WorkloadState.SAME, (), "")
    version = store.resource_version
    port.apply_workload(workload, replace=False)
    assert store.resource_version == version, "repeating it writes nothing"


def serving(**more: Any) -> dict[str, Any]:
    return {"preset": {"name": MINI}, "adapters": [ADAPTER], **more}


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"spec": {"replicas": 5}}, "StatefulSet/phi spec.replicas"),
        (
            {"spec": {"template": {"spec": {"containers": [{"name": "phi", "image": "x"}]}}}},
            "StatefulSet/phi spec.template.spec.containers[0].image",
        ),
        (
            {"metadata": {"labels": {labels.WORKSPACE: None}}},
            f"StatefulSet/phi metadata.labels.{labels.WORKSPACE}",
        ),
    ],
)
def test_a_manual_edit_is_found_and_undone(
    port: KubeWorkspaceStore,
    store: ObjectStore,
    apply: Apply,
    patch: dict[str, Any],
    path: str,
) -> None:
    apply(inference=serving())
    workload = workload_of(read(port))
    port.apply_workload(workload, replace=False)
    store.patch(STATEFUL_SET, "phi", "default", patch)
    found = port.compare(workload)
    assert found.state is WorkloadState.DIFFERENT
    assert path in found.differences
    assert not found.must_replace
    port.apply_workload(workload, replace=False)
    assert port.compare(workload).state is WorkloadState.SAME


def test_what_others_add_stays(port: KubeWorkspaceStore, store: ObjectStore, apply: Apply) -> None:
    apply()
    workload = workload_of(read(port))
    port.apply_workload(workload, replace=False)
    store.patch(SERVICE, "phi", "default", {"metadata": {"annotations": {"cost": "team-a"}}})
    store.patch(
        STATEFUL_SET,
        "phi",
        "default",
        {"metadata": {"labels": {"team": "a"}}, "spec": {"minReadySeconds": 3}},
    )
    assert port.compare(workload).state is WorkloadState.SAME
    changed = replace(workload, image="registry.test/new:1")
    port.apply_workload(changed, replace=False)
    live = store.get(STATEFUL_SET, "phi", "default")
    assert live["metadata"]["labels"]["team"] == "a"
    assert live["spec"]["minReadySeconds"] == 3
    assert store.get(SERVICE, "phi", "default")["metadata"]["annotations"] == {"cost": "team-a"}


def test_what_a_workload_no_longer_has_goes_away_with_its_template(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    """An init container that is gone leaves no field to compare: the template's hash shows it."""
    apply(inference=serving())
    workload = workload_of(read(port))
    port.apply_workload(workload, replace=False)
    bare = replace(workload, adapters=())
    found = port.compare(bare)
    assert found.state is WorkloadState.DIFFERENT
    port.apply_workload(bare, replace=False)
    pod = store.get(STATEFUL_SET, "phi", "default")["spec"]["template"]["spec"]
    assert "initContainers" not in pod
    assert port.compare(bare).state is WorkloadState.SAME


def test_a_missing_part_makes_a_difference_and_is_made_again(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply()
    workload = workload_of(read(port))
    port.apply_workload(workload, replace=False)
    store.delete(SERVICE, "phi-headless", "default")
    assert port.compare(workload).differences == ("Service/phi-headless",)
    port.apply_workload(workload, replace=False)
    assert port.compare(workload).state is WorkloadState.SAME


def test_a_stateful_set_that_cannot_be_changed_in_place_is_replaced(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply()
    workload = workload_of(read(port))
    (*_, desired) = render(workload)
    body = thaw(desired.body)
    body["spec"]["serviceName"] = "old-name"
    store.create(STATEFUL_SET, body)
    found = port.compare(workload)
    assert found.must_replace
    assert "StatefulSet/phi spec.serviceName" in found.differences
    port.apply_workload(workload, replace=True)
    assert port.compare(workload).state is WorkloadState.DELETING
    settle_foreground_deletion(store, STATEFUL_SET)
    port.apply_workload(workload, replace=True)
    assert port.compare(workload).state is WorkloadState.SAME


def settle_foreground_deletion(store: ObjectStore, resource: Any) -> None:
    """What the garbage collector does once the pods are gone."""
    store.patch(resource, "phi", "default", {"metadata": {"finalizers": []}})


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "lora"},
        {"output": {"image": "registry.test/other:1", "imagePushSecret": "push"}},
        {"input": {"volumeSource": {"persistentVolumeClaim": {"claimName": "data"}}}},
    ],
)
def test_a_job_is_replaced_whatever_changes_of_its_pod(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply, changed: dict[str, Any]
) -> None:
    volume = {"persistentVolumeClaim": {"claimName": "data", "readOnly": True}}
    apply(tuning={**TUNING, "input": {"volumeSource": volume}})
    port.apply_workload(workload_of(read(port)), replace=False)
    store.patch(WORKSPACE, "phi", "default", {"tuning": None})
    store.patch(
        WORKSPACE,
        "phi",
        "default",
        {"tuning": {**TUNING, "input": {"volumeSource": volume}, **changed}},
    )
    workload = workload_of(read(port))
    found = port.compare(workload)
    assert found.state is WorkloadState.DIFFERENT
    assert found.must_replace, found.differences
    port.apply_workload(workload, replace=True)
    assert port.compare(workload).state is WorkloadState.DELETING
    settle_foreground_deletion(store, JOB)
    assert port.compare(workload).state is WorkloadState.MISSING
    port.apply_workload(workload, replace=True)
    assert port.compare(workload).state is WorkloadState.SAME


def test_what_an_earlier_workspace_of_that_name_left_is_waited_for(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply()
    before = workload_of(read(port))
    port.apply_workload(before, replace=False)
    store.delete(WORKSPACE, "phi", "default")
    apply()
    after = workload_of(read(port))
    assert after.owner.uid != before.owner.uid
    found = port.compare(after)
    assert (found.state, found.taken) == (WorkloadState.DELETING, "")
    with pytest.raises(Conflict, match="of an earlier Workspace is not collected yet"):
        port.apply_workload(after, replace=False)
    port.delete_workload(read(port).workspace)
    assert len(store.list(STATEFUL_SET).items) == 1, "not ours to delete"
    store.delete(STATEFUL_SET, "phi", "default")
    assert port.compare(after).state is WorkloadState.DELETING, "its Services are left"
    for name in ("phi", "phi-headless"):
        store.delete(SERVICE, name, "default")
    assert port.compare(after).state is WorkloadState.MISSING


def test_a_job_says_what_it_was_made_for(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply(tuning=TUNING)
    workload = workload_of(read(port))
    port.apply_workload(workload, replace=False)
    newer = replace(workload, generation=2)
    assert port.compare(newer).state is WorkloadState.SAME, "a generation alone is no reason"
    otherwise = replace(workload, arguments=(*workload.arguments, "--new-default"))
    found = port.compare(otherwise)
    assert (found.state, found.must_replace) == (WorkloadState.DIFFERENT, True)
    assert not found.outdated, "only another kaito would write it so"
    assert port.compare(replace(otherwise, generation=2)).older_spec
    settings = {"training_config": {"LoraConfig": {"r": 16}}}
    assert port.compare(replace(workload, training_config=settings)).older_config


@pytest.mark.parametrize("kind", [SERVICE, STATEFUL_SET])
def test_somebody_elses_object_is_left_alone(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply, kind: Any
) -> None:
    apply()
    workload = workload_of(read(port))
    (taken,) = [
        thaw(one.body)
        for one in render(workload)
        if one.resource is kind and one.body["metadata"]["name"] == "phi"
    ]
    del taken["metadata"]["ownerReferences"]
    created = store.create(kind, taken)
    found = port.compare(workload)
    assert found.taken == f"{kind.kind}/phi"
    assert found.state is WorkloadState.MISSING
    with pytest.raises(Rejected, match="does not belong to Workspace phi: delete or rename it"):
        port.apply_workload(workload, replace=True)
    assert store.get(kind, "phi", "default") == created
    port.delete_workload(read(port).workspace)
    assert store.get(kind, "phi", "default") == created


def test_deleting_a_workload_deletes_its_pods_owner_and_may_be_repeated(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply(tuning=TUNING)
    port.apply_workload(workload_of(read(port)), replace=False)
    port.delete_workload(read(port).workspace)
    port.delete_workload(read(port).workspace)
    assert store.list(JOB).items == ()


@pytest.mark.parametrize(
    ("status", "settled"),
    [
        ({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}, True),
        ({"observedGeneration": 0, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}, False),
        ({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1}, False),
        ({"observedGeneration": 1, "replicas": 1, "readyReplicas": 1}, False),
    ],
)
def test_when_a_rollout_has_settled(
    port: KubeWorkspaceStore,
    store: ObjectStore,
    apply: Apply,
    status: dict[str, int],
    settled: bool,
) -> None:
    apply()
    workload = workload_of(read(port))
    port.apply_workload(workload, replace=False)
    store.patch(STATEFUL_SET, "phi", "default", {"status": status}, subresource="status")
    found = port.compare(workload)
    assert (found.settled, found.ready_replicas) == (settled, 1)


def test_how_a_job_stands(port: KubeWorkspaceStore, store: ObjectStore, apply: Apply) -> None:
    apply(tuning=TUNING)
    workload = workload_of(read(port))
    port.apply_workload(workload, replace=False)

    def after(**status: Any) -> Any:
        store.patch(JOB, "phi", "default", {"status": status}, subresource="status")
        return port.compare(workload)

    assert after(active=1).active
    failed = {"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}
    found = after(active=0, conditions=[failed])
    assert (found.active, found.failed, found.succeeded) == (False, True, False)
    assert found.message == "BackoffLimitExceeded"
    complete = {"type": "Complete", "status": "True"}
    assert after(conditions=[complete]).succeeded


def test_the_config_of_a_workload_is_made_and_rolled(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply(inference=serving(config="settings"))
    found = read(port).workspace
    for content_hash in ("one", "two"):
        workload = wanted(found, config(content_hash=content_hash)).workload
        assert port.compare(workload).state is not WorkloadState.SAME
        port.apply_workload(workload, replace=False)
        template = store.get(STATEFUL_SET, "phi", "default")["spec"]["template"]
        assert template["metadata"]["annotations"] == {labels.CONFIG_HASH: content_hash}


def test_every_preset_makes_a_workload_that_the_store_takes(
    port: KubeWorkspaceStore, apply: Apply
) -> None:
    for model in CATALOGUE.models:
        name = model.name.replace(".", "-")
        apply(
            name=name,
            instance_type="Standard_ND96isr_H200_v5",
            inference={"preset": {"name": model.name, "presetOptions": TOKEN}},
        )
        workload = workload_of(read(port, name))
        port.apply_workload(workload, replace=False)
        assert port.compare(workload).state is WorkloadState.SAME


def test_claims_of_another_system_are_not_its_machines(
    port: KubeWorkspaceStore, store: ObjectStore, apply: Apply
) -> None:
    apply()
    view = read(port)
    claim = to_node_claim(spec_of(view))
    claim["metadata"]["labels"][labels.SLOT] = "none"
    store.create(NODE_CLAIM, claim)
    assert port.observe(view.workspace).machines == ()


# --- a server that knows no pod failure policy ---


class OlderServer(ObjectStore):
    """Drops what Kubernetes before 1.26 does not know of a Job, and counts the writes."""

    def __init__(self) -> None:
        self.writes = 0
        uids = count(1)
        super().__init__(now_s=lambda: NOW_S, new_uid=lambda: f"uid-{next(uids)}")

    def create(self, resource: Resource, body: KubeObject) -> KubeObject:
        self.writes += 1
        if resource is JOB:
            body = thaw(body)
            del body["spec"]["podFailurePolicy"]
        return super().create(resource, body)

    def replace(self, resource: Resource, body: KubeObject) -> KubeObject:
        self.writes += 1
        return super().replace(resource, body)


def test_a_server_that_drops_the_failure_policy_is_not_asked_again() -> None:
    server = OlderServer()
    body = manifest(tuning=TUNING)
    body["metadata"]["namespace"] = "default"
    server.create(WORKSPACE, body)
    port = KubeWorkspaceStore(server, Clock())
    wished = workload_of(read(port))
    port.apply_workload(wished, replace=False)
    assert "podFailurePolicy" not in server.get(JOB, "phi", "default")["spec"]
    written = server.writes
    for _ in range(3):
        assert port.compare(wished).differences == ()
        port.apply_workload(wished, replace=False)
    assert server.writes == written
    assert wished.tuning is not None
    changed = replace(wished, tuning=replace(wished.tuning, retries=1))
    port.apply_workload(changed, replace=False)
    assert port.compare(changed).state is WorkloadState.SAME
    assert "podFailurePolicy" not in server.get(JOB, "phi", "default")["spec"]
