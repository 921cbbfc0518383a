"""The validating webhook over HTTP: AdmissionReviews, probes and metrics."""

import asyncio
import contextlib
import json
import logging
import traceback
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from kaito.adapters.k8s.admission import Verdict
from kaito.adapters.k8s.admission_review import (
    PATH,
    Answer,
    BadReview,
    Question,
    answer,
    failure,
    read_review,
)
from kaito.adapters.k8s.webhook_metrics import WebhookMetrics
from kaito.adapters.kube_api import KubeObject

# Two objects of the 1.5 MiB that etcd takes, and the envelope round them.
BODY_LIMIT_BYTES: Final = 3 * 2**20 + 2**16
BODY_LIMIT_S: Final = 10.0
# JSON takes up to seventy times its length in memory: large bodies wait for each other.
LARGE_BODY_BYTES: Final = 2**18
_LOG = logging.getLogger("kaito.webhook")

Judge: TypeAlias = Callable[[KubeObject, KubeObject | None], Verdict]


class Reviewer:
    """Answers AdmissionReviews by the rules that `judge` knows."""

    def __init__(
        self, judge: Judge, metrics: WebhookMetrics, monotonic_s: Callable[[], float]
    ) -> None:
        self._judge = judge
        self._metrics = metrics
        self._monotonic_s = monotonic_s

    def review(self, body: bytes) -> bytes:
        """The answer to a request's body. Raises: BadReview."""
        began_s = self._monotonic_s()
        question = read_review(_parsed(body))
        found = self._judged(question) if question.is_judged else answer(question, Verdict())
        self._metrics.answered(
            question.operation,
            allowed=found["response"]["allowed"],
            took_s=self._monotonic_s() - began_s,
        )
        return json.dumps(found).encode()  # in ASCII: half of a surrogate pair cannot be encoded

    def _judged(self, question: Question) -> Answer:
        assert question.new is not None, "read_review sees to it"
        try:
            verdict = self._judge(question.new, question.old)
        except Exception as error:  # noqa: BLE001  # any bug must reach the user as a refusal
            # Where, but not the error's text, which may quote the object.
            where = "".join(traceback.format_tb(error.__traceback__))
            kind, uid = type(error).__name__, question.uid
            _LOG.error("%s (uid %s): the rules failed: %s\n%s", question.subject, uid, kind, where)
            self._metrics.failed()
            return failure(question)
        if verdict.problems:
            fields = ", ".join(problem.field for problem in verdict.problems)
            _LOG.info("%s: refused for %s", question.subject, fields)
        else:
            _LOG.debug("%s: allowed", question.subject)
        return answer(question, verdict)


def webhook_app(
    reviewer: Reviewer, metrics: WebhookMetrics, is_ready: Callable[[], bool]
) -> Starlette:
    """POST /validate; GET /healthz, /readyz and /metrics."""

    large = asyncio.Semaphore(1)

    async def validate(request: Request) -> Response:
        try:
            async with asyncio.timeout(BODY_LIMIT_S):
                body = await _body(request)
            async with large if len(body) > LARGE_BODY_BYTES else contextlib.nullcontext():
                answered = await run_in_threadpool(reviewer.review, body)
        except (BadReview, ClientDisconnect) as error:
            return _refused(400, str(error) or "the body was cut off")
        except TimeoutError:
            return _refused(408, f"the body took longer than {BODY_LIMIT_S:.0f} s")
        except _TooLarge:
            return _refused(413, f"the body is larger than {BODY_LIMIT_BYTES} bytes")
        return Response(answered, media_type="application/json")

    def _refused(code: int, reason: str) -> Response:
        _LOG.warning("a request was not understood: %s", reason)
        metrics.bad_request(code)
        return PlainTextResponse(reason, code, {"Connection": "close"})

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_request: Request) -> Response:
        return PlainTextResponse("ok") if is_ready() else PlainTextResponse("stopping", 503)

    async def metrics_page(_request: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(
        routes=[
            Route(PATH, validate, methods=["POST"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics_page),
        ]
    )


class _TooLarge(Exception):
    """The body is larger than any review can be."""


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > BODY_LIMIT_BYTES:
            raise _TooLarge
    return bytes(body)


def _parsed(body: bytes) -> Any:
    def no_number(text: str) -> NoReturn:
        raise ValueError(f"{text} is not a number in JSON")

    try:
        return json.loads(body, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise BadReview(f"the body is not JSON: {type(error).__name__}") from error
