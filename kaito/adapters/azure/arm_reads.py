"""GETs of what the Azure SDK installed here has no classes for: each page is one request."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode, urlsplit

from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest

from kaito.adapters.azure.error_table import Reaction
from kaito.adapters.azure.errors import AzureErrors, Refusal

PAGE_LIMIT: Final = 100
_HTTPS_PORT: Final = 443


class SendsRequests(Protocol):
    """A client of the SDK."""

    def send_request(self, request: HttpRequest) -> Any:
        """The answer, whatever its status. Raises: AzureError (there is none)."""


class Unread(Exception):
    """Something could not be read; the text says why, and can be told.

    `denied`: because whoever asks may not."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal
        self.denied = refusal.code in {"AuthorizationFailed", "LinkedAuthorizationFailed"}


class JsonReader:
    """Reads JSON documents of one host. A link to the next page that leads to another is not
    followed: a token would go with it."""

    def __init__(self, client: SendsRequests, endpoint: str, errors: AzureErrors) -> None:
        self._client = client
        self._endpoint = endpoint.rstrip("/")
        self._errors = errors

    def pages(self, path: str, *, next_link: str, **query: str) -> Iterator[Mapping[str, Any]]:
        """The document at `path` and those that it goes on with, by its field `next_link`.

        Raises: Unread.
        """
        url = f"{self._endpoint}{path}?{urlencode(query, quote_via=quote)}"
        for _ in range(PAGE_LIMIT):
            page = self._get(url)
            yield page
            url = page.get(next_link) or ""
            if not isinstance(url, str) or not url:
                return
            if _host(url) != _host(self._endpoint):
                raise _unread("the answer goes on at another host, which is not asked")
        raise _unread(f"the answer has more than {PAGE_LIMIT} pages")

    def items(
        self, path: str, *, next_link: str, field: str, **query: str
    ) -> list[Mapping[str, Any]]:
        """What the documents list in `field`. Raises: Unread."""
        return [
            item
            for page in self.pages(path, next_link=next_link, **query)
            for item in page.get(field) or ()
            if isinstance(item, dict)
        ]

    def _get(self, url: str) -> Mapping[str, Any]:
        try:
            response = self._client.send_request(HttpRequest("GET", url))
            response.raise_for_status()
            body = response.json()
        except AzureError as error:
            raise Unread(self._errors.read(error)) from None
        except ValueError:
            raise _unread("the answer is not JSON") from None
        if not isinstance(body, dict):
            raise _unread("the answer is not a JSON object")
        return body


def _unread(text: str) -> Unread:
    return Unread(Refusal(reaction=Reaction.TRANSIENT, text=text))


def _host(url: str) -> tuple[str, str, int]:
    """Scheme, host and port; of a port that is no number, a host that is none."""
    found = urlsplit(url)
    try:
        port = found.port or _HTTPS_PORT
    except ValueError:
        return found.scheme, "", 0
    return found.scheme, (found.hostname or "").lower(), port
