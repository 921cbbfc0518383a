"""Random programs, each a function of its seed: calls of every kind, deletions that the garbage
collector has a part in, and histories that the servers forget.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from tests.integration.differential.manifests import (
    BAD_BODIES,
    BAD_METADATA,
    BODIES,
    EDITS,
    STATUSES,
    labels,
)
from tests.integration.differential.steps import KINDS, Place, Program, Step

Theme = Literal["calls", "collection", "history"]

# Those that are compared in full come up more often.
_CALLED = (
    *("Workspace",) * 5,
    *("Workspace/v1alpha1",) * 2,
    *("NodeClaim",) * 3,
    *("ConfigMap",) * 4,
    *("Pod", "Service", "StatefulSet", "Job", "Node") * 2,
)
_OWNING = ("Workspace", "ConfigMap", "StatefulSet", "NodeClaim", "Pod")
_PAGED = ("Workspace", "ConfigMap", "Pod", "Service", "StatefulSet", "Job", "Event")
_WATCHED = ("Workspace", "NodeClaim", "ConfigMap", "Pod", "Service", "StatefulSet", "Job", "Node")
_NAMES = "abcd"
_FINALIZERS = ("kaito.sh/one", "kaito.sh/two")
_SELECTORS = (
    "app=x",
    "app!=x",
    "app in (x, y),tier",
    "!app",
    "tier>1",
    "app notin (x),tier in (1,2)",
    "app==y,tier=2",
)
_BAD_SELECTORS = ("a in (", "a b", "=x", "a=b c", "tier>high")
_FIELDS: tuple[dict[str, str], ...] = (
    {"metadata.name": "a"},
    {"metadata.name": "b", "metadata.namespace": "default"},
    {"spec.colour": "red"},
)
_POD_FIELDS = ({"spec.nodeName": "node-of-nobody"}, {"status.phase": "Pending"})

_LABELS = ("app", "tier", "more")
_JSON_PATCHES: tuple[list[dict[str, Any]], ...] = (
    [{"op": "add", "path": "/metadata/labels", "value": {"app": "x", "tier": "3"}}],
    [{"op": "add", "path": "/metadata/labels/tier", "value": "2"}],
    *([{"op": "replace", "path": f"/metadata/labels/{key}", "value": "3"}] for key in _LABELS),
    [{"op": "remove", "path": "/metadata/labels"}],
    [{"op": "remove", "path": "/metadata/labels/app"}],
    [{"op": "add", "path": "/metadata/annotations", "value": {"note": "1"}}],
    [
        {"op": "test", "path": "/metadata/labels/app", "value": "x"},
        {"op": "add", "path": "/metadata/annotations", "value": {"was": "x"}},
    ],
    [{"op": "test", "path": "/metadata/name", "value": "nobody"}],
    [{"op": "copy", "from": "/metadata/name", "path": "/metadata/labels/copied"}],
    [{"op": "move", "from": "/metadata/labels/app", "path": "/metadata/labels/moved"}],
    [{"op": "add", "path": "/absent/deep/er", "value": 1}],
    [{"op": "add", "path": "/metadata/finalizers", "value": ["kaito.sh/one"]}],
    [{"op": "add", "path": "/metadata/finalizers/0", "value": "kaito.sh/two"}],
    [{"op": "remove", "path": "/metadata/finalizers/0"}],
    [{"op": "remove", "path": "/metadata/finalizers"}],
    [{"op": "replace", "path": "/metadata/name", "value": "renamed"}],
    [{"op": "replace", "path": "/kind", "value": "Else"}],
    [{"op": "frobnicate", "path": "/metadata"}],
    [{"op": "replace", "path": "/metadata/resourceVersion", "value": "@version:stale"}],
    [{"op": "test", "path": "/metadata/resourceVersion", "value": "@version"}],
    [{"op": "test", "path": "/metadata/resourceVersion", "value": "@version:stale"}],
    [{"op": "remove", "path": "/metadata"}],
    [],
)
_META_EDITS: tuple[dict[str, Any], ...] = (
    {"labels": {"app": "y"}},
    {"labels": {"app": None, "tier": "1"}},
    {"labels": None},
    {"annotations": {"note": "text"}},
    {"annotations": None},
    {"generation": 99},
    {"creationTimestamp": "2020-01-01T00:00:00Z"},
    {"creationTimestamp": None},
    {"deletionTimestamp": "2020-01-01T00:00:00Z"},
    {"uid": "00000000-0000-4000-8000-000000000000"},
    {"uid": "@uid"},
    {"name": "renamed"},
    {"namespace": "elsewhere"},
    {"generateName": "made-"},
    {"selfLink": "/somewhere"},
    {"ownerReferences": []},
    {"resourceVersion": None},
    {"surprise": "unknown"},
    {},
)


def program_of(theme: Theme, seed: int) -> Program:
    """The program of that seed."""
    rng = Random(f"{theme} {seed}")
    steps = {"calls": _calls, "collection": _collection, "history": _history}[theme](rng)
    return Program(f"{theme} {seed}", tuple(steps))


# --- calls ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Guess:
    """What is probably there, so that most steps are about something."""

    rng: Random
    there: dict[tuple[str, str], None] = field(default_factory=dict)

    def pick(self, kinds: Sequence[str] = _CALLED) -> tuple[str, str]:
        """A kind and name, mostly of an object that is there."""
        known = [key for key in self.there if key[0] in kinds]
        if known and self.rng.random() < 0.9:
            return self.rng.choice(known)
        return self.rng.choice(kinds), self.rng.choice(_NAMES)


def _calls(rng: Random) -> list[Step]:
    guess = _Guess(rng)
    kinds = rng.sample(_WATCHED, 3)
    steps = [Step("watch", kind) for kind in kinds]
    steps += [_create(rng, guess, rng.choice(_CALLED)) for _ in range(8)]
    makers = {
        _any_create: 4,
        _bad_create: 3,
        _replace: 5,
        _merge: 7,
        _finalize: 4,
        _json: 4,
        _status: 8,
        _delete: 6,
        _page: 5,
        _select: 2,
        _elsewhere: 1,
    }
    for maker in rng.choices(list(makers), list(makers.values()), k=50):
        steps.extend(maker(rng, guess))
    return steps


def _create(rng: Random, guess: _Guess, kind: str) -> Step:
    name = rng.choice(_NAMES)
    meta: dict[str, Any] = {}
    if rng.random() < 0.7:
        meta["labels"] = labels(rng)
    if rng.random() < 0.25:
        meta["finalizers"] = list(_FINALIZERS[: rng.randint(1, 2)])
    if rng.random() < 0.1:
        meta.update(uid="mine", generation=7, creationTimestamp="2020-01-01T00:00:00Z")
    guess.there[kind, name] = None
    return Step("create", kind, name, options={"body": {**BODIES[kind](rng), "metadata": meta}})


def _any_create(rng: Random, guess: _Guess) -> list[Step]:
    return [_create(rng, guess, rng.choice(_CALLED))]


def _bad_create(rng: Random, _guess: _Guess) -> list[Step]:
    kind = rng.choice(_CALLED).removesuffix("/v1alpha1")
    body = dict(rng.choice(BAD_BODIES[kind])) if rng.random() < 0.6 else BODIES[kind](rng)
    meta = dict(rng.choice(BAD_METADATA)) if rng.random() < 0.5 else {}
    if rng.random() < 0.05:
        body["kind"] = "Else"
    return [Step("create", kind, "bad", options={"body": {**body, "metadata": meta}})]


def _edit(rng: Random, kind: str) -> dict[str, Any]:
    edit = rng.choice(EDITS[kind.removesuffix("/v1alpha1")])
    meta = rng.choice(_META_EDITS)
    if kind == "Job" and "uid" in meta:  # its selector follows from the uid: many problems at once
        meta = {}
    if rng.random() < 0.3:
        return {"metadata": meta}
    return {**edit, "metadata": meta} if rng.random() < 0.2 else edit


def _replace(rng: Random, guess: _Guess) -> list[Step]:
    kind, name = guess.pick()
    base = rng.choices(["current", "stale", "bare"], [5, 5, 2])[0]
    options: dict[str, Any] = {"base": base, "edit": _edit(rng, kind)}
    if rng.random() < 0.2:
        statuses = STATUSES[kind.removesuffix("/v1alpha1")]
        options = {"base": base if base != "bare" else "current", "subresource": "status"}
        options["edit"] = {"status": rng.choice(statuses)}
    return [Step("replace", kind, name, options=options)]


def _merge(rng: Random, guess: _Guess) -> list[Step]:
    kind, name = guess.pick()
    patch = _edit(rng, kind)
    version = rng.choices([None, "@version", "@version:stale"], [5, 2, 4])[0]
    if version:
        patch = {**patch, "metadata": {**patch.get("metadata", {}), "resourceVersion": version}}
    return [Step("patch", kind, name, options={"patch": patch})]


def _finalize(rng: Random, guess: _Guess) -> list[Step]:
    kind, name = guess.pick()
    finalizers = rng.choice([None, [], ["kaito.sh/one"], ["kaito.sh/two"], list(_FINALIZERS)])
    change = Step("patch", kind, name, options={"patch": {"metadata": {"finalizers": finalizers}}})
    if rng.random() < 0.4:
        return [change, Step("delete", kind, name), change]
    return [change]


def _json(rng: Random, guess: _Guess) -> list[Step]:
    kind, name = guess.pick()
    return [Step("patch", kind, name, options={"patch": rng.choice(_JSON_PATCHES), "type": "json"})]


def _status(rng: Random, guess: _Guess) -> list[Step]:
    kind, name = guess.pick()
    status = rng.choice(STATUSES[kind.removesuffix("/v1alpha1")])
    patch: dict[str, Any] = {"status": status}
    if rng.random() < 0.3:
        patch.update(_edit(rng, kind))
        patch["status"] = status
    if rng.random() < 0.2:
        patch.setdefault("metadata", {})
        patch["metadata"] = {**patch["metadata"], "resourceVersion": "@version:stale"}
    return [Step("patch", kind, name, options={"patch": patch, "subresource": "status"})]


def _delete(rng: Random, guess: _Guess) -> list[Step]:
    kind, name = guess.pick()
    options: dict[str, Any] = {}
    if rng.random() < 0.3:
        options["uid"] = rng.choice(["@uid", "wrong"])
    if rng.random() < 0.4:
        options["resource_version"] = rng.choice(["@version", "@version:stale", "1"])
    if rng.random() < 0.3:
        options["grace_period_s"] = rng.choice([0, 1, 30, 90])
    if rng.random() < 0.5:
        guess.there.pop((kind, name), None)
    return [Step("delete", kind, name, options=options)]


def _page(rng: Random, guess: _Guess) -> list[Step]:
    counts = {kind: sum(each == kind for each, _name in guess.there) for kind in _PAGED}
    kind = rng.choice([kind for kind in _PAGED if counts[kind] > 1] or _PAGED)
    options: dict[str, Any] = {"limit": rng.choice([1, 1, 2])}
    if rng.random() < 0.3:
        options["labels"] = rng.choice(_SELECTORS)
    between = rng.choice([_merge, _delete, _any_create])
    steps = [Step("list", kind, options=options)]
    if rng.random() < 0.5:
        steps += between(rng, guess)
    return [*steps, Step("continue", kind), Step("continue", kind)]


def _select(rng: Random, guess: _Guess) -> list[Step]:
    kind, _name = guess.pick()
    if rng.random() < 0.7:
        pool = _SELECTORS if rng.random() < 0.8 else _BAD_SELECTORS
        options: dict[str, Any] = {"labels": rng.choice(pool)}
    else:
        options = {"fields": rng.choice(_POD_FIELDS if kind == "Pod" else _FIELDS)}
    return [Step("list", kind, options=options)]


def _elsewhere(rng: Random, guess: _Guess) -> list[Step]:
    """A namespace that does not exist, or one where names are made by the server."""
    kind = rng.choice([kind for kind in _CALLED if KINDS[kind].namespaced])
    name = rng.choice(_NAMES)
    body = {**BODIES[kind](rng), "metadata": {}}
    gone: Place = "absent"
    match rng.randrange(3):
        case 0:
            return [
                Step("create", kind, name, gone, {"body": body}),
                Step("get", kind, name, gone),
                Step("patch", kind, name, gone, {"patch": {}}),
                Step("delete", kind, name, gone),
                Step("list", kind, place=gone),
            ]
        case _:
            made = rng.choice(["Workspace", "ConfigMap"])
            meta = {"generateName": f"made-{rng.randrange(10)}-", "labels": labels(rng)}
            body = {**BODIES[made](rng), "metadata": meta}
            return [
                Step("create", made, "@made", "other", {"body": body}),
                Step("patch", made, "@made", "other", {"patch": _edit(rng, made)}),
                Step("list", made, place="other"),
            ]


# --- collection ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Grown:
    """An object of a forest; only one that `may_own` gets dependents."""

    kind: str
    name: str
    root: str
    may_own: bool
    is_held: bool


def _collection(rng: Random) -> list[Step]:
    """A forest of owners and dependents, then deletions, each with time for the collector.

    Who owns others has one owner that is there, which waits for it; everything else is a leaf. Of
    other forests a real collector makes one thing or another, by who is quicker.
    """
    steps: list[Step] = []
    grown: list[_Grown] = []
    for index in range(14):
        step, made = _grow(rng, f"o{index}", grown)
        steps.append(step)
        grown.append(made)
    steps.append(Step("settle"))
    for each in rng.sample(grown[:8], 4):
        steps += [_uproot(rng, each.kind, each.name), Step("settle")]
    release = {"patch": {"metadata": {"finalizers": None}}}
    for each in grown:
        if each.is_held:
            steps += [Step("patch", each.kind, each.name, options=release), Step("settle")]
    return steps


def _grow(rng: Random, name: str, grown: Sequence[_Grown]) -> tuple[Step, _Grown]:
    kind = rng.choice(_OWNING)
    meta: dict[str, Any] = {"labels": labels(rng)}
    owners = _owners(rng, kind, grown)
    is_waited_for = rng.random() < 0.8
    is_leaf = len(owners) == 2 or (len(owners) == 1 and not is_waited_for)
    if owners:
        references = [_reference(each, blocks=is_waited_for) for each in owners]
        if is_leaf and rng.random() < 0.4:
            references[0]["uid"] = "00000000-0000-4000-8000-000000000000"  # nobody's
        meta["ownerReferences"] = references
    is_held = rng.random() < 0.1
    if is_held:
        meta["finalizers"] = ["kaito.sh/one"]
    body = {**BODIES[kind](rng), "metadata": meta}
    made = _Grown(
        kind,
        name,
        root=owners[0].root if owners else name,
        may_own=not is_leaf,
        is_held=is_held,
    )
    return Step("create", kind, name, options={"body": body}), made


def _owners(rng: Random, kind: str, grown: Sequence[_Grown]) -> list[_Grown]:
    """Owners that an object of that kind can have: a cluster-scoped one none with a namespace."""
    fitting = [
        each
        for each in grown
        if each.may_own and (KINDS[kind].namespaced or not KINDS[each.kind].namespaced)
    ]
    if not fitting or rng.random() < 0.2:
        return []
    first = rng.choice(fitting)
    others = [each for each in fitting if each.root != first.root]
    return [first, rng.choice(others)] if others and rng.random() < 0.2 else [first]


def _reference(owner: _Grown, *, blocks: bool) -> dict[str, Any]:
    where = f"{owner.kind}/{owner.name}"
    resource = KINDS[owner.kind]
    reference: dict[str, Any] = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": f"@name:{where}",
        "uid": f"@uid:{where}",
    }
    if blocks:
        reference["blockOwnerDeletion"] = True
    return reference


def _uproot(rng: Random, kind: str, name: str) -> Step:
    if rng.random() < 0.15:
        patch = {"metadata": {"ownerReferences": None}}
        return Step("patch", kind, name, options={"patch": patch})
    propagation = rng.choice(["Background", "Background", "Foreground", "Orphan"])
    return Step("delete", kind, name, options={"propagation": propagation, "grace_period_s": 0})


# --- history -------------------------------------------------------------------------------------


def _history(rng: Random) -> list[Step]:
    """Pages begun and versions seen, all forgotten; then everything begins anew."""
    steps: list[Step] = []
    kinds = rng.sample(_PAGED, 5)
    for kind in dict.fromkeys((*kinds, "Event")):
        for name in "ab":
            meta = {"labels": labels(rng)}
            body = {**BODIES[kind](rng), "metadata": meta}
            body.pop("immutable", None)
            steps.append(Step("create", kind, name, options={"body": body}))
    for round_number in range(2):
        for kind in kinds:
            first = Step("list", kind, options={"limit": 1})
            steps += [first, Step("continue", kind), first]
        for kind in rng.sample(kinds, 2):
            edit = {"metadata": {"annotations": {"round": str(round_number)}}}
            steps.append(Step("patch", kind, rng.choice("ab"), options={"patch": edit}))
        steps.append(Step("compact"))
        steps += [Step("continue", kind) for kind in kinds]
        steps += [Step("watch", "Event", name, options={"from": "@version"}) for name in "ab"]
        steps.append(Step("list", "Event"))
        steps.append(Step("watch", "Event"))
        for name in "ab":
            edit = {"count": round_number + 5}
            steps.append(Step("patch", "Event", name, options={"patch": edit}))
    return steps
