"""The page's handler, called without a socket, and what its files promise."""

import asyncio
import re
from importlib import resources
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.types import ASGIApp

from kaito.adapters.fake.http import page
from kaito.adapters.fake.http.page import page_app, pointing_to_page
from kaito.adapters.fake.http.page_state import PageSources
from kaito.adapters.fake.http.server import Server
from kaito.adapters.fake.store import ObjectStore
from kaito.domain.errors import InvalidInput


class World:
    """A state that the test changes."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {"now_s": 1.0, "events": []}

    def get(self, path: str, **headers: str) -> httpx.Response:
        return _call(page_app(lambda: self.state), "GET", path, headers)


def _call(app: ASGIApp, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        base = "http://127.0.0.1:8080"
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(send())


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/page.svg", "image/svg+xml"),
        ("/-/state", "application/json"),
    ],
)
def test_everything_comes_with_a_strict_policy(world: World, path: str, media_type: str) -> None:
    response = world.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == media_type
    assert response.headers["x-content-type-options"] == "nosniff"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "access-control-allow-origin" not in response.headers


def test_only_what_is_there_and_only_reading(world: World) -> None:
    assert world.get("/page.py").status_code == 404
    assert world.get("/api/v1/secrets").status_code == 404
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        app = page_app(lambda: world.state)
        assert _call(app, method, "/-/state", {}).status_code == 405, method


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "localhost"])
def test_asked_for_by_its_name(world: World, host: str) -> None:
    assert world.get("/-/state", host=host).status_code == 200


@pytest.mark.parametrize("host", ["evil.test", "evil.test:8080", "127.0.0.1.evil.test", ""])
@pytest.mark.parametrize("path", ["/", "/-/state"])
def test_name_that_was_pointed_here_is_refused(world: World, host: str, path: str) -> None:
    response = world.get(path, host=host)
    assert response.status_code == 400
    assert "events" not in response.text


def test_state_is_sent_again_only_when_something_happened(world: World) -> None:
    first = world.get("/-/state")
    assert first.json() == world.state
    known = {"if-none-match": first.headers["etag"]}
    world.state["now_s"] = 2.0
    again = world.get("/-/state", **known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    world.state["events"] = ["one"]
    changed = world.get("/-/state", **known)
    assert changed.json() == {"now_s": 2.0, "events": ["one"]}


def test_api_tells_a_browser_where_the_page_is() -> None:
    app = pointing_to_page(Starlette(), "http://127.0.0.1:8080/")
    browser = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
    assert "http://127.0.0.1:8080/" in _call(app, "GET", "/", browser).text
    for path, accept in (("/", "application/json"), ("/", "*/*"), ("/api", browser["accept"])):
        assert _call(app, "GET", path, {"accept": accept}).status_code == 404, (path, accept)


def test_port_that_is_taken() -> None:
    taken = Server(None, host="127.0.0.1", port=0)
    sources = PageSources(
        api=ObjectStore(now_s=lambda: 0.0, new_uid=lambda: "uid"),
        now_s=lambda: 0.0,
        lives=list,
        region="eastus",
        story_of=lambda _one: pytest.fail("nothing is read before it is asked for"),
        sizing_of=lambda _one: None,
        speed=1.0,
        commands=(),
    )
    with pytest.raises(InvalidInput, match="--page-port"):
        page.Page(sources, port=taken.port, catch_up=lambda: None)
    taken.close()


def test_files_work_offline_and_insert_text_as_text() -> None:
    """What the policy forbids is not even tried; text never becomes markup."""
    files = {
        name: resources.files("kaito.adapters.fake.http").joinpath(name).read_text("utf-8")
        for name in ("page.html", "page.css", "page.js")
    }
    for name, text in files.items():
        assert not re.search(r"(?:https?:)?//[\w.-]+\.\w|@import|url\(", text), name
    assert not re.search(r"\son\w+=|\sstyle=|<script>|<style>", files["page.html"])
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function"
    assert not re.search(markup, files["page.js"])


def test_every_slot_that_the_script_fills_is_in_the_page() -> None:
    directory = resources.files("kaito.adapters.fake.http")
    html = directory.joinpath("page.html").read_text("utf-8")
    script = directory.joinpath("page.js").read_text("utf-8")
    slots = set(re.findall(r'slot\(\w+, "([\w-]+)"\)', script))
    ids = set(re.findall(r'byId\("([\w-]+)"\)', script)) | {"condition-template", "part-template"}
    assert slots
    assert slots - set(re.findall(r'data-slot="([\w-]+)"', html)) == set()
    assert ids - set(re.findall(r'\bid="([\w-]+)"', html)) == set()
