"""SIGKILL at any write: the next operator brings the same end, and never buys twice."""

import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from kaito.domain import labels
from tests.integration.conftest import missing_backend
from tests.integration.control_plane import find_binaries
from tests.integration.installation import (
    MISSING_WORKLOADS,
    OPERATOR,
    Installation,
    Running,
    eventually,
    succeeded,
    workspace,
)
from tests.integration.write_counter import WriteCounter

CRASHES = 20
AT_A_TIME = 5
SEED = 3
LIMIT_S = 400.0  # two cores run all of it
NAME = "phi-3"
_OF_THE_SERVER = frozenset({"clusterIP", "clusterIPs", "kaito.sh/template-hash"})
_OF_THE_CLOUD = frozenset({labels.ZONE})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    binaries = find_binaries()
    if binaries is None or not binaries.run_workloads:
        missing_backend(MISSING_WORKLOADS)
    installed = Installation.on(binaries, tmp_path_factory.mktemp("crashes"))
    try:
        installed.attach(speed=1000.0)
        yield installed
    finally:
        installed.close()


class Life:
    """One Workspace in a namespace of its own, with an operator of its own, from apply to gone.

    The operator is killed after its `crash_after`-th write, whose answer it does not get, and
    started again.
    """

    def __init__(self, cluster: Installation, namespace: str, crash_after: int | None) -> None:
        self._cluster, self._namespace, self._crash_after = cluster, namespace, crash_after
        self._operator: Running | None = None
        self.crashed = False
        self.writes = 0
        self.writes_until_ready = 0
        self.end: list[dict[str, Any]] = []

    def run(self) -> "Life":
        cluster, namespace = self._cluster, self._namespace
        cluster.kubectl("create", "namespace", namespace)
        authority = cluster.plane.pki / "ca.crt"
        with WriteCounter(cluster.plane.url, authority, self._after_write) as counter:
            access = cluster.service_account(OPERATOR, server=counter.url)

            def start() -> Running:
                return cluster.operator("--namespace", namespace, kubeconfig=access)

            def going(holds: Callable[[], bool]) -> Callable[[], bool]:
                def check() -> bool:
                    assert self._operator is not None
                    if self._operator.process.poll() is not None:
                        assert self.crashed, self._operator.printed()
                        self._operator = start()
                    return holds()

                return check

            self._operator = start()
            cluster.apply(workspace(NAME, namespace))
            eventually(going(self._is_ready), f"{namespace}: READY", LIMIT_S)
            self.writes_until_ready = counter.writes
            self.end = self._objects()
            cluster.kubectl("delete", "workspace", NAME, "-n", namespace, "--wait=false")
            eventually(going(self._is_gone), f"{namespace}: gone", LIMIT_S)
            self.writes = counter.writes
            if self._operator.process.poll() is None:
                self._operator.stop()
        return self

    def _after_write(self, number: int) -> bool:
        if number != self._crash_after:
            return False
        assert self._operator is not None
        self.crashed = True
        self._operator.kill()
        return True

    def _is_ready(self) -> bool:
        return all(map(succeeded, self._cluster.get("workspaces", "-n", self._namespace)))

    def _is_gone(self) -> bool:
        kinds = "workspaces,statefulsets,services,pods,configmaps"
        left = self._cluster.get(kinds, "-n", self._namespace)
        if any(each["metadata"]["name"] != "kube-root-ca.crt" for each in left):
            return False
        return self._cluster.get("nodeclaims", *self._selector()) == []

    def _objects(self) -> list[dict[str, Any]]:
        """What there is, without what differs from one life to the next."""
        found = self._cluster.get("workspaces,statefulsets,services", "-n", self._namespace)
        found += self._cluster.get("nodeclaims", *self._selector())
        uid = next(each["metadata"]["uid"] for each in found if each["kind"] == "Workspace")
        told = json.dumps([_shape(each) for each in found])
        same: list[dict[str, Any]] = json.loads(
            told.replace(uid, "<uid>").replace(self._namespace, "<namespace>")
        )
        return same

    def _selector(self) -> tuple[str, ...]:
        return ("-l", f"kaito.sh/workspacenamespace={self._namespace}")


def _shape(obj: dict[str, Any]) -> dict[str, Any]:
    """Kind, labels and spec; of the status, which conditions hold."""
    meta = obj["metadata"]
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return {
        "kind": obj["kind"],
        "labels": _kept(meta.get("labels") or {}),
        "finalizers": meta.get("finalizers"),
        "spec": _kept(obj.get("spec") or {}),
        "conditions": sorted((each["type"], each["status"]) for each in conditions),
    }


def _kept(value: Any) -> Any:
    """Without what the server and the cloud choose, and hashes of it."""
    if isinstance(value, dict):
        chosen = _OF_THE_SERVER | _OF_THE_CLOUD
        return {key: _kept(item) for key, item in value.items() if key not in chosen}
    if isinstance(value, list):
        return [_kept(item) for item in value]
    return value


def _differences(found: Any, expected: Any, at: str = "") -> list[str]:
    """Where two trees differ, a line each: readable where a diff of the whole is not."""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = sorted(found.keys() | expected.keys())
        pairs = [(f"{at}.{key}", found.get(key), expected.get(key)) for key in keys]
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = [(f"{at}[{i}]", *both) for i, both in enumerate(zip(found, expected, strict=True))]
    else:
        return [] if found == expected else [f"{at}: {found} is not {expected}"]
    return [line for where, one, other in pairs for line in _differences(one, other, where)]


def machines_ordered(cluster: Installation) -> dict[str, int]:
    """How many NodeClaims were ever created for each namespace."""
    ordered: dict[str, int] = {}
    for event in cluster.audit():
        about = event.get("objectRef") or {}
        made = event["verb"] == "create" and event.get("responseStatus", {}).get("code") == 201
        if about.get("resource") == "nodeclaims" and made:
            ordered[about["name"]] = ordered.get(about["name"], 0) + 1
    return ordered


def test_sigkill_after_any_write_changes_nothing_in_the_end(
    cluster: Installation, record_property: Callable[[str, object], None]
) -> None:
    undisturbed = Life(cluster, "undisturbed", None).run()
    assert undisturbed.writes > undisturbed.writes_until_ready > 5
    numbers = range(1, undisturbed.writes + 1)
    chosen = sorted(random.Random(SEED).sample(numbers, min(CRASHES, len(numbers))))
    chosen += random.Random(SEED).choices(numbers, k=CRASHES - len(chosen))
    lives = [Life(cluster, f"crash-{place}", after) for place, after in enumerate(chosen)]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        done = list(pool.map(Life.run, lives))
    for life in done:
        assert _differences(life.end, undisturbed.end) == []
    assert sum(life.crashed for life in done) >= CRASHES - 2, "conflicts may spare a write or two"
    ordered = machines_ordered(cluster)
    assert len(ordered) == len(done) + 1, "one machine for each Workspace"
    assert set(ordered.values()) == {1}, "and none of them twice"
    assert cluster.get("nodes") == []
    told = f"{undisturbed.writes} writes of the operator in a Workspace's life, killed after"
    record_property("measured", f"crash test: {told} {chosen}")


def test_the_api_server_may_crash_while_a_machine_is_made(cluster: Installation) -> None:
    cluster.kubectl("create", "namespace", "outage")
    operator = cluster.operator("--namespace", "outage")
    before = len(machines_ordered(cluster))
    cluster.apply(workspace(NAME, "outage"))
    eventually(lambda: len(machines_ordered(cluster)) > before, "a machine is recorded")
    cluster.plane.crash_api_server()
    eventually(
        lambda: all(map(succeeded, cluster.get("workspaces", "-n", "outage"))), "READY", LIMIT_S
    )
    assert len(machines_ordered(cluster)) == before + 1
    assert operator.process.poll() is None, operator.printed()
    cluster.kubectl("delete", "workspace", NAME, "-n", "outage", "--timeout=120s")
    eventually(lambda: cluster.get("nodes") == [], "the machine is given back")
    assert operator.stop() == 0
