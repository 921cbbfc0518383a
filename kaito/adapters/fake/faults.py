"""A KubeApi that lies, fails and forgets: what an operator meets on a bad day."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

from kaito.adapters.fake.dropped_watches import DroppedWatches
from kaito.adapters.fake.selectors import label_selector
from kaito.adapters.kube_api import (
    EventType,
    Json,
    KubeApi,
    KubeObject,
    ObjectList,
    ObjectNotFound,
    PatchType,
    Propagation,
    Resource,
    ServerUnavailable,
    Subscription,
    name_of,
    namespace_of,
)

ResultT = TypeVar("ResultT")
Verb: TypeAlias = Literal[
    "get", "list", "create", "replace", "replace_status", "patch", "delete", "evict", "watch"
]


@dataclass(frozen=True, slots=True)
class FailBefore:
    """The call does nothing, and the caller hears that the outcome is unknown."""


@dataclass(frozen=True, slots=True)
class FailAfter:
    """The call does its work, and the caller hears that the outcome is unknown."""


@dataclass(frozen=True, slots=True)
class StaleBy:
    """A read is answered as it would have been `lag_s` seconds ago; writes are not affected."""

    lag_s: float


Fault: TypeAlias = FailBefore | FailAfter | StaleBy


class _History:
    """Every state that one resource's objects were ever in, since the history began."""

    def __init__(
        self, api: KubeApi, resource: Resource, now_s: float, wake: Callable[[], None]
    ) -> None:
        self._api = api
        self._resource = resource
        self._began_s = now_s
        self._states: dict[tuple[str, str], tuple[list[float], list[KubeObject | None]]] = {}
        page = api.list(resource)
        for obj in page.items:
            self._add(obj, now_s, obj)
        self._subscription: Subscription = api.watch(
            resource, resource_version=page.resource_version, wake=wake
        )

    def follow(self, now_s: float) -> None:
        for event in self._subscription.poll():
            gone = event.type is EventType.DELETED
            self._add(event.object, now_s, None if gone else event.object)

    def at(self, moment_s: float) -> dict[tuple[str, str], KubeObject]:
        moment_s = max(moment_s, self._began_s)
        found = {}
        for key, (times, states) in sorted(self._states.items()):
            index = bisect_right(times, moment_s) - 1
            state = states[index] if index >= 0 else None
            if state is not None:
                found[key] = state
        return found

    def _add(self, obj: KubeObject, now_s: float, state: KubeObject | None) -> None:
        key = (namespace_of(obj), name_of(obj))
        times, states = self._states.setdefault(key, ([], []))
        times.append(now_s)
        states.append(state)


class FaultyKubeApi:
    """Another `KubeApi`, seen through faults. `choose` names the fault of each call, or None.

    Stale reads are of the `remembered` resources only. Call `step` whenever `wake` is called, so
    that it knows what was when. `choose` may raise: the operator's process dies at that call.
    """

    def __init__(
        self,
        inner: KubeApi,
        *,
        now_s: Callable[[], float],
        choose: Callable[[Verb], Fault | None],
        wake: Callable[[], None],
        remembered: tuple[Resource, ...] = (),
    ) -> None:
        self._inner = inner
        self._now_s = now_s
        self._choose = choose
        self._wake = wake
        self._watches = DroppedWatches()
        self._histories = {
            resource.plural: _History(inner, resource, now_s(), wake) for resource in remembered
        }

    def step(self, now_s: float) -> float | None:
        """Note what has changed, as of now; the next time something happens by itself."""
        for history in self._histories.values():
            history.follow(now_s)
        return self._watches.step(now_s)

    def drop_watches(self, *, until_s: float) -> None:
        """Let nothing arrive on the open watches from now on; then they raise Gone."""
        self._watches.drop(until_s=until_s)
        self._wake()

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> KubeObject:
        fault = self._choose("get")
        if fault is None:
            return self._inner.get(resource, name, namespace)
        history = self._histories.get(resource.plural)
        if isinstance(fault, StaleBy) and history is not None:
            past = history.at(self._now_s() - fault.lag_s)
            found = past.get((namespace or "", name))
            if found is None:
                raise ObjectNotFound(f'{resource.plural} "{name}" not found')
            return found
        return self._through(fault, lambda: self._inner.get(resource, name, namespace))

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | str | None = None,
        fields: Mapping[str, str] | None = None,
        limit: int | None = None,
        continue_token: str = "",
    ) -> ObjectList:
        fault = self._choose("list")
        if fault is None and not (fields or limit or continue_token):
            return self._inner.list(resource, namespace, labels=labels)
        history = self._histories.get(resource.plural)
        if isinstance(fault, StaleBy) and history is not None and not fields and not limit:
            past = history.at(self._now_s() - fault.lag_s)
            selector = label_selector(labels)
            items = tuple(
                obj
                for (within, _), obj in past.items()
                if namespace in {None, within} and selector.matches(obj)
            )
            return ObjectList(items, "0")
        return self._through(
            fault,
            lambda: self._inner.list(
                resource,
                namespace,
                labels=labels,
                fields=fields,
                limit=limit,
                continue_token=continue_token,
            ),
        )

    def create(self, resource: Resource, body: KubeObject) -> KubeObject:
        return self._through(self._choose("create"), lambda: self._inner.create(resource, body))

    def replace(self, resource: Resource, body: KubeObject) -> KubeObject:
        return self._through(self._choose("replace"), lambda: self._inner.replace(resource, body))

    def replace_status(self, resource: Resource, body: KubeObject) -> KubeObject:
        return self._through(
            self._choose("replace_status"), lambda: self._inner.replace_status(resource, body)
        )

    def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        patch: Json,
        *,
        patch_type: PatchType = "merge",
        subresource: Literal["", "status"] = "",
    ) -> KubeObject:
        return self._through(
            self._choose("patch"),
            lambda: self._inner.patch(
                resource, name, namespace, patch, patch_type=patch_type, subresource=subresource
            ),
        )

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: Propagation = "Background",
        grace_period_s: int | None = None,
    ) -> None:
        self._through(
            self._choose("delete"),
            lambda: self._inner.delete(
                resource,
                name,
                namespace,
                uid=uid,
                resource_version=resource_version,
                propagation=propagation,
                grace_period_s=grace_period_s,
            ),
        )

    def evict(self, name: str, namespace: str, *, uid: str | None = None) -> None:
        self._through(self._choose("evict"), lambda: self._inner.evict(name, namespace, uid=uid))

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        wake: Callable[[], None] | None = None,
    ) -> Subscription:
        if isinstance(self._choose("watch"), FailBefore | FailAfter):
            raise ServerUnavailable("the watch could not be opened")
        return self._watches.open(
            wake,
            lambda own: self._inner.watch(
                resource, namespace, resource_version=resource_version, wake=own
            ),
        )

    def _through(self, fault: Fault | None, call: Callable[[], ResultT]) -> ResultT:
        if isinstance(fault, FailBefore):
            raise ServerUnavailable("the connection was lost before the request was sent")
        result = call()
        if isinstance(fault, FailAfter):
            raise ServerUnavailable("the connection was lost before the answer came")
        return result
