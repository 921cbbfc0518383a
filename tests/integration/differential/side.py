"""One of the two servers, and what a program remembers of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kaito.adapters.kube_api import (
    CONFIG_MAP,
    Gone,
    KubeApi,
    KubeApiError,
    KubeObject,
    ObjectNotFound,
    Resource,
    Subscription,
    WatchEvent,
    name_of,
    thaw,
)
from tests.integration.differential.comparison import Sightings
from tests.integration.differential.steps import KINDS, Step

_MARKER = "zz-marker"
_NOBODY = "00000000-0000-4000-8000-00000000ffff"
_POLLS = 200
_BUGS = (AttributeError, IndexError, KeyError, TypeError, ValueError)  # of the twin, then

Answer = dict[str, Any]


class Server(Protocol):
    """A KubeApi, and what a test may do to the server behind it."""

    @property
    def api(self) -> KubeApi: ...

    def compact(self) -> None:
        """Forget every version but the newest."""

    def pause(self) -> None:
        """A moment for what is asynchronous."""

    def settle(self) -> None:
        """Give the garbage collector the time to act on all that was written."""


@dataclass(slots=True)
class _Watched:
    kind: str
    subscription: Subscription
    events: list[WatchEvent] = field(default_factory=list)
    gone: bool = False


class Side:
    """Carries out steps on one server. Answers are plain JSON that says nothing of which one.

    An answer has the call's `result` or `error`, and `after`: the object as it then is.
    """

    def __init__(self, server: Server, namespaces: Mapping[str, str]) -> None:
        """`namespaces`: the places of steps; a cluster-scoped name begins with that of `home`."""
        self._server, self._api = server, server.api
        self._namespaces = namespaces
        self._sightings = Sightings()
        self._seen: dict[tuple[str, str, str], list[KubeObject]] = {}
        self._made: dict[tuple[str, str], str] = {}
        self._pages: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._watches: list[_Watched] = []
        self._verbs: Mapping[str, Callable[[Step], Any]] = {
            "get": self._get,
            "create": self._create,
            "replace": self._replace,
            "patch": self._patch,
            "delete": self._delete,
            "list": self._list,
            "continue": self._continue,
            "watch": self._watch,
            "compact": self._compact,
            "settle": self._settle,
        }

    def carry_out(self, step: Step) -> Answer:
        """The answer to one step."""
        answer: Answer = {}
        try:
            answer["result"] = self._verbs[step.verb](step)
        except KubeApiError as error:
            answer["error"] = _told(error)
        except _BUGS as error:
            answer["error"] = {"class": f"crash: {error!r}"}
        if step.name and step.verb not in {"get", "watch"} and not _is_about_owners(step):
            try:
                answer["after"] = self._get(step)
            except KubeApiError as error:
                answer["after"] = _told(error)
        for watched in self._watches:  # so that nothing of it is forgotten
            self._take(watched)
        return answer

    def events(self) -> list[Answer]:
        """Each watch's events so far, object by object."""
        told = []
        for number, watched in enumerate(self._watches):
            self._mark(watched, number)
            by_name: dict[str, list[Any]] = {}
            last: dict[str, int] = {}
            for event in watched.events:
                name = name_of(event.object)
                if _MARKER in name or not self._is_ours(watched.kind, name):
                    continue
                version = int(event.object["metadata"]["resourceVersion"])
                assert version > last.get(name, 0), (watched.kind, name, "events out of order")
                last[name] = version
                shown = self._sightings.shown(event.object)
                by_name.setdefault(name, []).append([str(event.type), shown])
            told.append({"kind": watched.kind, "events": by_name, "gone": watched.gone})
        return told

    def close(self) -> None:
        """End the watches."""
        for watched in self._watches:
            watched.subscription.close()

    def objects(self) -> list[Any]:
        """Every object of the program that there is, masked all but for what it is."""
        return [
            obj
            for kind, resource in KINDS.items()
            if "/" not in kind and kind != "Event"
            for obj in self._api.list(resource, self._namespaces["home"]).items
            if self._is_ours(kind, name_of(obj))
        ]

    def shown(self, obj: KubeObject, *, seen: bool) -> Any:
        """An object as answers show it; `seen` False: it may be an old state."""
        if not seen:
            return self._sightings.shown(obj)
        self._remember(obj)
        return self._sightings.seen(obj)

    # --- verbs -----------------------------------------------------------------------------------

    def _get(self, step: Step) -> Any:
        obj = self._api.get(step.resource, self._name(step), self._namespace(step))
        return self.shown(obj, seen=True)

    def _create(self, step: Step) -> Any:
        body = self._resolved(step.options["body"], step)
        meta = {**body.get("metadata", {})}
        if step.name != "@made":
            meta.setdefault("name", self._name(step))
        if step.resource.namespaced:
            meta["namespace"] = self._namespaces[step.place]
        created = self._api.create(step.resource, {**body, "metadata": meta})
        if step.name == "@made":
            self._made[step.kind, step.place] = name_of(created)
        return self.shown(created, seen=True)

    def _replace(self, step: Step) -> Any:
        body = _merged(self._base(step), self._resolved(step.options["edit"], step))
        status = step.options.get("subresource") == "status"
        write = self._api.replace_status if status else self._api.replace
        return self.shown(write(step.resource, body), seen=True)

    def _patch(self, step: Step) -> Any:
        patched = self._api.patch(
            step.resource,
            self._name(step),
            self._namespace(step),
            self._resolved(step.options["patch"], step),
            patch_type=step.options.get("type", "merge"),
            subresource=step.options.get("subresource", ""),
        )
        return self.shown(patched, seen=True)

    def _delete(self, step: Step) -> None:
        options = self._resolved(step.options, step)
        self._api.delete(step.resource, self._name(step), self._namespace(step), **options)

    def _list(self, step: Step) -> Any:
        return self._listed(step, step.options)

    def _continue(self, step: Step) -> Any:
        token, options = self._pages.get(step.kind, ("", {}))
        if not token:
            return None
        return self._listed(step, {**options, "continue_token": token})

    def _listed(self, step: Step, options: Mapping[str, Any]) -> Any:
        found = self._api.list(step.resource, self._namespace(step), **options)
        given = {key: value for key, value in options.items() if key != "continue_token"}
        self._pages[step.kind] = found.continue_token, given
        ours = [obj for obj in found.items if self._is_ours(step.kind, name_of(obj))]
        items = [self.shown(obj, seen=not options.get("limit")) for obj in ours]
        if step.place == "other":  # the server made their names
            items.sort(key=lambda item: int(item["metadata"]["uid"].split()[1].rstrip(">")))
        return {"items": items, "more": bool(found.continue_token)}

    def _watch(self, step: Step) -> Any:
        start = step.options.get("from")
        namespace = self._namespace(step)
        if start is None:
            version = self._api.list(step.resource, namespace).resource_version
        else:
            version = self._resolved(start, step)
        subscription = self._api.watch(step.resource, namespace, resource_version=version)
        watched = _Watched(step.kind, subscription)
        self._watches.append(watched)
        if start is not None:
            self._mark(watched, len(self._watches))
        return {"gone": watched.gone}

    def _compact(self, _step: Step) -> None:
        for _ in range(2):  # what comes right after a version is still told
            meta = {"name": f"{_MARKER}-compact", "namespace": self._namespaces["home"]}
            self._api.create(CONFIG_MAP, {"metadata": meta})
            self._api.delete(CONFIG_MAP, meta["name"], meta["namespace"])
        self._server.compact()

    def _settle(self, _step: Step) -> None:
        self._server.settle()

    # --- parts -----------------------------------------------------------------------------------

    def _name(self, step: Step) -> str:
        if step.name == "@made":
            return self._made.get((step.kind, step.place), "nobody")
        return self._full_name(step.kind, step.name)

    def _full_name(self, kind: str, name: str) -> str:
        if KINDS[kind].namespaced:
            return name
        return f"{self._namespaces['home']}-{name}"

    def _namespace(self, step: Step) -> str | None:
        return self._namespaces[step.place] if step.resource.namespaced else None

    def _is_ours(self, kind: str, name: str) -> bool:
        return KINDS[kind].namespaced or name.startswith(f"{self._namespaces['home']}-")

    def _remember(self, obj: KubeObject) -> None:
        meta = obj["metadata"]
        seen = self._seen.setdefault((obj["kind"], meta.get("namespace", ""), meta["name"]), [])
        version = meta["resourceVersion"]
        if not seen or seen[-1]["metadata"]["resourceVersion"] != version:
            seen.append(obj)

    def _history(self, kind: str, name: str, place: str = "home") -> Sequence[KubeObject]:
        resource = KINDS[kind]
        namespace = self._namespaces[place] if resource.namespaced else ""
        return self._seen.get((resource.kind, namespace, self._full_name(kind, name)), ())

    def _base(self, step: Step) -> Any:
        """What a replacement is made from."""
        bare: Answer = {"metadata": {"name": self._name(step)}}
        if step.resource.namespaced:
            bare["metadata"]["namespace"] = self._namespace(step)
        history = self._history(step.kind, step.name, step.place)
        if not history or step.options["base"] == "bare":
            return bare
        index = -2 if step.options["base"] == "stale" and len(history) > 1 else -1
        base = thaw(history[index])
        base["apiVersion"] = step.resource.api_version
        return base

    def _resolved(self, value: Any, step: Step) -> Any:
        """A value of a step with this server's uids, versions and names in it."""
        if isinstance(value, Mapping):
            return {key: self._resolved(item, step) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._resolved(item, step) for item in value]
        if not isinstance(value, str) or not value.startswith("@"):
            return value
        word, _colon, which = value.partition(":")
        if word == "@name":
            return self._full_name(*which.rsplit("/", 1))
        kind, name = which.rsplit("/", 1) if "/" in which else (step.kind, step.name)
        history = self._history(kind, name)
        if word == "@uid":
            return history[-1]["metadata"]["uid"] if history else _NOBODY
        assert word == "@version", value
        index = -2 if which == "stale" and len(history) > 1 else -1
        return history[index]["metadata"]["resourceVersion"] if history else "1"

    def _take(self, watched: _Watched) -> None:
        try:
            watched.events.extend(watched.subscription.poll())
        except Gone:
            watched.gone = True

    def _mark(self, watched: _Watched, number: int) -> None:
        """Wait until the watch has told everything so far, by means of one more object."""
        name = self._full_name(watched.kind, f"{_MARKER}-{number}")
        resource = KINDS[watched.kind]
        put_marker(self._api, resource, name, self._namespaces["home"])
        for _ in range(_POLLS):
            self._take(watched)
            if watched.gone or any(name_of(event.object) == name for event in watched.events):
                break
            self._server.pause()
        else:
            raise AssertionError(f"a watch of {watched.kind} fell silent")
        self._api.delete(resource, name, self._namespaces["home"] if resource.namespaced else None)


_MARKER_BODIES: Mapping[str, Answer] = {
    "Workspace": {"resource": {"labelSelector": {}}},
    "Pod": {"spec": {"containers": [{"name": "a", "image": "b"}]}},
    "Service": {"spec": {"clusterIP": "None"}},
    "StatefulSet": {
        "spec": {
            "serviceName": "a",
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "a", "image": "b"}]},
            },
        }
    },
    "Job": {
        "spec": {
            "template": {
                "spec": {"containers": [{"name": "a", "image": "b"}], "restartPolicy": "Never"}
            }
        }
    },
}


def put_marker(
    api: KubeApi, resource: Resource, name: str, namespace: str, **metadata: Any
) -> None:
    """Store an object that no program knows."""
    meta = {"name": name, **metadata}
    body = dict(_MARKER_BODIES.get(resource.kind, {}))
    if resource.namespaced:
        meta["namespace"] = namespace
    if resource.kind == "Event":
        body["involvedObject"] = {"kind": "Pod", "namespace": namespace}
    api.create(resource, {**body, "metadata": meta})


def is_gone(api: KubeApi, resource: Resource, name: str, namespace: str | None) -> bool:
    try:
        api.get(resource, name, namespace)
    except ObjectNotFound:
        return True
    return False


def _is_about_owners(step: Step) -> bool:
    """Whether the garbage collector may act at once, so that only `settle` tells what is there."""
    meta = step.options.get("body", {}).get("metadata", {})
    return "propagation" in step.options or "ownerReferences" in meta


def _told(error: KubeApiError) -> Answer:
    return {
        "class": type(error).__name__,
        "code": error.code,
        "causes": ", ".join(sorted(set(error.causes))),
        "message": str(error),
    }


def _merged(target: Any, edit: Any) -> Any:
    """A JSON merge patch (RFC 7386), not by the code under test."""
    if not isinstance(edit, Mapping):
        return edit
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in edit.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged
