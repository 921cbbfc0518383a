"""Chromium without a window, driven by ChromeDriver through the W3C WebDriver protocol."""

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

START_LIMIT_S: Final = 30
LIMIT_S: Final = 60
POLL_S: Final = 0.1
# One process tree that touches nothing but its own profile, and asks nobody on the network.
_ARGUMENTS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """One tab. Scripts are bodies of functions, whose result is returned."""

    def __init__(self, session: httpx.Client) -> None:
        self._session = session

    def open(self, url: str) -> None:
        """Go there, and wait until it is loaded."""
        self._post("url", {"url": url})

    def resize(self, width: int, height: int) -> None:
        """Size of the page in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)

    def emulate(self, **features: str) -> None:
        """Media features as the user's settings would have them, in place of earlier ones."""
        named = [{"name": name, "value": value} for name, value in features.items()]
        self.devtools("Emulation.setEmulatedMedia", {"features": named})

    def devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        """A command of the Chrome DevTools Protocol."""
        return self._post("goog/cdp/execute", {"cmd": command, "params": parameters})

    def run(self, script: str) -> Any:
        """What the script returns."""
        return self._post("execute/sync", {"script": script, "args": []})

    def text(self, selector: str) -> str:
        """What a reader sees of the first match; empty without one, and where it is hidden."""
        found = self.texts(selector)
        return found[0] if found else ""

    def texts(self, selector: str) -> list[str]:
        """What a reader sees of every match, in order."""
        query = f"document.querySelectorAll({json.dumps(selector)})"
        shown = "one.checkVisibility() ? one.innerText : ''"
        found = self.run(f"return [...{query}].map(one => {shown})")
        assert isinstance(found, list)
        return found

    def wait_for(self, what: str, condition: Callable[[], object]) -> None:
        """Ask until it is so."""
        until_s = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < until_s, f"{what} does not come:\n{self.text('body')}"
            time.sleep(POLL_S)

    def log(self) -> list[str]:
        """What the console was told since the last call: errors, warnings and refused loads."""
        entries = self._post("se/log", {"type": "browser"})
        return [f"{one['level']}: {one['message']}" for one in entries]

    def screenshot(self) -> bytes:
        """The window as PNG."""
        answer = self._session.get("screenshot")
        return base64.b64decode(_value(answer))

    def _post(self, command: str, body: dict[str, Any]) -> Any:
        return _value(self._session.post(command, json=body))


@contextmanager
def chromium(driver: str, program: str, directory: Path) -> Iterator[Browser]:
    """A fresh browser with its profile in `directory`; it is gone afterwards."""
    with (directory / "chromedriver.log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen([driver, "--port=0"], stdout=log, stderr=subprocess.STDOUT)
        try:
            port = _port(process, directory / "chromedriver.log")
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}/", timeout=LIMIT_S, trust_env=False
            ) as client:
                yield from _session(client, port, program, directory / "profile")
        finally:
            process.terminate()
            process.wait(timeout=START_LIMIT_S)


def _session(client: httpx.Client, port: int, program: str, profile: Path) -> Iterator[Browser]:
    options = {"binary": program, "args": [*_ARGUMENTS, f"--user-data-dir={profile}"]}
    wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    answer = client.post("session", json={"capabilities": {"alwaysMatch": wanted}})
    path = f"session/{_value(answer)['sessionId']}"
    base_url = f"http://127.0.0.1:{port}/{path}/"
    try:
        with httpx.Client(base_url=base_url, timeout=LIMIT_S, trust_env=False) as session:
            yield Browser(session)
    finally:
        client.delete(path)


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    """The port that ChromeDriver says it listens on."""
    until_s = time.monotonic() + START_LIMIT_S
    while True:
        text = log.read_text(encoding="utf-8")
        _, found, rest = text.partition("started successfully on port ")
        if found and "." in rest:
            return int(rest.partition(".")[0])
        assert process.poll() is None, text
        assert time.monotonic() < until_s, f"ChromeDriver does not start: {text}"
        time.sleep(POLL_S)


def _value(answer: httpx.Response) -> Any:
    found = answer.json()["value"]
    assert answer.is_success, found
    return found
