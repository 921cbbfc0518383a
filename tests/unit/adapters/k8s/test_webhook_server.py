"""The webhook's process on a socket of its own: TLS, rotation and a stop that loses nothing."""

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from kaito.adapters.certificates import Certificates, make_certificates
from kaito.adapters.k8s.webhook_server import WebhookServer, WebhookSettings
from kaito.domain.errors import InvalidInput
from kaito.system_clock import SystemClock

LIMIT_S = 30.0


def write(folder: Path) -> Certificates:
    made = make_certificates(["127.0.0.1"], SystemClock().now_s(), name="kaito-test")
    for name, content in (("tls.crt", made.server), ("tls.key", made.key)):
        newer = folder / f"{name}.new"
        newer.write_bytes(content)
        newer.replace(folder / name)
    return made


def server(folder: Path, **changed: Any) -> WebhookServer:
    settings: dict[str, Any] = {
        "certificate": folder / "tls.crt",
        "private_key": folder / "tls.key",
        "port": 0,
        "drain_s": 0.0,
        "certificate_check_s": 0.01,
    }
    return WebhookServer(WebhookSettings(**{**settings, **changed}))


class Gate:
    """An application that answers `ok`, but /slow only once it is let go on."""

    def __init__(self) -> None:
        self.entered, self.open = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            self.entered.set()
            await self.open.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


def client(made: Certificates, base_url: str) -> httpx.AsyncClient:
    trust = ssl.create_default_context(cadata=made.authority.decode())
    return httpx.AsyncClient(verify=trust, base_url=base_url, trust_env=False, timeout=LIMIT_S)


def running(webhook: WebhookServer, visit: Callable[[Gate], Awaitable[None]]) -> None:
    """Run the server round a visit, which must stop it."""

    async def go() -> None:
        gate = Gate()
        async with asyncio.timeout(LIMIT_S):
            serving = asyncio.create_task(webhook.run(gate))
            await visit(gate)
            await serving

    asyncio.run(go())


def test_it_answers_over_tls_and_stops_on_sigterm(tmp_path: Path) -> None:
    made = write(tmp_path)
    webhook = server(tmp_path)

    async def visit(_gate: Gate) -> None:
        async with client(made, webhook.url) as asking:
            assert (await asking.get("/")).text == "ok"
            assert webhook.is_ready()
            os.kill(os.getpid(), signal.SIGTERM)

    running(webhook, visit)
    assert not webhook.is_ready()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_requests_are_taken_while_it_drains_and_answered_before_it_ends(tmp_path: Path) -> None:
    made = write(tmp_path)
    webhook = server(tmp_path, drain_s=LIMIT_S * 10)

    async def visit(gate: Gate) -> None:
        async with client(made, webhook.url) as asking:
            slow = asyncio.create_task(asking.get("/slow"))
            await gate.entered.wait()
            webhook.drain()
            assert not webhook.is_ready()
            async with client(made, webhook.url) as another:
                assert (await another.get("/")).text == "ok", "a new connection"
            webhook.drain()  # the second time does not wait
            gate.open.set()
            assert (await slow).text == "ok"

    running(webhook, visit)


def test_a_new_certificate_is_used_and_no_connection_is_dropped(tmp_path: Path) -> None:
    first = write(tmp_path)
    webhook = server(tmp_path)

    async def visit(_gate: Gate) -> None:
        async with client(first, webhook.url) as before:
            assert (await before.get("/")).text == "ok"
            second = write(tmp_path)
            while True:
                try:
                    async with client(second, webhook.url) as after:
                        assert (await after.get("/")).text == "ok"
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.01)
            kept = await before.get("/")
            assert kept.text == "ok"
            # A second connection of this client would not trust the new certificate.
        webhook.stop()

    running(webhook, visit)


def test_a_bad_new_certificate_is_told_and_the_old_one_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = write(tmp_path)
    webhook = server(tmp_path)

    async def visit(_gate: Gate) -> None:
        (tmp_path / "tls.key").write_bytes(b"nothing")
        for _ in range(int(LIMIT_S * 100)):
            if "stays in use" in caplog.text:
                break
            await asyncio.sleep(0.01)
        async with client(made, webhook.url) as asking:
            assert (await asking.get("/")).text == "ok"
        webhook.stop()

    running(webhook, visit)
    assert caplog.text.count("stays in use") == 1


def test_a_client_without_tls_harms_nobody(tmp_path: Path) -> None:
    made = write(tmp_path)
    webhook = server(tmp_path)

    async def visit(_gate: Gate) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(webhook.url.rpartition(":")[2])
        )
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"ok" not in await reader.read()
        writer.close()
        async with client(made, webhook.url) as asking:
            assert (await asking.get("/")).text == "ok"
        webhook.stop()

    running(webhook, visit)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    write(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInput) as caught:
            server(tmp_path, port=port)
    (problem,) = caught.value.problems
    assert problem.field == "port"
    assert problem.message.startswith(f"cannot listen on 127.0.0.1, port {port}: ")


def test_an_address_that_is_not_here(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(InvalidInput, match=r"cannot listen on 192\.0\.2\.1"):
        server(tmp_path, address="192.0.2.1")
