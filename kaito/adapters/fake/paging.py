"""Continue tokens: where the next page of a list starts, and in which version of the store."""

import base64
import binascii
import json
from dataclasses import dataclass

from kaito.adapters.fake.api_errors import bad_request


@dataclass(frozen=True, slots=True)
class PagePosition:
    version: int
    namespace: str
    name: str

    def token(self) -> str:
        text = json.dumps({"rv": self.version, "start": [self.namespace, self.name]})
        return base64.urlsafe_b64encode(text.encode()).decode()


def page_position(token: str) -> PagePosition:
    """The position that a token says. Raises: InvalidObject (400)."""
    try:
        content = json.loads(base64.urlsafe_b64decode(token.encode()))
        namespace, name = content["start"]
        return PagePosition(int(content["rv"]), str(namespace), str(name))
    except (binascii.Error, UnicodeError, ValueError, KeyError, TypeError) as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from error
