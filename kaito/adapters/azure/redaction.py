"""What may be told of an answer from Azure: no id of an account, and no secret."""

import re
from collections.abc import Iterable
from typing import Final

HIDDEN: Final = "[hidden]"
TEXT_LIMIT_CHARS: Final = 500

_PATTERNS: Final = (
    # A JSON web token, whole or cut off; what a header says of the bearer.
    re.compile(r"eyJ[\w-]{5,}(?:\.[\w-]*){0,2}"),
    re.compile(r"(?i)\b(?:bearer|basic)\s+[\w.~+/=-]{8,}"),
    # Values of parameters that are secrets, in a query, a form or JSON.
    re.compile(
        r"(?i)\b(?:client_secret|client_assertion|access_token|refresh_token|id_token|password"
        r"|sig|authorization|x-ms-authorization-auxiliary)\\?[\"']?\s*[:=]\s*\\?[\"']?[^\s\"'&,;}]+"
    ),
    # Every id of Azure: of a subscription, a tenant, an application, a request.
    re.compile(r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
)


class Redactor:
    """Takes ids and secrets out of texts. `secrets` are hidden wherever and however they are
    written; of others it knows the forms."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known)), re.IGNORECASE) if known else None

    def __call__(self, text: str) -> str:
        """The text on one line, without them, and not too long for a condition."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for pattern in _PATTERNS:
            text = pattern.sub(HIDDEN, text)
        text = " ".join(text.split())
        return text if len(text) <= TEXT_LIMIT_CHARS else f"{text[: TEXT_LIMIT_CHARS - 1]}…"
