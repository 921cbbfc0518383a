"""Microsoft Entra ID, as far as a program that signs in with a secret or an assertion sees it.

Source: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow and
https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

import fnmatch
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kaito.adapters.fake.arm.errors import ArmError
from kaito.adapters.fake.arm.place import Place

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_LIFE_S: Final = 3600.0
_TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who may sign in, with what, and what it may do.

    `assertion` is the federated token that stands for it, `secret` its client secret; one that is
    empty does not let it in. `actions` and `not_actions` are those of its role, with wildcards.
    """

    client_id: str
    secret: str = field(default="", repr=False)
    assertion: str = field(default="", repr=False)
    actions: tuple[str, ...] = ("*",)
    not_actions: tuple[str, ...] = ()

    def may(self, action: str) -> bool:
        """Whether its role has the action; case does not matter."""
        return _matches(action, self.actions) and not _matches(action, self.not_actions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A token that is out. Times are epoch seconds."""

    client_id: str
    audience: str
    expires_at_s: float


class SignInError(Exception):
    """A sign-in that is refused, as OAuth 2.0 answers it."""

    def __init__(self, status: int, error: str, number: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.body = {
            "error": error,
            "error_description": f"AADSTS{number}: {text}",
            "error_codes": [number],
        }


class Entra:
    """Signs identities in and knows the tokens that it gave them."""

    def __init__(
        self, place: Place, now_s: Callable[[], float], token_life_s: float = TOKEN_LIFE_S
    ) -> None:
        self._place, self._now_s = place, now_s
        self.token_life_s = token_life_s  # of tokens from now on
        self._identities: dict[str, Identity] = {}
        self._issued: dict[str, Issued] = {}

    def register(self, identity: Identity) -> None:
        """Let it sign in; another of that client id is replaced, and its tokens stay good."""
        self._identities[identity.client_id.lower()] = identity

    def revoke_all(self) -> None:
        """No token is good any more."""
        self._issued.clear()

    def openid_configuration(self, base_url: str, tenant: str) -> dict[str, Any]:
        """What a client library asks for first. Raises: SignInError (no such tenant)."""
        self._check_tenant(tenant)
        authority = f"{base_url}/{self._place.tenant}"
        return {
            "issuer": f"{authority}/v2.0",
            "authorization_endpoint": f"{authority}/oauth2/v2.0/authorize",
            "token_endpoint": f"{authority}/oauth2/v2.0/token",
            "jwks_uri": f"{authority}/discovery/v2.0/keys",
            "response_types_supported": ["code", "id_token", "token"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        }

    def sign_in(self, tenant: str, form: Mapping[str, str]) -> dict[str, Any]:
        """A new access token for what the form asks. Raises: SignInError."""
        self._check_tenant(tenant)
        if form.get("grant_type") != "client_credentials":
            text = f"The grant type '{form.get('grant_type', '')}' is not supported."
            raise SignInError(400, "unsupported_grant_type", 70003, text)
        client_id = form.get("client_id", "")
        identity = self._identities.get(client_id.lower())
        if identity is None:
            text = f"Application with identifier '{client_id}' was not found in the directory."
            raise SignInError(400, "unauthorized_client", 700016, text)
        _check_proof(identity, form)
        audience = _audience(form.get("scope", ""))
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self._issued[token] = Issued(
            client_id=identity.client_id,
            audience=audience,
            expires_at_s=self._now_s() + self.token_life_s,
        )
        return {
            "token_type": "Bearer",
            "expires_in": int(self.token_life_s),
            "ext_expires_in": int(self.token_life_s),
            "access_token": token,
        }

    def who(self, authorization: str, audiences: tuple[str, ...]) -> Identity:
        """Whose token an Authorization header carries. Raises: ArmError (401)."""
        if not authorization:
            raise self._unauthenticated(
                "AuthenticationFailed",
                "Authentication failed. The 'Authorization' header is missing.",
            )
        scheme, _, token = authorization.partition(" ")
        issued = self._issued.get(token.strip()) if scheme.lower() == "bearer" else None
        if issued is None:
            raise self._unauthenticated(
                "InvalidAuthenticationToken", "The access token is invalid."
            )
        if issued.expires_at_s <= self._now_s():
            raise self._unauthenticated(
                "ExpiredAuthenticationToken", "The access token expiry time has passed."
            )
        if issued.audience not in audiences:
            raise self._unauthenticated(
                "InvalidAuthenticationTokenAudience",
                "The access token has been obtained for the wrong audience or resource "
                f"'{issued.audience}'. It should exactly match one of the allowed audiences "
                f"'{','.join(audiences)}'.",
            )
        return self._identities[issued.client_id.lower()]

    def _check_tenant(self, tenant: str) -> None:
        if tenant.lower() != self._place.tenant.lower():
            text = f"Tenant '{tenant}' not found. Check that you have the correct tenant ID."
            raise SignInError(400, "invalid_tenant", 90002, text)

    def _unauthenticated(self, code: str, message: str) -> ArmError:
        challenge = (
            f'Bearer authorization_uri="https://login.microsoftonline.com/{self._place.tenant}", '
            f'error="invalid_token", error_description="{message}"'
        )
        return ArmError(401, code, message, layer="arm", headers={"WWW-Authenticate": challenge})


def _check_proof(identity: Identity, form: Mapping[str, str]) -> None:
    """Raises: SignInError (the secret or assertion is not the identity's)."""
    if "client_assertion" in form:
        same = _equal(form["client_assertion"], identity.assertion)
        if form.get("client_assertion_type") != ASSERTION_TYPE or not same:
            text = "No matching federated identity record found for presented assertion."
            raise SignInError(401, "invalid_client", 700213, text)
    elif not _equal(form.get("client_secret", ""), identity.secret):
        raise SignInError(401, "invalid_client", 7000215, "Invalid client secret provided.")


def _equal(given: str, expected: str) -> bool:
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())


def _audience(scopes: str) -> str:
    """The resource that the scope is of. Raises: SignInError (it is not one of a resource)."""
    asked = [scope for scope in scopes.split() if scope.endswith("/.default")]
    if len(asked) != 1:
        text = f"The provided value for scope '{scopes}' is not valid: it must end in /.default."
        raise SignInError(400, "invalid_scope", 70011, text)
    return asked[0].removesuffix("/.default").rstrip("/")


def _matches(action: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)
