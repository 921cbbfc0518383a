"""The history of a Workspace, whatever happens to the operator: gone on with where KAITO v0.12 left
it, complete, and written once for each change."""

from collections.abc import Mapping
from typing import Any

import pytest

from kaito.adapters.fake.faults import FailAfter, Fault, StaleBy, Verb
from kaito.adapters.kube_api import (
    CONTROLLER_REVISION,
    STATEFUL_SET,
    WORKSPACE,
    KubeObject,
    name_of,
    thaw,
)
from kaito.domain import labels
from kaito.domain.revisions import HISTORY_LIMIT
from sim.recorder import is_ready
from tests.simulation.kaito_v012 import NAME, NAMESPACE, Death, Migration

STEP_S = 120.0


def serving() -> Migration:
    play = Migration()
    play.order()
    play.serve()
    return play


def adapters(*names: str) -> dict[str, Any]:
    """A patch to these adapters, which is what decides the spec here."""
    made = [{"source": {"name": name, "image": f"registry.test/{name}:1"}} for name in names]
    return {"inference": {"adapters": made or None}}


def revisions(play: Migration) -> list[KubeObject]:
    """The Workspace's history, oldest first; a StatefulSet's own is left out."""
    found = [
        one
        for one in play.world.objects(CONTROLLER_REVISION)
        if labels.HISTORY_OF in one["metadata"]["labels"]
    ]
    return sorted(found, key=lambda one: int(one["revision"]))


def told(play: Migration) -> list[tuple[int, str, Mapping[str, Any]]]:
    """Number, name and `inference` of each revision, oldest first."""
    return [(one["revision"], name_of(one), one["data"]["inference"]) for one in revisions(play)]


def change(play: Migration, *names: str) -> None:
    play.store.patch(WORKSPACE, NAME, NAMESPACE, adapters(*names))
    play.run(STEP_S)


def played(fault: Fault | None = None, at_write: int = 0) -> Migration:
    """KAITO's spec, then another one, and KAITO's again."""
    play = serving()
    Death(play, at_write, fault)
    play.start()
    play.run(STEP_S)
    for names in (("one",), ()):
        change(play, *names)
    return play


@pytest.mark.parametrize("fault", [None, FailAfter()], ids=["dies", "loses the answer"])
def test_the_operator_dies_at_every_write(fault: Fault | None) -> None:
    usual = played()
    history = told(usual)
    assert [number for number, *_ in history] == [2, 3]
    assert history[-1][2] == usual.get(WORKSPACE)["inference"], (
        "what KAITO served is the newest again"
    )
    assert usual.writes > 10
    for at_write in range(1, usual.writes + 1):
        play = played(fault, at_write)
        assert told(play) == history, f"write {at_write}"
        assert is_ready(play.get(WORKSPACE)), f"write {at_write}"


def test_a_round_without_a_change_writes_nothing() -> None:
    play = played()
    before, written = revisions(play), play.writes
    play.run(2000.0)
    assert revisions(play) == before
    assert play.writes == written


def test_ten_are_kept_and_one_of_them_is_the_spec_of_now() -> None:
    play = serving()
    play.start()
    for at in range(HISTORY_LIMIT + 2):
        change(play, f"adapter-{at}")
    kept = revisions(play)
    assert [one["revision"] for one in kept] == [*range(4, HISTORY_LIMIT + 4)]
    assert kept[-1]["data"]["inference"] == play.get(WORKSPACE)["inference"]


def test_going_back_is_one_patch_of_what_was_kept() -> None:
    play = serving()
    play.start()
    play.run(STEP_S)
    first = thaw(play.get(WORKSPACE)["inference"])
    change(play, "one")
    (kaitos, _) = revisions(play)
    back = [{"op": "replace", "path": "/inference", "value": thaw(kaitos["data"]["inference"])}]
    play.store.patch(WORKSPACE, NAME, NAMESPACE, back, patch_type="json")
    play.run(STEP_S)
    assert play.get(WORKSPACE)["inference"] == first
    assert [number for number, *_ in told(play)] == [2, 3]
    assert told(play)[-1][2] == first
    assert is_ready(play.get(WORKSPACE))
    args = play.get(STATEFUL_SET)["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--enable-lora" not in args


def test_the_spec_of_now_is_kept_again_when_somebody_deletes_it() -> None:
    play = serving()
    play.start()
    change(play, "one")
    before = told(play)
    new = revisions(play)[-1]
    play.store.delete(CONTROLLER_REVISION, name_of(new), NAMESPACE)
    play.run(5.0)
    assert told(play) == before
    assert revisions(play)[-1]["metadata"]["uid"] != new["metadata"]["uid"]


def test_nothing_is_kept_while_it_is_paused() -> None:
    play = serving()
    play.start()
    play.run(STEP_S)
    paused = {"metadata": {"annotations": {labels.PAUSED: "true"}}}
    play.store.patch(WORKSPACE, NAME, NAMESPACE, paused)
    for names in (("one",), ("two",)):
        change(play, *names)
    assert [number for number, *_ in told(play)] == [1]
    going_on = {"metadata": {"annotations": {labels.PAUSED: None}}}
    play.store.patch(WORKSPACE, NAME, NAMESPACE, going_on)
    play.run(STEP_S)
    assert [number for number, *_ in told(play)] == [1, 2]
    assert told(play)[-1][2] == play.get(WORKSPACE)["inference"]


@pytest.mark.parametrize("lag_s", [1.0, 40.0, 130.0])
def test_an_operator_that_reads_old_states_puts_it_right(lag_s: float) -> None:
    play = serving()
    until_s = play.world.now_s() + 3 * STEP_S

    def stale(verb: Verb) -> Fault | None:
        is_read = verb in {"get", "list"}
        return StaleBy(lag_s) if is_read and play.world.now_s() < until_s else None

    play.world.kube_fault = stale
    play.start(calm_from_s=until_s + lag_s)
    for names in (("one",), ("two",), ("one",)):
        change(play, *names)
    play.run(900.0)
    kept = told(play)
    numbers = [number for number, *_ in kept]
    assert numbers == sorted(set(numbers))
    assert kept[-1][2] == play.get(WORKSPACE)["inference"]
    assert len({name for _, name, _ in kept}) == len(kept) <= 3


def test_it_goes_with_its_workspace() -> None:
    play = played()
    play.store.delete(WORKSPACE, NAME, NAMESPACE)
    play.run(300.0)
    assert revisions(play) == []
    assert play.leftovers() == []
