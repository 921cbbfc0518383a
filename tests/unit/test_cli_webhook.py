"""`kaito webhook`, as a user types it."""

import base64
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from kaito.cli import app


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ["webhook", *arguments], env=environment)


def documents(*arguments: str) -> list[Any]:
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return list(yaml.safe_load_all(result.stdout))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key, made by the command itself."""
    secret, _ = documents("certificate")
    files = tmp_path / "tls.crt", tmp_path / "tls.key"
    for file in files:
        file.write_bytes(base64.b64decode(secret["data"][file.name]))
    return files


def test_the_configuration_names_the_service() -> None:
    (found,) = documents("configuration")
    (hook,) = found["webhooks"]
    assert hook["clientConfig"]["service"]["namespace"] == "kaito-system"
    assert "caBundle" not in hook["clientConfig"]
    (other,) = documents("configuration", "--service", "ai/hook")
    assert other["webhooks"][0]["clientConfig"]["service"]["name"] == "hook"


def test_the_configuration_for_a_url_and_an_authority(pair: tuple[Path, Path]) -> None:
    certificate, _ = pair
    (found,) = documents("configuration", "--url", "https://[::1]:9443", "--ca", str(certificate))
    config = found["webhooks"][0]["clientConfig"]
    assert config["url"] == "https://[::1]:9443/validate"
    assert base64.b64decode(config["caBundle"]) == certificate.read_bytes()


def test_a_new_certificate_can_be_trusted_beside_the_one_before(tmp_path: Path) -> None:
    secret, _ = documents("certificate", "--days", "1")
    before = base64.b64decode(secret["data"]["ca.crt"])
    file = tmp_path / "ca.crt"
    file.write_bytes(before)
    newer, configuration = documents("certificate", "--service", "ai/hook", "--ca", str(file))
    assert (newer["metadata"]["namespace"], newer["metadata"]["name"]) == ("ai", "hook-tls")
    bundle = base64.b64decode(configuration["webhooks"][0]["clientConfig"]["caBundle"])
    assert bundle == base64.b64decode(newer["data"]["ca.crt"]) + before


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["configuration", "--url", "http://x"], "--url: 'http://x' is not an https URL"),
        (["configuration", "--service", "x"], "--service: 'x' is not NAMESPACE/NAME"),
        (["configuration", "--ca", "/none"], "--ca: /none cannot be read"),
        (["configuration", "--url", "https://x", "--service", "a/b"], "not both"),
        (["certificate", "--service", "x"], "--service: 'x' is not NAMESPACE/NAME"),
        (["certificate", "--days", "0"], "--days"),
        (["run", "--certificate", "/none", "--private-key", "/none"], "/none cannot be read"),
        (["run", "--certificate", "/none"], "--private-key"),
    ],
)
def test_what_is_wrong_is_said_on_one_screen(arguments: list[str], complaint: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert complaint in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) < 10


def test_a_port_that_is_taken_is_said(pair: tuple[Path, Path]) -> None:
    certificate, key = pair
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run(
            "run",
            KAITO_WEBHOOK_CERTIFICATE=str(certificate),
            KAITO_WEBHOOK_PRIVATE_KEY=str(key),
            KAITO_WEBHOOK_PORT=port,
        )
    assert result.exit_code == 2
    assert f"port: cannot listen on 127.0.0.1, port {port}" in result.stderr


def test_it_runs_by_its_environment_and_stops_with_0(pair: tuple[Path, Path]) -> None:
    certificate, key = pair
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "KAITO_WEBHOOK_CERTIFICATE": str(certificate),
        "KAITO_WEBHOOK_PRIVATE_KEY": str(key),
        "KAITO_WEBHOOK_PORT": str(port),
        "KAITO_LOG_FORMAT": "json",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "kaito", "webhook", "run"],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert re.search(rf'"message": "listening on https://127.0.0.1:{port}"', first), first
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, rest
    assert "Traceback" not in rest
    assert '"message": "stopped"' in rest
    assert "PRIVATE" not in first + rest
