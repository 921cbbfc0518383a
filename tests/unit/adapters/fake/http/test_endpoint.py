"""The socket, its certificates and the kubeconfig."""

from pathlib import Path

import pytest
import yaml

from kaito.adapters.fake.http import kubeconfig
from kaito.adapters.fake.http.server import Server
from kaito.domain.errors import InvalidInput

NOW_S = 1_800_000_000.0


def test_kubeconfig_is_private_and_leaves_with_the_run(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "kubeconfig"
    text = kubeconfig.kubeconfig("https://127.0.0.1:1", b"pem", "secret")
    kubeconfig.write(file, text)
    assert file.stat().st_mode & 0o777 == 0o600
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert content["users"][0]["user"] == {"token": "secret"}
    newer = kubeconfig.kubeconfig("https://127.0.0.1:2", b"pem", "other")
    kubeconfig.write(file, newer)
    kubeconfig.remove(file, text)  # an earlier run ends: the file is a later run's
    assert file.read_text(encoding="utf-8") == newer
    kubeconfig.remove(file, newer)
    kubeconfig.remove(file, newer)
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize("there", ["clusters: [{name: prod}]", "a: [", "just text", "\x80"])
def test_other_peoples_files_are_left_alone(tmp_path: Path, there: str) -> None:
    file = tmp_path / "config"
    file.write_bytes(there.encode("latin-1"))
    with pytest.raises(InvalidInput, match="is there already"):
        kubeconfig.write(file, "new")
    assert file.read_bytes() == there.encode("latin-1")


def test_kubeconfig_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be written"):
        kubeconfig.write(tmp_path, "new")


def test_port_that_is_taken() -> None:
    server = Server(None, host="127.0.0.1", port=0)
    with pytest.raises(OSError, match="in use"):
        Server(None, host="127.0.0.1", port=server.port)
    server.close()
