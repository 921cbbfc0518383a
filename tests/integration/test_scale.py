"""300 Workspaces on a real API server: how long, how many requests, and how quiet afterwards."""

import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import missing_backend
from tests.integration.control_plane import find_binaries
from tests.integration.installation import (
    MISSING_WORKLOADS,
    NAMESPACE,
    OPERATOR,
    Installation,
    eventually,
    workspace,
)

WORKSPACES = 300
REQUESTS_LIMIT = 40.0  # of the operator for each Workspace, from apply to READY
IDLE_LIMIT = 1.0  # requests a second, of the operator
FIRST_CLAIM_LIMIT_S = 1.0  # from apply to the first NodeClaim, half of all Workspaces
IDLE_WINDOW_S = 130.0  # more than the time between two looks for orphans
LIMIT_S = 600.0

Event = Mapping[str, Any]
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    binaries = find_binaries()
    if binaries is None or not binaries.run_workloads:
        missing_backend(MISSING_WORKLOADS)
    installed = Installation.on(binaries, tmp_path_factory.mktemp("scale"))
    try:
        installed.webhook()
        installed.attach(speed=1000.0)
        yield installed
    finally:
        installed.close()


def moment_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def is_counted(event: Event) -> bool:
    """Watches and the Lease are a matter of time, not of work."""
    return event["verb"] != "watch" and event.get("objectRef", {}).get("resource") != "leases"


def seconds_to_claim(cluster: Installation) -> list[float]:
    """For each Workspace, from the request that made it to the answer that made its NodeClaim."""
    workspace_of = {
        claim["metadata"]["name"]: claim["metadata"]["labels"]["kaito.sh/workspace"]
        for claim in cluster.get("nodeclaims")
    }
    applied: dict[str, float] = {}
    claimed: dict[str, float] = {}
    for event in cluster.audit():
        about = event.get("objectRef") or {}
        if event["verb"] != "create" or event.get("responseStatus", {}).get("code") != 201:
            continue
        if about.get("resource") == "workspaces":
            applied[about["name"]] = moment_s(event["requestReceivedTimestamp"])
        elif about.get("resource") == "nodeclaims":
            claimed[workspace_of[about["name"]]] = moment_s(event["stageTimestamp"])
    return [claimed[name] - at_s for name, at_s in applied.items()]


def resident_mib(pid: int) -> float:
    told = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert told is not None
    return int(told[1]) / 1024


def test_three_hundred_workspaces(cluster: Installation, record_property: Record) -> None:
    operator = cluster.operator("--lease-namespace", NAMESPACE)
    eventually(lambda: operator.get("/readyz") == "leading", "the operator leads")
    at_start = len(cluster.requests_of(OPERATOR))
    began_s = time.monotonic()
    cluster.apply(*(workspace(f"phi-3-{number:03d}") for number in range(WORKSPACES)))
    applied_s = time.monotonic() - began_s

    succeeded = f'kaito_workspace_count{{phase="succeeded"}} {WORKSPACES:.1f}'

    def ready() -> bool:
        time.sleep(1.0)
        return succeeded in operator.get("/metrics")

    eventually(ready, f"{WORKSPACES} Workspaces are READY", LIMIT_S)
    ready_s = time.monotonic() - began_s
    requests = [event for event in cluster.requests_of(OPERATOR, at_start) if is_counted(event)]
    each = len(requests) / WORKSPACES
    waits = seconds_to_claim(cluster)
    assert len(waits) == WORKSPACES
    half_s = statistics.median(waits)
    failed = Counter(event["responseStatus"]["code"] for event in requests)
    record_property(
        "measured",
        f"scale: {WORKSPACES} Workspaces applied in {applied_s:.0f} s, READY after {ready_s:.0f} s;"
        f" {each:.1f} requests each ({dict(failed)}); apply -> NodeClaim p50 {half_s:.2f} s,"
        f" p95 {statistics.quantiles(waits, n=20)[-1]:.2f} s;"
        f" operator {resident_mib(operator.process.pid):.0f} MiB",
    )
    before = len([event for event in cluster.requests_of(OPERATOR) if is_counted(event)])
    time.sleep(IDLE_WINDOW_S)
    idle = len([event for event in cluster.requests_of(OPERATOR) if is_counted(event)]) - before
    record_property(
        "measured", f"scale: {idle / IDLE_WINDOW_S:.2f} requests/s idle at {WORKSPACES} Workspaces"
    )
    assert each <= REQUESTS_LIMIT
    assert half_s <= FIRST_CLAIM_LIMIT_S
    assert idle / IDLE_WINDOW_S <= IDLE_LIMIT
    assert len(cluster.get("nodes")) == WORKSPACES
