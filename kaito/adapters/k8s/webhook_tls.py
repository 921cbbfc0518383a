"""A server's certificate and key, read again when the files change."""

import ssl
from pathlib import Path
from typing import Final, TypeAlias

from cryptography import x509

from kaito.domain.errors import InvalidInput, Problem

# Inode, time of the change in ns and size in bytes; None where there is no file.
_Seen: TypeAlias = tuple[tuple[int, int, int] | None, ...]
_REMEDY: Final = "Give PEM files of a certificate and of its private key, without a passphrase"


class TlsFiles:
    """`context` is for the server, for good; each new connection gets the newest certificate.

    Files that do not fit together, as between two writes, are left alone until they do.
    """

    expires_s: float  # when the certificate in use ends, in seconds since the epoch

    def __init__(self, certificate: Path, private_key: Path) -> None:
        """Raises: InvalidInput (a file cannot be read, or is not what it should be)."""
        self._certificate, self._private_key = certificate, private_key
        self._seen = self._look()
        self._read()
        self.context = self._newest
        self.context.sni_callback = self._choose  # asked for every connection, named or not

    def refresh(self) -> bool:
        """Whether there was a new certificate. Raises: InvalidInput (the new files are wrong; the
        ones before stay in use, and the same files are not complained of again)."""
        seen = self._look()
        if seen == self._seen:
            return False
        self._seen = seen
        self._read()
        return True

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _from: ssl.SSLContext) -> None:
        connection.context = self._newest

    def _look(self) -> _Seen:
        found: list[tuple[int, int, int] | None] = []
        for file in (self._certificate, self._private_key):
            try:
                seen = file.stat()
            except OSError:
                found.append(None)
            else:
                found.append((seen.st_ino, seen.st_mtime_ns, seen.st_size))
        return tuple(found)

    def _read(self) -> None:
        chain = _content("certificate", self._certificate)
        _content("private-key", self._private_key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._private_key, password=lambda: "")
            own = x509.load_pem_x509_certificates(chain)[0]
        except (OSError, ValueError) as error:  # SSLError is an OSError
            problem = Problem(
                field="certificate",
                message=f"{self._certificate} is not a certificate with the key "
                f"{self._private_key}",
                remedy=_REMEDY,
            )
            raise InvalidInput([problem]) from error
        self._newest = context
        self.expires_s = own.not_valid_after_utc.timestamp()


def _content(field: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        problem = Problem(
            field=field, message=f"{file} cannot be read: {error.strerror or error}", remedy=_REMEDY
        )
        raise InvalidInput([problem]) from error
