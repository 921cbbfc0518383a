"""The live page of `sim serve`, in a real browser, while a real kubectl changes what it shows."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from tests.e2e.browser import Browser, chromium

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = ROOT / "examples" / "inference" / "kaito_workspace_phi_3.yaml"
PICTURE = ROOT / "docs" / "images" / "live-page.png"
UPDATE = os.environ.get("KAITO_UPDATE_TRANSCRIPTS") == "1"
SPEED = 60 if UPDATE else 600  # the picture shows the speed that `sim serve` has by itself
LIMIT_S = 60
WIDTH, HEIGHT, PHONE_WIDTH = 1280, 1860, 390

INJECTION = """<b id="injected">bold</b><img src="x" onerror="document.title='owned'">"""
EVENT = f"""\
apiVersion: v1
kind: Event
metadata: {{name: injected, namespace: default}}
involvedObject: {{kind: Workspace, name: workspace-phi-3-mini, namespace: default}}
type: Warning
reason: '{INJECTION.replace("'", "''")}'
message: '{INJECTION.replace("'", "''")}'
"""


@dataclass(frozen=True, slots=True)
class Twin:
    """A running `sim serve`: its page, and a kubectl that talks to it."""

    process: "subprocess.Popen[str]"
    page_url: str
    kubectl_program: str
    kubeconfig: Path

    def kubectl(self, line: str, stdin: str = "") -> str:
        """What a line that must succeed prints."""
        done = subprocess.run(
            [self.kubectl_program, *shlex.split(line)],
            env={"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.kubeconfig.parent)},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=LIMIT_S)
        assert (self.process.returncode, err) == (0, ""), out


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    kubectl = Path(sys.executable).parent / "kubectl"
    if not kubectl.exists():
        _missing("kubectl is not in .venv: make venv")
    kubeconfig = tmp_path / "kubeconfig"
    command = [sys.executable, "-m", "sim", "serve", "--speed", str(SPEED)]
    process = subprocess.Popen(
        [*command, "--kubeconfig", str(kubeconfig)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Twin(process, _page_url(process), str(kubectl), kubeconfig)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate(timeout=LIMIT_S)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        _missing("chromium and chromedriver are not on PATH: apt install chromium chromium-driver")
    with chromium(driver, program, tmp_path) as found:
        found.resize(WIDTH, HEIGHT)
        yield found


def _page_url(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.fullmatch(r"Page: (http://127\.0\.0\.1:\d+/)\n", line):
            return found[1]
    pytest.fail(f"sim serve names no page: {process.communicate()[1]}")


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI skips nothing: {what}", pytrace=False)
    pytest.skip(what)


def test_page_follows_a_workspace(twin: Twin, browser: Browser) -> None:
    browser.open(twin.page_url)
    browser.wait_for("the page", lambda: browser.text("#status") == "Live")
    assert f"export KUBECONFIG={twin.kubeconfig}" in browser.text("#start")
    assert browser.text("#total-ready") == "0 of 0"

    twin.kubectl(f"apply -f {MANIFEST}")
    browser.wait_for("the Workspace", lambda: browser.text(".workspace h3"))
    assert browser.text("#start") == ""
    browser.wait_for("READY", lambda: "✓ READY after" in browser.text(".workspace .badge"))
    _shows_what_there_is(browser)
    _counts_what_it_costs(browser)
    _shows_text_as_text(twin, browser)
    _fits_a_phone(browser)
    _has_a_dark_side(browser)
    _is_a_picture(twin, browser)

    twin.kubectl("delete workspaces --all --timeout=60s")
    browser.wait_for("the end", lambda: browser.text("#total-ready") == "0 of 0")
    browser.wait_for("the release", lambda: "Released" in browser.text("#machine-list .badge"))
    assert browser.log() == []

    twin.stop()
    browser.wait_for("the news", lambda: "does not answer" in browser.text("#status"))


def _shows_what_there_is(browser: Browser) -> None:
    assert browser.text(".workspace h3") == "workspace-phi-3-mini"
    for fact in ("default", "phi-3-mini-4k-instruct", "Standard_NC6s_v3"):
        assert fact in browser.texts(".workspace dd")
    conditions = browser.texts(".workspace .conditions li")
    assert any(re.match(r"✓\s*InferenceReady\s*: True", one) for one in conditions), conditions
    phases = browser.texts(".timeline tbody th")
    assert phases[:3] == ["machine order", "node provision", "GPU driver"]
    assert "weights load" in phases
    assert browser.texts("#machine-list .badge") == ["Ready"]
    machine = browser.text("#machine-list tr")
    assert "aks-ws" in machine
    assert "$3.06/h" in machine
    label = browser.run("return document.querySelector('.bar').getAttribute('aria-label')")
    assert re.search(r"Weights [\d.]+ GiB, KV cache [\d.]+ GiB, Other", label), label
    assert browser.text(".memory .badge") == "✓ in use"
    weights_share = browser.run(
        "const [bar, part] = ['.bar', '.bar [data-kind=weights]']"
        ".map(one => document.querySelector(one).getBoundingClientRect().width);"
        "return part / bar"
    )
    assert 0.4 < weights_share < 0.5  # 7.1 of 15.8 GiB
    reasons = browser.texts("#event-list .reason")
    assert reasons.index("WorkspaceSucceeded") < reasons.index("FitDecided")  # newest first
    assert "⚠ Warning" in browser.texts("#event-list .badge")  # the old GPU


def _counts_what_it_costs(browser: Browser) -> None:
    before = browser.text("#total-cost")
    assert re.fullmatch(r"\$0\.\d{4}", before)
    assert browser.text("#total-rate") == "$3.06/h"
    browser.wait_for("a dearer machine", lambda: browser.text("#total-cost") > before)


def _shows_text_as_text(twin: Twin, browser: Browser) -> None:
    twin.kubectl(f"annotate workspace workspace-phi-3-mini {shlex.quote(f'note={INJECTION}')}")
    twin.kubectl("create -f -", stdin=EVENT)
    browser.wait_for("the event", lambda: INJECTION in browser.texts("#event-list .reason"))
    assert any(INJECTION in one for one in browser.texts("#event-list .message"))
    foreign = "#injected, b, main img, script:not([src='page.js'])"
    assert browser.run(f'return document.querySelectorAll("{foreign}").length') == 0
    assert browser.run("return document.title") == "kaito twin"
    twin.kubectl("delete event injected")
    browser.wait_for("its end", lambda: INJECTION not in browser.texts("#event-list .reason"))


def _fits_a_phone(browser: Browser) -> None:
    browser.resize(PHONE_WIDTH, 844)
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE_WIDTH
    # A row is a card there, and stays a row to those who hear it.
    assert browser.run("return getComputedStyle(document.querySelector('tbody tr')).display")
    browser.resize(WIDTH, HEIGHT)


def _has_a_dark_side(browser: Browser) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    seen = []
    for scheme in ("dark", "light"):
        browser.emulate(**{"prefers-color-scheme": scheme})
        seen.append(browser.run(ground))
    assert seen == ["rgb(18, 22, 28)", "rgb(244, 246, 249)"]


def _is_a_picture(twin: Twin, browser: Browser) -> None:
    """One Workspace that serves and one that is on its way."""
    second = MANIFEST.read_text(encoding="utf-8")
    second = second.replace("workspace-phi-3-mini", "workspace-phi-3-a10")
    second = second.replace("Standard_NC6s_v3", "Standard_NV36ads_A10_v5")
    twin.kubectl("apply -f -", stdin=second)
    browser.wait_for("the second Workspace", lambda: len(browser.texts(".workspace h3")) == 2)
    assert browser.text(".workspace h3") == "workspace-phi-3-a10"
    pulling = ".workspace:first-child .timeline tbody tr:nth-child(4)"
    browser.wait_for("its machine", lambda: browser.text(pulling))
    picture = browser.screenshot()
    assert picture.startswith(b"\x89PNG")
    if UPDATE:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_bytes(picture)
