"""What the live page is told, of a world made by hand."""

import json
from typing import Any

import pytest

from kaito.adapters.fake.cloud import GPU_DRIVER
from kaito.adapters.fake.http.page_state import EVENT_LIMIT, PageSources, Story, page_state
from kaito.adapters.fake.http.pod_logs import Span
from kaito.adapters.fake.machine_life import MachineLife
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.files import load_catalogue
from kaito.adapters.kube_api import EVENT, POD, WORKSPACE, KubeObject
from kaito.domain import labels
from kaito.domain.machine import CloudState, MachineOrder, Owner
from kaito.domain.sizing import Sizing, size
from kaito.domain.timestamps import to_rfc3339
from kaito.domain.workspace import parse_workspace

NOW_S = 1_800_000_000.0
HOUR_S = 3600.0
V100, A10 = "Standard_NC6s_v3", "Standard_NV36ads_A10_v5"
NODE = "aks-m1-vmss000000"


class Twin:
    """A store, a cloud's books and a recorder's, all to be filled by the test."""

    def __init__(self) -> None:
        self.now_s = NOW_S
        self.catalogue = load_catalogue()
        self.lives: list[MachineLife] = []
        self.stories: dict[str, Story] = {}
        self.refused: set[str] = set()
        numbers = iter(range(1, 1000))
        self.store = ObjectStore(now_s=lambda: self.now_s, new_uid=lambda: f"uid-{next(numbers)}")

    def state(self) -> dict[str, Any]:
        sources = PageSources(
            api=self.store,
            now_s=lambda: self.now_s,
            lives=lambda: self.lives,
            region="eastus",
            story_of=lambda one: self.stories.get(
                one["metadata"]["name"], Story(created_at_s=NOW_S)
            ),
            sizing_of=self._sizing_of,
            speed=60.0,
            commands=("export KUBECONFIG=here",),
        )
        return page_state(sources)

    def _sizing_of(self, workspace: KubeObject) -> Sizing | None:
        if workspace["metadata"]["name"] in self.refused:
            return None
        return size(parse_workspace(workspace), self.catalogue)

    def workspace(self, name: str = "one", instance_type: str = V100, **more: Any) -> KubeObject:
        return self.store.create(
            WORKSPACE,
            {
                "metadata": {"name": name, "namespace": "default"},
                "resource": {
                    "instanceType": instance_type,
                    "labelSelector": {"matchLabels": {"apps": "a"}},
                },
                "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
                **more,
            },
        )

    def succeeded(self, workspace: KubeObject, status: str, reason: str = "") -> None:
        done = {"type": "WorkspaceSucceeded", "status": status, "reason": reason, "message": "m"}
        metadata = workspace["metadata"]
        body = {"status": {"conditions": [done]}}
        self.store.patch(
            WORKSPACE, metadata["name"], metadata["namespace"], body, subresource="status"
        )

    def machine(
        self, owner: KubeObject, instance_type: str = V100, name: str = "m1", **more: Any
    ) -> MachineLife:
        metadata = owner["metadata"]
        order = MachineOrder(
            name=name,
            claim_name=name,
            owner=Owner(uid=metadata["uid"], namespace="default", name=metadata["name"]),
            instance_type=instance_type,
            disk_bytes=1,
            labels={},
        )
        values: dict[str, Any] = {"ordered_at_s": NOW_S - HOUR_S, "phase": ""} | more
        life = MachineLife(
            order=order,
            instance_type=self.catalogue.instance_type(instance_type),
            zone="eastus-1",
            **values,
        )
        self.lives.append(life)
        return life

    def ready_pod(self, node: str, **metadata: Any) -> None:
        container = {"name": "main", "image": "main:1"}
        self.store.create(
            POD,
            {
                "metadata": {"name": "one-0", "namespace": "default", **metadata},
                "spec": {"nodeName": node, "containers": [container]},
            },
        )
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        self.store.patch(POD, "one-0", "default", ready, subresource="status")

    def event(self, name: str, **more: Any) -> None:
        body = {"metadata": {"name": name, "namespace": "default"}, **more}
        self.store.create(EVENT, body)


@pytest.fixture
def twin() -> Twin:
    return Twin()


def test_nothing_yet(twin: Twin) -> None:
    state = twin.state()
    assert (state["workspaces"], state["machines"], state["events"]) == ([], [], [])
    assert state["totals"]["usd"] == 0
    assert state["commands"] == ["export KUBECONFIG=here"]
    assert json.loads(json.dumps(state, allow_nan=False)) == state


@pytest.mark.parametrize(
    ("status", "reason", "outcome"),
    [
        ("True", "workspaceSucceeded", "ready"),
        ("False", "workspacePending", "pending"),
        ("False", "QuotaExceeded", "blocked"),
    ],
)
def test_how_a_workspace_stands(twin: Twin, status: str, reason: str, outcome: str) -> None:
    twin.succeeded(twin.workspace(), status, reason)
    twin.stories["one"] = Story(
        created_at_s=NOW_S - 60,
        ready_at_s=NOW_S - 18,
        phases=(
            Span("machine order", NOW_S - 90, NOW_S - 80, "of an earlier one of that name"),
            Span("image pull", NOW_S - 50, None, "main:1"),
        ),
    )
    (shown,) = twin.state()["workspaces"]
    assert (shown["namespace"], shown["name"], shown["outcome"]) == ("default", "one", outcome)
    assert (shown["model"], shown["mode"]) == ("phi-3-mini-4k-instruct", "inference")
    # READY then, but not now: how long it took is no longer true.
    assert shown["ready_at_s"] == (NOW_S - 18 if outcome == "ready" else None)
    assert shown["conditions"] == [
        {"type": "WorkspaceSucceeded", "status": status, "reason": reason, "message": "m"}
    ]
    assert [(one["name"], one["end_s"]) for one in shown["phases"]] == [("image pull", None)]
    assert twin.state()["totals"]["ready"] == (1 if outcome == "ready" else 0)


def test_workspace_that_waits_for_its_finalizer(twin: Twin) -> None:
    workspace = twin.workspace()
    twin.succeeded(workspace, "True")
    twin.store.patch(WORKSPACE, "one", "default", {"metadata": {"finalizers": ["a.test/b"]}})
    twin.store.delete(WORKSPACE, "one", "default")
    assert twin.state()["workspaces"][0]["outcome"] == "deleting"


def test_machines_cost_until_they_are_released(twin: Twin) -> None:
    owner = twin.workspace()
    price = twin.catalogue.instance_type(V100).price("eastus")
    assert price is not None
    hourly = price.on_demand_usd_per_hour
    twin.machine(
        owner, name="old", ordered_at_s=NOW_S - 2 * HOUR_S, released_at_s=NOW_S - 1.5 * HOUR_S
    )
    twin.machine(owner, state=CloudState.RUNNING, node_at_s=NOW_S - 9, phase=GPU_DRIVER)
    state = twin.state()
    live, released = state["machines"]
    assert (live["name"], live["state"], live["phase"]) == ("m1", "Running", "GPU driver")
    assert (live["node"], live["usd"]) == (NODE, pytest.approx(hourly))
    assert (released["state"], released["node"], released["memory"]) == ("Released", "", None)
    assert released["usd"] == pytest.approx(hourly / 2)
    assert state["totals"]["machines"] == 1
    assert state["totals"]["usd"] == pytest.approx(1.5 * hourly)
    assert state["totals"]["usd_per_hour"] == pytest.approx(hourly)


def test_machine_is_ready_when_its_gpus_came(twin: Twin) -> None:
    life = twin.machine(twin.workspace(), ready_at_s=NOW_S, state=CloudState.RUNNING)
    assert twin.state()["machines"][0]["state"] == "Ready"
    life.state, life.phase = CloudState.DELETING, "machine release"
    assert twin.state()["machines"][0]["state"] == "Deleting"


@pytest.mark.parametrize("instance_type", [V100, A10])
def test_gpu_memory_is_the_fit_and_fills_the_card(twin: Twin, instance_type: str) -> None:
    owner = twin.workspace(instance_type=instance_type)
    twin.machine(owner, instance_type)
    sizing = size(parse_workspace(owner), twin.catalogue)
    memory = twin.state()["machines"][0]["memory"]
    parts = {part["kind"]: part["bytes"] for part in memory["parts"]}
    assert parts["weights"] == sizing.fit.memory.weights
    assert parts["kv_cache"] == sizing.fit.memory.kv_cache
    assert parts["free"] == sizing.fit.headroom_bytes
    assert sum(parts.values()) == memory["total_bytes"] == sizing.instance_type.gpu.usable_bytes
    assert memory["engine"] == sizing.fit.engine.name
    assert memory["cached_tokens"] == sizing.fit.kv_cache_tokens


def test_gpu_memory_is_planned_until_the_pod_is_ready(twin: Twin) -> None:
    twin.machine(twin.workspace(), node_at_s=NOW_S - 1, ready_at_s=NOW_S)
    assert not twin.state()["machines"][0]["memory"]["in_use"]
    twin.ready_pod(NODE, labels={labels.WORKSPACE: "one"})
    assert twin.state()["machines"][0]["memory"]["in_use"]


def test_gpu_memory_is_not_told_of_pods_of_others(twin: Twin) -> None:
    twin.machine(twin.workspace(), node_at_s=NOW_S - 1, ready_at_s=NOW_S)
    twin.ready_pod(NODE)
    assert not twin.state()["machines"][0]["memory"]["in_use"]


def test_gpu_memory_of_what_the_operator_refuses(twin: Twin) -> None:
    twin.refused.add("one")
    owner = twin.workspace()
    twin.machine(owner)
    twin.machine(twin.workspace("two"), A10, name="m2")  # not the type the fit is made for
    assert [one["memory"] for one in twin.state()["machines"]] == [None, None]


def test_newest_events_come_first(twin: Twin) -> None:
    times = {"first": NOW_S - 5, "second": NOW_S - 5, "newest": NOW_S - 1}
    for name, at_s in times.items():
        about = {"kind": "Workspace", "name": "one", "namespace": "default"}
        twin.event(
            name, reason=name, type="Warning", lastTimestamp=to_rfc3339(at_s), involvedObject=about
        )
    events = twin.state()["events"]
    assert [one["reason"] for one in events] == ["newest", "second", "first"]
    assert (events[0]["type"], events[0]["kind"], events[0]["name"]) == (
        "Warning",
        "Workspace",
        "one",
    )


def test_events_as_clients_write_them(twin: Twin) -> None:
    """Times that are none, texts that are no texts: the server's own time, and nothing."""
    twin.event("odd", lastTimestamp="yesterday", message=["a"], involvedObject={}, count=None)
    (shown,) = twin.state()["events"]
    assert (shown["at_s"], shown["message"], shown["name"], shown["count"]) == (NOW_S, "", "", 1)


def test_what_is_left_out_is_counted(twin: Twin) -> None:
    for number in range(EVENT_LIMIT + 2):
        twin.event(f"event-{number}")
    state = twin.state()
    assert len(state["events"]) == EVENT_LIMIT
    assert state["left_out"] == {"workspaces": 0, "machines": 0, "events": 2}
