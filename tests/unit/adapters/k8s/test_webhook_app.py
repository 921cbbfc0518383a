"""The webhook over HTTP: what it answers, counts and logs."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import httpx
import pytest

from kaito.adapters.k8s import webhook_app as app_module
from kaito.adapters.k8s.admission import Verdict, WorkspaceAdmission
from kaito.adapters.k8s.webhook_app import BODY_LIMIT_BYTES, Judge, Reviewer, webhook_app
from kaito.adapters.k8s.webhook_metrics import WebhookMetrics
from kaito.adapters.kube_api import KubeObject
from tests.unit.adapters.k8s.reviews import asked
from tests.unit.domain.builders import CATALOGUE, manifest

BY_THE_RULES: Judge = WorkspaceAdmission(CATALOGUE).judge


class Webhook:
    """The application, asked in process. Each look at the clock takes a tenth of a second."""

    def __init__(self, judge: Judge = BY_THE_RULES) -> None:
        self.metrics = WebhookMetrics()
        self.ready = True
        seconds = iter(range(1000))
        reviewer = Reviewer(judge, self.metrics, lambda: next(seconds) / 10)
        self.app = webhook_app(reviewer, self.metrics, lambda: self.ready)

    def ask(self, method: str, path: str, content: Any = None) -> httpx.Response:
        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="https://t") as client:
                return await client.request(method, path, content=content)

        return asyncio.run(go())

    def review(self, document: Any) -> httpx.Response:
        return self.ask("POST", "/validate", json.dumps(document).encode())

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def webhook() -> Webhook:
    return Webhook()


def test_answers_are_given_and_counted(webhook: Webhook) -> None:
    good = webhook.review(asked())
    assert good.status_code == 200
    assert good.headers["content-type"] == "application/json"
    assert good.json()["response"]["allowed"] is True
    bad = webhook.review(asked(manifest(inference={}), manifest()))
    assert bad.status_code == 200
    assert bad.json()["response"]["allowed"] is False
    total = "kaito_admission_requests_total"
    assert webhook.value(total, operation="CREATE", allowed="true") == 1
    assert webhook.value(total, operation="UPDATE", allowed="false") == 1
    took = webhook.value("kaito_admission_duration_seconds_sum", operation="CREATE")
    assert took == pytest.approx(0.1)
    assert webhook.value("kaito_admission_failures_total") == 0


def test_nobody_can_make_up_operations_to_count(webhook: Webhook) -> None:
    for number in range(3):
        assert webhook.review(asked(operation=f"MADE-UP-{number}")).status_code == 200
    total = "kaito_admission_requests_total"
    assert webhook.value(total, operation="other", allowed="true") == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b'{"a": NaN}', "the body is not JSON"),
        (b"1" * 5000, "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON: RecursionError"),
        (b"[]", "the body must be a JSON object"),
        (b"{}", "expected admission.k8s.io/v1 AdmissionReview"),
    ],
    ids=["empty", "cut off", "bytes", "NaN", "digits", "deep", "list", "empty object"],
)
def test_what_is_no_review_is_a_bad_request(webhook: Webhook, content: bytes, reason: str) -> None:
    response = webhook.ask("POST", "/validate", content)
    assert response.status_code == 400
    assert response.text.startswith(reason)
    assert webhook.value("kaito_admission_bad_requests_total", code="400") == 1


def test_a_body_has_a_limit_even_if_it_does_not_tell_its_length(webhook: Webhook) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 2**16
            yield b" " * 2**16

    response = webhook.ask("POST", "/validate", endless())
    assert response.status_code == 413
    assert str(BODY_LIMIT_BYTES) in response.text
    assert sent <= BODY_LIMIT_BYTES + 2**17
    assert webhook.value("kaito_admission_bad_requests_total", code="413") == 1


def test_two_objects_as_large_as_etcd_takes_are_judged(webhook: Webhook) -> None:
    note = {"metadata": {"name": "phi", "annotations": {"note": "x" * (1_500 * 2**10)}}}
    large = {**manifest(), **note}
    assert webhook.review(asked(large, large)).json()["response"]["allowed"] is True


def test_a_body_has_a_time_limit(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "BODY_LIMIT_S", 0.01)

    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    assert webhook.ask("POST", "/validate", stalled()).status_code == 408


def test_a_client_that_leaves_is_no_crash(webhook: Webhook) -> None:
    answers: list[Any] = []

    async def go() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            answers.append(message)

        scope = {"type": "http", "method": "POST", "path": "/validate", "headers": []}
        await webhook.app({**scope, "query_string": b"", "root_path": ""}, receive, send)

    asyncio.run(go())
    assert answers[0]["status"] == 400


def test_half_a_character_is_told_back(webhook: Webhook) -> None:
    """JSON can hold what UTF-8 cannot."""
    bad = manifest(inference={"preset": {"name": "\ud800"}})
    response = webhook.review(asked(bad))
    assert response.status_code == 200
    assert response.json()["response"]["allowed"] is False


def test_a_bug_in_the_rules_refuses_and_logs_where_but_not_what(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(new: KubeObject, _old: KubeObject | None) -> NoReturn:
        raise KeyError(new["metadata"]["name"])

    webhook = Webhook(broken)
    with caplog.at_level(logging.DEBUG, "kaito.webhook"):
        response = webhook.review(asked(manifest(name="my-secret")))
    assert response.status_code == 200
    status = response.json()["response"]["status"]
    assert status["code"] == 500
    assert "KeyError" in caplog.text
    assert "in broken" in caplog.text, "the traceback"
    about_the_request = caplog.text.replace("CREATE default/my-secret", "")
    assert "my-secret" not in about_the_request
    assert webhook.value("kaito_admission_failures_total") == 1


def test_refusals_are_logged_by_field_and_not_by_value(
    webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "kaito.webhook"):
        webhook.review(asked(manifest(inference={"preset": {"name": "hush-hush"}})))
    assert "CREATE default/phi: refused for inference.preset.name" in caplog.text
    assert "hush-hush" not in caplog.text


def test_probes_and_metrics(webhook: Webhook) -> None:
    assert webhook.ask("GET", "/healthz").text == "ok"
    assert webhook.ask("GET", "/readyz").status_code == 200
    webhook.ready = False
    assert webhook.ask("GET", "/readyz").status_code == 503
    assert webhook.ask("GET", "/healthz").status_code == 200
    webhook.metrics.certificate_expires(lambda: 1_800_000_000.0)
    webhook.review(asked())
    page = webhook.ask("GET", "/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert 'kaito_admission_requests_total{allowed="true",operation="CREATE"} 1.0' in page.text
    assert "kaito_webhook_certificate_expiry_timestamp_seconds 1.8e+09" in page.text


@pytest.mark.parametrize(
    ("method", "path", "code"), [("GET", "/validate", 405), ("POST", "/", 404), ("GET", "/x", 404)]
)
def test_other_paths_are_not_served(webhook: Webhook, method: str, path: str, code: int) -> None:
    assert webhook.ask(method, path).status_code == code


def test_the_rules_do_not_hold_up_the_probes() -> None:
    """They run in a thread: a probe is answered while one is at work."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(_new: KubeObject, _old: KubeObject | None) -> Verdict:
        begun.set()
        assert go_on.wait(30)
        return Verdict()

    webhook = Webhook(slow)

    async def go() -> None:
        transport = httpx.ASGITransport(app=webhook.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://t") as client:
            content = json.dumps(asked()).encode()
            reviewing = asyncio.create_task(client.post("/validate", content=content))
            await asyncio.to_thread(begun.wait, 30)
            assert (await client.get("/healthz")).text == "ok"
            assert not reviewing.done()
            go_on.set()
            assert (await reviewing).json()["response"]["allowed"] is True

    asyncio.run(go())


def test_large_bodies_are_judged_one_at_a_time() -> None:
    """JSON takes many times its length in memory."""
    now, most = 0, 0
    both = threading.Event()

    def judge(_new: KubeObject, _old: KubeObject | None) -> Verdict:
        nonlocal now, most
        now += 1
        most = max(most, now)
        both.wait(0.1)
        now -= 1
        return Verdict()

    webhook = Webhook(judge)
    large = manifest(inference={"preset": {"name": "x" * app_module.LARGE_BODY_BYTES}})
    body = json.dumps(asked(large)).encode()

    async def go() -> list[int]:
        transport = httpx.ASGITransport(app=webhook.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://t") as client:
            asked_at_once = (client.post("/validate", content=body) for _ in range(3))
            return [one.status_code for one in await asyncio.gather(*asked_at_once)]

    assert asyncio.run(go()) == [200, 200, 200]
    assert most == 1
