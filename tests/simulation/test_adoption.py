"""An installation of KAITO v0.12 is taken over: nothing is bought, nothing is restarted."""

import itertools
from collections.abc import Callable

import pytest

from kaito.adapters.fake.faults import FailAfter, Fault, StaleBy, Verb
from kaito.adapters.kube_api import (
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    KubeObject,
    Resource,
    annotations_of,
    condition_of,
    labels_of,
    name_of,
    thaw,
)
from kaito.domain import labels
from sim.recorder import is_ready
from tests.contract import kaito_v012 as kaito
from tests.simulation.kaito_v012 import NAME, NAMESPACE, Death, Migration

KINDS: tuple[Resource, ...] = (NODE_CLAIM, NODE, STATEFUL_SET, JOB, SERVICE, POD)
ADOPTED_WITHIN_S = 30.0
LONG_S = 900.0  # several looks for orphans, and a resync of every round
STYLE = {"adapters": [{"source": {"name": "style", "image": "registry.test/style:1"}}]}


def serving() -> Migration:
    play = Migration()
    play.order()
    play.serve()
    return play


def tuning(seconds: float) -> Migration:
    play = Migration(kaito.TUNING)
    play.order()
    play.tune(seconds=seconds)
    return play


def machines(play: Migration) -> list[str]:
    """The names of all machines that were ever ordered, and whether the cloud still has them."""
    assert play.world.running_machines() == list(play.world.cloud.lives)
    return [life.order.name for life in play.world.cloud.lives]


def specs(play: Migration) -> list[KubeObject]:
    """What KAITO asked for of its workload and Services."""
    return [
        obj["spec"] for kind in (STATEFUL_SET, JOB, SERVICE) for obj in play.world.objects(kind)
    ]


@pytest.mark.parametrize(
    "installed",
    [serving, lambda: tuning(300.0), lambda: tuning(1500.0)],
    ids=["serving", "tuning", "tuned"],
)
def test_what_runs_is_kept_and_comes_to_rest(installed: Callable[[], Migration]) -> None:
    play = installed()
    before, asked_for = play.uids(*KINDS), specs(play)
    play.start()
    play.run(ADOPTED_WITHIN_S)
    written = play.writes
    assert 0 < written <= 8
    assert play.uids(*KINDS) == before
    assert specs(play) == asked_for, "only metadata is written"
    assert machines(play) == [kaito.CLAIM]
    assert is_ready(play.get(WORKSPACE)) == _is_over(play)
    status = play.get(WORKSPACE)
    versions = [obj["metadata"]["resourceVersion"] for obj in play.world.objects(NODE_CLAIM)]
    play.run(300.0)
    assert play.writes == written
    assert play.get(WORKSPACE) == status
    assert versions == [
        obj["metadata"]["resourceVersion"] for obj in play.world.objects(NODE_CLAIM)
    ]


def _is_over(play: Migration) -> bool:
    jobs = play.world.objects(JOB)
    return not jobs or condition_of(jobs[0], "Complete") is not None


def test_the_machine_is_the_workspaces_own() -> None:
    play = serving()
    uid = play.get(WORKSPACE)["metadata"]["uid"]
    play.start()
    play.run(LONG_S)
    (node,) = play.world.objects(NODE)
    for obj in (play.get(NODE_CLAIM, kaito.CLAIM), node):
        assert labels_of(obj)[labels.WORKSPACE_UID] == uid
        assert labels_of(obj)[labels.SLOT] == "0"
        assert labels_of(obj)["apps"] == "phi-3"
    reasons = [event.reason for event in play.world.recorder.events()]
    assert reasons == ["MachineAdopted", "WorkloadAdopted"], "no readiness was lost and found"


def test_a_running_job_ends_as_it_would_have() -> None:
    play = tuning(300.0)
    before = play.uids(*KINDS)
    play.start()
    play.run(1500.0)
    assert is_ready(play.get(WORKSPACE))
    assert play.get(WORKSPACE)["status"]["state"] == "Succeeded"
    assert play.uids(*KINDS) == before
    assert machines(play) == [kaito.CLAIM]


def test_another_spec_rolls_out_in_place() -> None:
    play = serving()
    play.start()
    play.run(ADOPTED_WITHIN_S)
    before = play.uids(NODE_CLAIM, NODE, STATEFUL_SET, SERVICE)
    (pod,) = play.uids(POD)[POD.kind]
    play.store.patch(WORKSPACE, NAME, NAMESPACE, {"inference": STYLE})
    play.run(300.0)
    assert is_ready(play.get(WORKSPACE))
    assert play.uids(NODE_CLAIM, NODE, STATEFUL_SET, SERVICE) == before
    assert machines(play) == [kaito.CLAIM]
    (new,) = play.world.objects(POD)
    assert new["metadata"]["uid"] != pod
    assert "--enable-lora" in new["spec"]["containers"][0]["args"]
    assert not annotations_of(play.get(STATEFUL_SET))[labels.TEMPLATE_HASH].startswith("adopted")
    assert play.get(SERVICE)["spec"]["selector"] == {labels.WORKSPACE: NAME}, "of every pod"
    written = play.writes
    play.run(300.0)
    assert play.writes == written
    # Back to what KAITO ran: that is a change like any other.
    play.store.patch(WORKSPACE, NAME, NAMESPACE, {"inference": {"adapters": None}})
    play.run(300.0)
    assert is_ready(play.get(WORKSPACE))
    (last,) = play.world.objects(POD)
    assert last["spec"]["containers"][0]["command"] == [
        "python3",
        "/workspace/vllm/inference_api.py",
    ]


def test_another_spec_runs_another_job() -> None:
    play = tuning(1500.0)
    play.start()
    play.run(ADOPTED_WITHIN_S)
    (first,) = play.uids(JOB)[JOB.kind]
    urls = {"input": {"urls": ["https://example.com/other.parquet"]}}
    play.store.patch(WORKSPACE, NAME, NAMESPACE, {"tuning": urls})
    play.run(60.0)
    assert not is_ready(play.get(WORKSPACE))
    play.run(1500.0)
    assert is_ready(play.get(WORKSPACE))
    assert play.uids(JOB)[JOB.kind] != [first]
    assert machines(play) == [kaito.CLAIM]


@pytest.mark.parametrize("adopted_for_s", [0.0, 0.02, 0.04, ADOPTED_WITHIN_S])
def test_nothing_is_left_of_what_is_deleted(adopted_for_s: float) -> None:
    play = serving()
    play.start()
    if adopted_for_s:
        play.run(adopted_for_s)
    play.store.delete(WORKSPACE, NAME, NAMESPACE)
    play.run(300.0)
    assert play.leftovers() == []
    assert play.world.running_machines() == []


def test_a_machine_that_is_lost_later_is_replaced() -> None:
    """Its name was KAITO's; the next attempt's is kaito's, and the first is not given back twice
    or taken for a stray."""
    play = serving()
    play.start()
    play.run(ADOPTED_WITHIN_S)
    play.world.cloud.terminate(kaito.CLAIM)
    play.run(1200.0)
    assert is_ready(play.get(WORKSPACE))
    (life,) = play.world.running_machines()
    assert life.order.name != life.order.claim_name == kaito.CLAIM
    assert len(play.world.cloud.lives) == 2
    play.store.delete(WORKSPACE, NAME, NAMESPACE)
    play.run(300.0)
    assert play.leftovers() == []


def test_a_machine_that_stops_working_is_given_back_under_kaitos_name() -> None:
    """It is followed like any other: nobody has to lose it for it to be replaced."""
    play = serving()
    play.start()
    play.run(ADOPTED_WITHIN_S)
    (life,) = play.world.running_machines()
    play.world.node_faults.hang(life.node_name, for_s=None)
    play.run(1500.0)
    (new,) = play.world.running_machines()
    assert new.order.name != new.order.claim_name == kaito.CLAIM
    assert life.released_at_s is not None
    assert is_ready(play.get(WORKSPACE))
    assert [name_of(node) for node in play.world.objects(NODE)] == [new.node_name]


def test_a_pool_whose_nodeclaim_is_gone_is_collected_and_no_other() -> None:
    """gpu-provisioner was stopped before it could give it back."""
    play = serving()
    play.order("ws000000001")
    play.store.patch(NODE_CLAIM, "ws000000001", None, {"metadata": {"finalizers": None}})
    play.store.delete(NODE_CLAIM, "ws000000001")
    before = play.uids(*KINDS)
    play.world.operator.start()
    play.run(LONG_S)
    (left,) = play.world.running_machines()
    assert left.order.name == kaito.CLAIM
    assert is_ready(play.get(WORKSPACE))
    assert play.uids(POD, STATEFUL_SET, NODE_CLAIM).items() <= before.items()


def test_a_service_that_is_missing_is_made_again_and_finds_kaitos_pods() -> None:
    play = serving()
    play.start()
    play.run(ADOPTED_WITHIN_S)
    before = play.uids(POD, STATEFUL_SET)
    play.store.delete(SERVICE, NAME, NAMESPACE)
    play.run(ADOPTED_WITHIN_S)
    selector = play.get(SERVICE)["spec"]["selector"]
    (pod,) = play.world.objects(POD)
    assert selector.items() <= labels_of(pod).items()
    assert play.uids(POD, STATEFUL_SET) == before
    assert is_ready(play.get(WORKSPACE))


def test_a_machine_too_many_is_released_and_not_the_one_that_serves() -> None:
    """KAITO may create one more from an old list."""
    play = Migration()
    play.order()
    play.serve()
    spare = kaito.node_claim(play.stored, "ws000000000")
    play.store.create(NODE_CLAIM, spare)
    before = play.uids(POD, STATEFUL_SET)
    play.start()
    play.run(LONG_S)
    assert [name_of(claim) for claim in play.world.objects(NODE_CLAIM)] == [kaito.CLAIM]
    assert machines(play) == [kaito.CLAIM]
    assert play.uids(POD, STATEFUL_SET) == before
    assert is_ready(play.get(WORKSPACE))


def test_a_pod_template_of_the_users_is_taken_over_as_it_runs() -> None:
    pod = {"containers": [{"name": "own", "image": "registry.test/own:1"}]}
    play = Migration({"inference": {"template": {"spec": pod}}})
    play.order()
    play.serve()
    before = play.uids(*KINDS)
    play.start()
    play.run(LONG_S)
    assert play.uids(*KINDS) == before
    assert machines(play) == [kaito.CLAIM]
    assert is_ready(play.get(WORKSPACE))
    play.store.delete(WORKSPACE, NAME, NAMESPACE)
    play.run(300.0)
    assert play.leftovers() == []


def test_what_kaito_cannot_plan_keeps_running_and_is_released_in_the_end() -> None:
    """A model that kaito does not know: it says so, and touches nothing."""
    play = Migration({"inference": {"preset": {"name": "example/of-no-catalogue"}}})
    play.order()
    play.serve()
    before = play.uids(*KINDS)
    play.start()
    play.run(LONG_S)
    assert play.uids(*KINDS) == before
    assert machines(play) == [kaito.CLAIM]
    found = play.get(WORKSPACE)
    done, resources = (
        condition_of(found, kind) for kind in ("WorkspaceSucceeded", "ResourceReady")
    )
    assert done is not None
    assert done["reason"] == "InvalidSpec"
    assert resources is not None
    assert resources["status"] == "True"
    play.store.delete(WORKSPACE, NAME, NAMESPACE)
    play.run(300.0)
    assert play.leftovers() == []


def test_a_machine_whose_claim_nobody_adopts_is_no_orphan() -> None:
    """Its Workspace is gone; the record still says that somebody wants it."""
    play = Migration()
    play.order()
    play.store.patch(WORKSPACE, NAME, NAMESPACE, {"metadata": {"finalizers": None}})
    play.store.delete(WORKSPACE, NAME, NAMESPACE)
    play.world.operator.start()
    play.world.env.run(until=play.world.env.now + LONG_S)
    assert machines(play) == [kaito.CLAIM]
    assert play.writes == 0


@pytest.mark.parametrize("lag_s", [1.0, 30.0, 100.0, 150.0, 175.0])
def test_an_operator_that_reads_old_states_takes_over_all_the_same(lag_s: float) -> None:
    """The oldest are from before there was a Node, and before there were pods."""
    play = serving()
    before = play.uids(*KINDS)
    until_s = play.world.now_s() + 400.0

    def stale(verb: Verb) -> Fault | None:
        is_read = verb in {"get", "list"}
        return StaleBy(lag_s) if is_read and play.world.now_s() < until_s else None

    play.world.kube_fault = stale
    play.start()
    play.run(400.0 + LONG_S)
    assert play.uids(*KINDS) == before
    assert machines(play) == [kaito.CLAIM]
    assert is_ready(play.get(WORKSPACE))
    assert labels.WORKSPACE_UID in labels_of(play.get(NODE_CLAIM, kaito.CLAIM))


def without_history(obj: KubeObject) -> KubeObject:
    """The object without what depends on when and how often it was written."""
    copy = thaw(obj)
    copy["metadata"].pop("resourceVersion")
    for found in (copy.get("status") or {}).get("conditions") or ():
        found.pop("lastTransitionTime", None)
    plain: KubeObject = copy
    return plain


def end_of(play: Migration) -> list[KubeObject]:
    return [
        without_history(obj) for kind in (*KINDS, WORKSPACE) for obj in play.world.objects(kind)
    ]


@pytest.mark.parametrize("fault", [None, FailAfter()], ids=["dies", "loses the answer"])
@pytest.mark.parametrize("installed", [serving, lambda: tuning(1500.0)], ids=["serving", "tuned"])
def test_the_operator_dies_at_every_write(
    installed: Callable[[], Migration], fault: Fault | None
) -> None:
    usual = installed()
    usual.start()
    usual.run(120.0)
    assert usual.writes > 3
    for at_write in range(1, usual.writes + 1):
        play = installed()
        Death(play, at_write, fault)
        play.start()
        play.run(120.0)
        assert end_of(play) == end_of(usual), f"write {at_write}"
        assert machines(play) == [kaito.CLAIM], f"write {at_write}"
        written = play.writes
        play.run(LONG_S)
        assert play.writes == written, f"write {at_write}"


@pytest.mark.parametrize("fault", [None, FailAfter()], ids=["dies", "loses the answer"])
def test_the_operator_dies_at_every_write_of_adoption_and_release(fault: Fault | None) -> None:
    """It is started after the Workspace was deleted, and must release what it has never seen."""
    for at_write in itertools.count(1):
        play = serving()
        Death(play, at_write, fault)
        play.store.delete(WORKSPACE, NAME, NAMESPACE)
        play.start()
        play.run(400.0)
        assert play.leftovers() == [], f"write {at_write}"
        assert play.world.running_machines() == [], f"write {at_write}"
        if play.writes < at_write:
            assert at_write > 5
            return
