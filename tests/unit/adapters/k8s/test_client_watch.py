import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from kubernetes.client import Configuration

from kaito.adapters.k8s.client import ClientSettings, KubernetesClientApi
from kaito.adapters.k8s.client_http import Timeouts
from kaito.adapters.k8s.client_retry import RetryPolicy
from kaito.adapters.k8s.client_watch import ClientWatch, WatchSettings
from kaito.adapters.kube_api import CONFIG_MAP, EventType, Gone, WatchEvent, name_of
from kaito.system_clock import monotonic_s
from tests.unit.adapters.k8s.scripted_server import (
    Reply,
    ScriptedServer,
    config_map,
    dropped,
    failure,
    silent_until,
    status,
    stream,
)

PATIENCE_S = 5.0
QUICK = ClientSettings(
    timeouts=Timeouts(connect_s=1, read_s=1),
    watch=WatchSettings(
        stream_s=60,
        backlog=5,
        refused_pause_s=0.1,
        retry=RetryPolicy(
            attempts=None,
            first_s=0.001,
            longest_s=0.002,
            budget_s=float("inf"),
            longest_retry_after_s=float("inf"),
        ),
    ),
)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def api(server: ScriptedServer) -> Iterator[KubernetesClientApi]:
    found = Configuration(host=server.url)
    found.proxy = None
    api = KubernetesClientApi(found, QUICK, uniform=lambda: 0.0)
    yield api
    api.close()


class Watching:
    """A watch, and what came of it."""

    def __init__(self, api: KubernetesClientApi, resource_version: str = "1") -> None:
        self.woken = threading.Event()
        self.watch: ClientWatch = api.watch(
            CONFIG_MAP, "default", resource_version=resource_version, wake=self.woken.set
        )

    def events(self, count: int) -> Sequence[WatchEvent]:
        """Polls when woken, as a consumer does."""
        found: list[WatchEvent] = []
        while len(found) < count:
            assert self.woken.wait(PATIENCE_S), f"only {found}"
            self.woken.clear()
            found += self.watch.poll()
        return found

    def names(self, count: int) -> list[str]:
        return [name_of(event.object) for event in self.events(count)]


def event(kind: str, name: str, version: int) -> dict[str, Any]:
    return {"type": kind, "object": config_map(name, version)}


def bookmark(version: int) -> dict[str, Any]:
    return {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}


def eventually(holds: Callable[[], bool]) -> bool:
    until_s = monotonic_s() + PATIENCE_S
    while not holds() and monotonic_s() < until_s:
        threading.Event().wait(0.005)
    return holds()


def test_a_watch_goes_on_where_a_stream_ended(
    server: ScriptedServer, api: KubernetesClientApi
) -> None:
    server.then(
        stream(event("ADDED", "a", 5), event("MODIFIED", "a", 6)),
        stream(event("DELETED", "a", 9), until=server.over),
    )
    watching = Watching(api, "4")
    assert [each.type for each in watching.events(3)] == [
        EventType.ADDED,
        EventType.MODIFIED,
        EventType.DELETED,
    ]
    first, second = (request.query for request in server.requests)
    assert first == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "60",
        "resourceVersion": "4",
    }
    assert second["resourceVersion"] == "6"


def test_bookmarks_move_a_quiet_watch_on(server: ScriptedServer, api: KubernetesClientApi) -> None:
    server.then(stream(bookmark(50)), stream(event("ADDED", "a", 60), until=server.over))
    assert Watching(api).names(1) == ["a"]
    assert server.requests[1].query["resourceVersion"] == "50"


LINE = b'{"type": "ADDED", "object": {"metadata": {"name": "b", "resourceVersion": "7"}}}\n'


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(stream(event("ADDED", "a", 5), cut=True), id="the connection is dropped"),
        pytest.param(stream(event("ADDED", "a", 5), LINE[:30], cut=True), id="within a line"),
        pytest.param(stream(event("ADDED", "a", 5), LINE[:30]), id="a line without an end"),
        pytest.param(stream(event("ADDED", "a", 5), b"nonsense\n"), id="not JSON"),
        pytest.param(
            stream(event("ADDED", "a", 5), {"type": "ERROR", "object": status(500)}),
            id="an error that may pass",
        ),
    ],
)
def test_what_breaks_in_a_stream(
    server: ScriptedServer, api: KubernetesClientApi, trouble: Reply
) -> None:
    server.then(trouble, dropped, failure(503), failure(429, Retry_After="0"))
    server.then(stream(LINE[:40], LINE[40:], until=server.over))
    assert Watching(api).names(2) == ["a", "b"]
    assert [request.query["resourceVersion"] for request in server.requests] == ["1"] + ["5"] * 4


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(failure(410, "Expired", "too old"), id="at the start"),
        pytest.param(
            stream(
                event("ADDED", "a", 5),
                {"type": "ERROR", "object": status(410, "Expired", "too old")},
            ),
            id="in the stream",
        ),
    ],
)
def test_a_version_that_is_too_old(
    server: ScriptedServer, api: KubernetesClientApi, end: Reply
) -> None:
    server.then(end)
    watching = Watching(api)
    assert eventually(watching.watch.has_ended)
    assert watching.woken.is_set()
    for _ in range(2):
        with pytest.raises(Gone, match="too old"):
            watching.watch.poll()
    watching.watch.close()
    assert watching.watch.poll() == ()


def test_a_refusal_is_left_to_the_list_to_tell(
    server: ScriptedServer, api: KubernetesClientApi
) -> None:
    """But not at once: list and watch would chase each other for as long as it lasts."""
    server.then(failure(403, "Forbidden", "not for you"))
    watching = Watching(api)
    assert not watching.woken.wait(0.05)
    assert watching.watch.poll() == []
    assert watching.woken.wait(PATIENCE_S)
    with pytest.raises(Gone, match="not for you"):
        watching.watch.poll()
    assert len(server.requests) == 1


def test_who_never_polls_has_to_list_again(
    server: ScriptedServer, api: KubernetesClientApi
) -> None:
    many = [event("ADDED", f"a{number}", number) for number in range(2, 9)]
    server.then(stream(*many, until=server.over))
    watching = Watching(api)
    assert eventually(watching.watch.has_ended)
    with pytest.raises(Gone, match="more than 5 events"):
        watching.watch.poll()


@pytest.mark.parametrize("moment", ["streaming", "waiting for the answer"])
def test_a_closed_watch_ends_at_once(
    server: ScriptedServer, api: KubernetesClientApi, moment: str
) -> None:
    streaming = moment == "streaming"
    server.then(
        stream(event("ADDED", "a", 2), until=server.over)
        if streaming
        else silent_until(server.over)
    )
    watching = Watching(api)
    if streaming:
        assert watching.names(1) == ["a"]
    else:
        assert eventually(lambda: bool(server.requests))
    began_s = monotonic_s()
    watching.watch.close()
    watching.watch.close()
    assert monotonic_s() - began_s < 0.5
    assert watching.watch.poll() == ()
    if streaming:
        assert eventually(watching.watch.has_ended)
    server.over.set()
    assert eventually(watching.watch.has_ended)
    assert not watching.woken.is_set()


def test_closing_the_client_ends_its_watches(
    server: ScriptedServer, api: KubernetesClientApi
) -> None:
    server.then(*[stream(event("ADDED", "a", 2), until=server.over) for _ in range(3)])
    several = [Watching(api) for _ in range(3)]
    for each in several:
        assert each.names(1) == ["a"]
    api.close()
    assert all(each.watch.has_ended() for each in several)
