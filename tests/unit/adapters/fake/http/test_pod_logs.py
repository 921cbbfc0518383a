"""`kubectl logs` on the twin."""

from typing import Any

from kaito.adapters.fake.http.pod_logs import Span
from tests.unit.adapters.fake.http.conftest import PODS, START_S, Client, pod

LOG = f"{PODS}/one/log"


def _run(client: Client, **status: Any) -> None:
    client.json("POST", PODS, pod(node="n"))
    one = {"name": "main", "image": "i", "imageID": "i", "restartCount": 0, "ready": False}
    body = {"status": {"containerStatuses": [{**one, **status}]}}
    client.json("PATCH", f"{PODS}/one/status", body, content_type="application/merge-patch+json")


def test_nothing_to_read_before_the_start(client: Client) -> None:
    _run(client, state={"waiting": {"reason": "ContainerCreating"}})
    found = client.refused(400, "GET", LOG)
    assert (
        found["message"] == 'container "main" in pod "one" is waiting to start: ContainerCreating'
    )


def test_phases_are_told(client: Client) -> None:
    running = {"running": {"startedAt": "2027-01-15T08:00:00Z"}}
    _run(client, state=running, ready=True)
    client.spans = [
        Span("image pull", START_S, START_S + 1, "not the container's own"),
        Span("weights load", START_S + 1, START_S + 3.5, "7.1 GiB"),
        Span("engine init", START_S + 4, None, ""),
        Span("weights load", START_S - 100, START_S - 90, "an earlier pod of that name"),
    ]
    assert client.call("GET", LOG).text.splitlines() == [
        "INFO weights load begins: 7.1 GiB",
        "INFO weights load is done after 2.5 s",
        "INFO engine init begins",
        "INFO the server is ready on port 5000",
    ]
    stamped = client.call("GET", f"{LOG}?timestamps=true&tailLines=2").text.splitlines()
    assert stamped[0] == "2027-01-15T08:00:04.000000000Z INFO engine init begins"
    client.now_s += 4
    assert len(client.call("GET", f"{LOG}?sinceSeconds=1").text.splitlines()) == 3


def test_follow_ends_with_the_container(client: Client) -> None:
    ended = {"exitCode": 1, "reason": "Error", "finishedAt": "2027-01-15T08:00:09Z"}
    _run(client, state={"terminated": ended})
    assert client.call("GET", f"{LOG}?follow=true").text == "INFO exit code 1 Error\n"


def test_which_container(client: Client) -> None:
    _run(client, state={"running": {}})
    assert (
        "container nope is not valid"
        in client.refused(400, "GET", f"{LOG}?container=nope")["message"]
    )
    assert "previous terminated" in client.refused(400, "GET", f"{LOG}?previous=true")["message"]
    client.refused(404, "GET", f"{PODS}/nope/log")


def test_each_container_tells_its_own_part(client: Client) -> None:
    body = pod(node="n")
    sidecar = {"name": "pusher", "image": "i"}
    body["spec"]["containers"].append(sidecar)
    body["spec"]["initContainers"] = [
        {"name": "data-downloader", "image": "i"},
        {"name": "puller-one", "image": "i"},
    ]
    client.json("POST", PODS, body)
    one = {"image": "i", "imageID": "i", "restartCount": 0, "ready": False}
    ended = {"exitCode": 0, "reason": "Completed", "finishedAt": "2027-01-15T08:00:04Z"}
    names = ("main", "pusher", "data-downloader", "puller-one")
    statuses = [{**one, "name": name, "state": {"terminated": ended}} for name in names]
    patch = {"status": {"containerStatuses": statuses[:2], "initContainerStatuses": statuses[2:]}}
    client.json("PATCH", f"{PODS}/one/status", patch, content_type="application/merge-patch+json")
    client.spans = [
        Span("data download", START_S, START_S + 1, "downloader"),
        Span("adapter pull", START_S, START_S + 1, "one"),
        Span("weights download", START_S + 1, START_S + 2, ""),
        Span("training", START_S + 2, START_S + 4.5, ""),
        Span("results push", START_S + 4, START_S + 5, ""),
    ]
    told = {
        name: [
            line.removeprefix("INFO ")
            for line in client.call("GET", f"{LOG}?container={name}").text.splitlines()
        ]
        for name in names
    }
    assert told["main"] == [
        "weights download begins",
        "weights download is done after 1.0 s",
        "training begins",
        "training is done after 2.5 s",
        "exit code 0 Completed",
    ]
    assert [lines[0] for lines in told.values()][1:] == [
        "results push begins",
        "data download begins: downloader",
        "adapter pull begins: one",
    ]
    assert {len(told[name]) for name in names[1:]} == {3}
