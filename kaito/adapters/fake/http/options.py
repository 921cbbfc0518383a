"""The options of a request: its query, and the DeleteOptions that a delete may carry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from starlette.datastructures import QueryParams

from kaito.adapters.fake.http.statuses import invalid_option, refusal
from kaito.adapters.fake.http.typed_decoding import decoded
from kaito.adapters.fake.paging import PagePosition
from kaito.adapters.kube_api import Propagation

_TRUE: Final = frozenset({"1", "true", "True", "TRUE", "t", "T"})
_DELETE_OPTIONS: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
_PROPAGATIONS: Final = ("Orphan", "Background", "Foreground")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """Which objects to show, of when, and how."""

    labels: str
    fields: str
    limit: int | None
    continue_token: str
    resource_version: str
    include: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    labels: str
    fields: str
    resource_version: str
    timeout_s: int | None
    bookmarks: bool
    include: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    uid: str | None
    resource_version: str | None
    propagation: Propagation
    grace_period_s: int | None
    dry_run: bool


def is_set(query: QueryParams, name: str) -> bool:
    return name in query and query[name] in {*_TRUE, ""}


def number(query: QueryParams, name: str) -> int | None:
    """Raises: Refusal (400)."""
    text = query.get(name, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        message = f'strconv.ParseInt: parsing "{text}": invalid syntax ({name})'
        raise refusal(400, message) from error


def is_dry_run(values: list[str], kind: str) -> bool:
    """Raises: Refusal (422: a dry run of another kind)."""
    for value in values:
        if value not in {"All", ""}:
            detail = f'Unsupported value: "{value}": supported values: "All"'
            raise invalid_option(kind, "dryRun", detail)
    return "All" in values


def list_options(query: QueryParams) -> ListOptions:
    """Raises: Refusal."""
    token = query.get("continue", "")
    version = query.get("resourceVersion", "")
    match = query.get("resourceVersionMatch", "")
    if match not in {"", "Exact", "NotOlderThan"}:
        detail = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
        raise invalid_option("ListOptions", "resourceVersionMatch", detail)
    if match == "Exact" and version.isdigit() and not token:
        token = PagePosition(int(version), "", "").token()
    return ListOptions(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        limit=number(query, "limit"),
        continue_token=token,
        resource_version=version,
        include=_include(query),
    )


def watch_options(query: QueryParams) -> WatchOptions:
    """Raises: Refusal (422: initial events, which this server does not stream)."""
    if "sendInitialEvents" in query:
        detail = (
            "Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate"
            " is enabled"
        )
        raise invalid_option("ListOptions", "sendInitialEvents", detail)
    return WatchOptions(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        resource_version=query.get("resourceVersion", ""),
        timeout_s=number(query, "timeoutSeconds"),
        bookmarks=is_set(query, "allowWatchBookmarks"),
        include=_include(query),
    )


def delete_options(query: QueryParams, body: Mapping[str, Any]) -> DeleteOptions:
    """What a delete asks for; the body counts before the query. Raises: Refusal."""
    kind = body.get("kind") or "DeleteOptions"
    if kind != "DeleteOptions":
        raise refusal(400, f"{kind} cannot be handled as a DeleteOptions")
    body = decoded(body, _DELETE_OPTIONS).body
    policy = body.get("propagationPolicy") or query.get("propagationPolicy") or "Background"
    if body.get("orphanDependents") is True or is_set(query, "orphanDependents"):
        policy = "Orphan"
    if policy not in _PROPAGATIONS:
        known = ", ".join(f'"{one}"' for one in _PROPAGATIONS)
        detail = f'Unsupported value: "{policy}": supported values: {known}, "nil"'
        raise invalid_option("DeleteOptions", "propagationPolicy", detail)
    grace = body.get("gracePeriodSeconds")
    if grace is None:
        grace = number(query, "gracePeriodSeconds")
    preconditions = body.get("preconditions") or {}
    return DeleteOptions(
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        propagation=cast(Propagation, policy),
        grace_period_s=grace,
        dry_run=is_dry_run(
            [*(body.get("dryRun") or ()), *query.getlist("dryRun")], "DeleteOptions"
        ),
    )


def _include(query: QueryParams) -> str:
    include = query.get("includeObject", "")
    if include not in {"", "None", "Metadata", "Object"}:
        raise refusal(400, f'unrecognized includeObject value: "{include}"')
    return include
