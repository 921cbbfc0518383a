"""Cells as kubectl shows them."""

from typing import Any

import pytest

from kaito.adapters.fake.http.ages import human_duration
from kaito.adapters.fake.http.columns import BUILT_IN_COLUMNS, at_path
from kaito.adapters.fake.http.pod_columns import pod_restarts, pod_status

NOW_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (119, "119s"),
        (120, "2m"),
        (187, "3m7s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 61, "3h1m"),
        (9 * 3600 + 61, "9h"),
        (2 * 86400 + 3600, "2d1h"),
        (9 * 86400, "9d"),
        (800 * 86400, "2y70d"),
        (4000 * 86400, "10y"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (".a.b", 1),
        (".a.x", None),
        ('.list[?(@.type=="t")].status', "True"),
        ('.list[?(@.type=="u")].status', None),
        (".list[0].type", "t"),
        (".list[5].type", None),
        (r".labels.a\.b/c", "dotted"),
    ],
)
def test_paths_of_printer_columns(path: str, wanted: Any) -> None:
    listed = [{"type": "t", "status": "True"}]
    obj = {"a": {"b": 1}, "list": listed, "labels": {"a.b/c": "dotted"}}
    assert at_path(obj, path) == wanted


def _pod(*containers: Any, init: Any = (), **more: Any) -> dict[str, Any]:
    spec = {"containers": [{} for _ in containers], "initContainers": [{} for _ in init]}
    status = {"containerStatuses": list(containers), "initContainerStatuses": list(init)}
    meta = more.pop("metadata", {})
    return {"metadata": meta, "spec": spec, "status": {"phase": "Pending", **status, **more}}


RUNNING = {"state": {"running": {}}, "ready": True, "restartCount": 0}
DONE = {"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}


@pytest.mark.parametrize(
    ("pod", "wanted"),
    [
        (_pod(), "Pending"),
        (_pod(RUNNING, phase="Running"), "Running"),
        (_pod({"state": {"waiting": {"reason": "ContainerCreating"}}}), "ContainerCreating"),
        (_pod({"state": {"terminated": {"exitCode": 137}}}), "ExitCode:137"),
        (_pod({"state": {"terminated": {"signal": 9}}}), "Signal:9"),
        (_pod(DONE, phase="Succeeded"), "Completed"),
        (_pod(init=[{"state": {"waiting": {"reason": "PodInitializing"}}}]), "Init:0/1"),
        (_pod(init=[{"state": {"waiting": {"reason": "ErrImagePull"}}}]), "Init:ErrImagePull"),
        (_pod(init=[{"state": {"terminated": {"exitCode": 1}}}]), "Init:ExitCode:1"),
        (_pod(RUNNING, init=[DONE], phase="Running"), "Running"),
        (_pod(RUNNING, phase="Running", metadata={"deletionTimestamp": "x"}), "Terminating"),
        (_pod(reason="Evicted", phase="Failed"), "Evicted"),
    ],
)
def test_status_of_a_pod(pod: Any, wanted: str) -> None:
    assert pod_status(pod, NOW_S) == wanted


def test_restarts_of_a_pod() -> None:
    ended = {"terminated": {"finishedAt": "2025-12-31T23:59:00Z"}}
    assert pod_restarts(_pod({**RUNNING, "restartCount": 2, "lastState": ended}), NOW_S) == (
        "2 (60s ago)"
    )
    assert pod_restarts(_pod(RUNNING), NOW_S) == "0"


@pytest.mark.parametrize(
    ("plural", "obj", "wanted"),
    [
        (
            "services",
            {
                "metadata": {"name": "s"},
                "spec": {
                    "type": "LoadBalancer",
                    "clusterIP": "10.0.0.1",
                    "ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}, {"port": 81}],
                    "selector": {"b": "1", "a": "2"},
                },
            },
            ["s", "LoadBalancer", "10.0.0.1", "<pending>", "80:30000/TCP,81/TCP", "a=2,b=1"],
        ),
        (
            "jobs",
            {
                "metadata": {"name": "j"},
                "spec": {"completions": 1, "template": {"spec": {"containers": [{"name": "c"}]}}},
                "status": {
                    "succeeded": 1,
                    "startTime": "2025-12-31T23:00:00Z",
                    "completionTime": "2025-12-31T23:01:00Z",
                    "conditions": [{"type": "Complete", "status": "True"}],
                },
            },
            ["j", "Complete", "1/1", "60s", "c", "", "<none>"],
        ),
        (
            "nodes",
            {
                "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/gpu": ""}},
                "spec": {"unschedulable": True},
                "status": {"conditions": [{"type": "Ready", "status": "False"}]},
            },
            [
                "n",
                "NotReady,SchedulingDisabled",
                "gpu",
                "",
                "<none>",
                "<none>",
                *["<unknown>"] * 3,
            ],
        ),
    ],
)
def test_rows(plural: str, obj: Any, wanted: list[Any]) -> None:
    columns = [one for one in BUILT_IN_COLUMNS[plural] if one.name != "Age"]
    assert [one.value(obj, NOW_S) for one in columns] == wanted


def test_disruption_budgets() -> None:
    def cells(**content: Any) -> list[Any]:
        obj = {"metadata": {"name": "one", "creationTimestamp": "2026-01-01T00:00:00Z"}, **content}
        return [column.value(obj, NOW_S) for column in BUILT_IN_COLUMNS["poddisruptionbudgets"]]

    status = {"disruptionsAllowed": 2}
    assert cells(spec={"minAvailable": 0}, status=status) == ["one", "0", "N/A", 2, "0s"]
    assert cells(spec={"maxUnavailable": "50%"}) == ["one", "N/A", "50%", 0, "0s"]


def test_endpoint_slices() -> None:
    def cells(**content: Any) -> list[Any]:
        obj = {"metadata": {"name": "one", "creationTimestamp": "2026-01-01T00:00:00Z"}, **content}
        return [column.value(obj, NOW_S) for column in BUILT_IN_COLUMNS["endpointslices"]]

    four = [{"addresses": [f"10.0.0.{number}"]} for number in range(1, 5)]
    shown = cells(addressType="IPv4", ports=[{"port": 80}], endpoints=four)
    assert shown == ["one", "IPv4", "80", "10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...", "0s"]
    assert cells(addressType="IPv4")[2:4] == ["<unset>", "<unset>"]


@pytest.mark.parametrize(
    ("kind", "obj", "cells"),
    [
        (
            "persistentvolumeclaims",
            {
                "metadata": {"name": "phi-0-weights"},
                "spec": {"storageClassName": "local", "volumeName": "pvc-1"},
                "status": {
                    "phase": "Bound",
                    "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
                    "capacity": {"storage": "31Gi"},
                },
            },
            {
                "Status": "Bound",
                "Volume": "pvc-1",
                "Capacity": "31Gi",
                "Access Modes": "RWO,ROX",
                "StorageClass": "local",
            },
        ),
        (
            "persistentvolumeclaims",
            {
                "metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {},
                "status": {"phase": "Pending"},
            },
            {"Status": "Terminating", "Volume": "", "Capacity": "", "Access Modes": ""},
        ),
        (
            "persistentvolumes",
            {
                "metadata": {"name": "pvc-1"},
                "spec": {
                    "claimRef": {"namespace": "default", "name": "phi-0-weights"},
                    "persistentVolumeReclaimPolicy": "Delete",
                },
                "status": {"phase": "Bound"},
            },
            {"Claim": "default/phi-0-weights", "Reclaim Policy": "Delete", "Status": "Bound"},
        ),
        (
            "persistentvolumes",
            {"metadata": {"name": "free"}, "spec": {}, "status": {"phase": "Available"}},
            {"Claim": ""},
        ),
        (
            "storageclasses",
            {
                "metadata": {
                    "name": "local",
                    "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
                },
                "provisioner": "localdisk.csi.acstor.io",
                "volumeBindingMode": "WaitForFirstConsumer",
            },
            {
                "Name": "local (default)",
                "Provisioner": "localdisk.csi.acstor.io",
                "ReclaimPolicy": "Delete",
                "VolumeBindingMode": "WaitForFirstConsumer",
                "AllowVolumeExpansion": "false",
            },
        ),
        (
            "storageclasses",
            {"metadata": {"name": "local"}, "allowVolumeExpansion": True},
            {"Name": "local", "AllowVolumeExpansion": "true"},
        ),
    ],
)
def test_claims_volumes_and_classes(kind: str, obj: dict[str, Any], cells: dict[str, str]) -> None:
    shown = {
        column.name: column.value(obj, NOW_S)
        for column in BUILT_IN_COLUMNS[kind]
        if column.name in cells
    }
    assert shown == cells
