"""Certificates that are read again when they change."""

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kaito.adapters.certificates import Certificates, make_certificates
from kaito.adapters.k8s.webhook_tls import TlsFiles
from kaito.domain.errors import InvalidInput

NOW_S = 1_800_000_000.0
HOST = "localhost"


def new(days: int = 365) -> Certificates:
    return make_certificates([HOST], NOW_S, name="kaito-test", days=days)


class Pair:
    """The two files. Each write gets a time of its own, as if seconds had passed."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self._times_ns: Iterator[int] = iter(range(10**18, 2 * 10**18, 10**9))

    def write(self, file: Path, content: bytes) -> None:
        file.write_bytes(content)
        time_ns = next(self._times_ns)
        os.utime(file, ns=(time_ns, time_ns))

    def put(self, made: Certificates) -> None:
        self.write(self.certificate, made.server)
        self.write(self.key, made.key)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def shown(tls: TlsFiles, host: str | None = HOST) -> int:
    """The serial number of the certificate that a new connection is shown."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=host)
    server = tls.context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, server]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert not waiting, "the handshake did not end"
    found = client.getpeercert(binary_form=True)
    assert found is not None
    return x509.load_der_x509_certificate(found).serial_number


def serial(made: Certificates) -> int:
    return x509.load_pem_x509_certificate(made.server).serial_number


@pytest.mark.parametrize("host", [HOST, None], ids=["named", "by address"])
def test_a_new_certificate_is_shown_to_new_connections(pair: Pair, host: str | None) -> None:
    first, second = new(), new(days=3)
    pair.put(first)
    tls = TlsFiles(pair.certificate, pair.key)
    assert shown(tls, host) == serial(first)
    assert tls.expires_s == NOW_S + 365 * 86_400
    assert tls.refresh() is False
    pair.put(second)
    assert shown(tls, host) == serial(first), "until it is looked at"
    assert tls.refresh() is True
    assert shown(tls, host) == serial(second)
    assert tls.expires_s == NOW_S + 3 * 86_400
    assert tls.refresh() is False


def test_a_pair_that_is_half_written_is_left_until_it_fits(pair: Pair) -> None:
    first, second = new(), new()
    pair.put(first)
    tls = TlsFiles(pair.certificate, pair.key)
    pair.write(pair.certificate, second.server)
    with pytest.raises(InvalidInput, match=r"is not a certificate with the key"):
        tls.refresh()
    assert tls.refresh() is False, "one complaint is enough"
    assert shown(tls) == serial(first)
    pair.write(pair.key, second.key)
    assert tls.refresh() is True
    assert shown(tls) == serial(second)


def test_files_that_are_gone_are_complained_of_once(pair: Pair) -> None:
    first = new()
    pair.put(first)
    tls = TlsFiles(pair.certificate, pair.key)
    pair.key.unlink()
    with pytest.raises(InvalidInput, match=r"private-key: .* cannot be read: No such file"):
        tls.refresh()
    assert tls.refresh() is False
    assert shown(tls) == serial(first)


def test_mounted_secrets_are_swapped_by_a_link(tmp_path: Path) -> None:
    """The kubelet replaces the folder that a link points to; the files' own times may be equal."""
    first, second = new(), new()
    for number, made in enumerate((first, second)):
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        Pair(folder).put(made)
    link = tmp_path / "..data"
    link.symlink_to("..0")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    tls = TlsFiles(tmp_path / "tls.crt", tmp_path / "tls.key")
    newer = tmp_path / "..tmp"
    newer.symlink_to("..1")
    newer.rename(link)
    assert tls.refresh() is True
    assert shown(tls) == serial(second)


def encrypted(key: bytes) -> bytes:
    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )


@pytest.mark.parametrize(
    "damage", ["no certificate", "no key", "not PEM", "another key", "passphrase", "folder"]
)
def test_files_that_cannot_be_used_say_so(pair: Pair, damage: str, tmp_path: Path) -> None:
    made = new()
    pair.put(made)
    field, certificate = "certificate", pair.certificate
    match damage:
        case "no certificate":
            pair.certificate.unlink()
        case "no key":
            pair.key.unlink()
            field = "private-key"
        case "not PEM":
            pair.certificate.write_bytes(b"\xff\x00")
        case "another key":
            pair.key.write_bytes(new().key)
        case "passphrase":
            pair.key.write_bytes(encrypted(made.key))
        case _:
            certificate = tmp_path
    with pytest.raises(InvalidInput) as caught:
        TlsFiles(certificate, pair.key)
    (problem,) = caught.value.problems
    assert problem.field == field
    assert str(tmp_path) in problem.message
    assert "PEM files" in problem.remedy
    assert "PRIVATE" not in str(caught.value)
