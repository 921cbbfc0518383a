"""The twin's Azure as one thing: a socket, TLS with its own authority, and who may come in."""

import secrets
from pathlib import Path
from typing import Final

from starlette.requests import Request

from kaito.adapters.certificates import make_certificates
from kaito.adapters.fake.arm.app import AUDIENCES, ArmFront
from kaito.adapters.fake.arm.identity import Identity
from kaito.adapters.fake.http.server import Server
from kaito.domain.errors import InvalidInput, Problem
from kaito.system_clock import SystemClock

LOOPBACK: Final = "127.0.0.1"
OPERATOR: Final = "7719a000-0000-4000-8000-000000000003"  # client id of the identity for kaito
_NAMES: Final = ("localhost", LOOPBACK, "::1")
_SECRET_BYTES: Final = 32
_AUTHORITY_FILE, _ASSERTION_FILE, _SECRET_FILE = "ca.pem", "federated-token", "client-secret"


class ArmEndpoint:
    """Listens from the start; everything secret about it is made for this run alone."""

    def __init__(self, front: ArmFront, *, host: str = LOOPBACK, port: int = 0) -> None:
        """Raises: InvalidInput (nobody can listen there)."""
        self.front = front
        self.identity = Identity(
            client_id=OPERATOR,
            secret=secrets.token_urlsafe(_SECRET_BYTES),
            assertion=secrets.token_urlsafe(_SECRET_BYTES),
        )
        front.entra.register(self.identity)
        names = tuple(dict.fromkeys([host, *_NAMES]))
        # TLS is of the real world.
        certificates = make_certificates(names, SystemClock().now_s(), name="kaito-twin-azure")
        try:
            self._server = Server(
                front.app(self._cut_off), host=host, port=port, certificates=certificates
            )
        except OSError as error:
            problem = Problem(
                field=f"--arm-port {port}",
                message=f"cannot listen on {host}: {error.strerror or error}",
                remedy="Give 0 to take a free one",
            )
            raise InvalidInput([problem]) from error
        where = f"[{host}]" if ":" in host else host
        self.url = f"https://{where}:{self._server.port}"
        front.audiences = (*AUDIENCES, self.url)
        self.authority = certificates.authority

    async def run(self) -> None:
        """Answer requests until `stop`."""
        await self._server.run()

    def stop(self) -> None:
        """End `run` soon."""
        self._server.stop()

    def write_access(self, directory: Path) -> dict[str, str]:
        """Write the authority and the credentials there, readable by their owner only; what the
        environment of a program that signs in with them has to say. The last five are kaito's and
        gpu-provisioner's.

        Raises: OSError (nothing can be written there).
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        contents = {
            _AUTHORITY_FILE: self.authority.decode(),
            _ASSERTION_FILE: self.identity.assertion,
            _SECRET_FILE: self.identity.secret,
        }
        for name, content in contents.items():
            path = directory / name
            path.touch(mode=0o600)
            path.write_text(content, encoding="utf-8")
        place = self.front.place
        authority = str(directory / _AUTHORITY_FILE)
        return {
            "AZURE_AUTHORITY_HOST": self.url,
            "AZURE_TENANT_ID": place.tenant,
            "AZURE_CLIENT_ID": self.identity.client_id,
            "AZURE_FEDERATED_TOKEN_FILE": str(directory / _ASSERTION_FILE),
            "AZURE_SUBSCRIPTION_ID": place.subscription,
            "AZURE_RESOURCE_GROUP": place.group,
            "AZURE_CLUSTER_NAME": place.cluster,
            "REQUESTS_CA_BUNDLE": authority,
            "ARM_SUBSCRIPTION_ID": place.subscription,
            "ARM_RESOURCE_GROUP": place.group,
            "LOCATION": place.region,
            "KAITO_AZURE_ARM_ENDPOINT": self.url,
            "KAITO_AZURE_CA_FILE": authority,
        }

    def remove_access(self, directory: Path) -> None:
        """Take away what `write_access` wrote."""
        for name in (_AUTHORITY_FILE, _ASSERTION_FILE, _SECRET_FILE):
            (directory / name).unlink(missing_ok=True)
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()

    def _cut_off(self, request: Request) -> None:
        assert request.client is not None, "TCP has a client"
        self._server.cut_off(request.client.host, request.client.port)
