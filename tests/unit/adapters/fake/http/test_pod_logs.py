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
