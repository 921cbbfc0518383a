"""The contract of `MachineCloud` on the real Azure SDK, over TLS on the twin's ARM; and what only
Azure can do wrong."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from kaito.adapters.azure.error_table import ROWS, Reaction, Row
from kaito.adapters.fake.arm.faults import FailLater, Hang, Refuse
from kaito.domain.errors import (
    CapacityUnavailable,
    MachineLimitReached,
    PortError,
    QuotaExceeded,
    Rejected,
    Unavailable,
)
from kaito.domain.machine import CloudState, Shortage
from tests.contract.aks_world import AksStage, ProofOf
from tests.contract.azure_world import AzureWorld
from tests.contract.machine_cloud_contract import (
    MOST,
    ZONE,
    CloudWorld,
    MachineCloudContract,
    Verb,
)

ERROR_OF: Final[dict[Reaction, type[PortError]]] = {
    Reaction.CAPACITY: CapacityUnavailable,
    Reaction.QUOTA: QuotaExceeded,
    Reaction.MACHINE_LIMIT: MachineLimitReached,
    Reaction.REJECTED: Rejected,
    Reaction.BUSY: Unavailable,
    Reaction.EXISTS: Unavailable,
    Reaction.GONE: Rejected,  # what is gone is the cluster
    Reaction.THROTTLED: Unavailable,
    Reaction.TRANSIENT: Unavailable,
}
# What a call asks for that the answer says there is, or is not.
FINE: Final[set[tuple[Verb, Reaction]]] = {
    ("launch", Reaction.EXISTS),
    ("terminate", Reaction.GONE),
}
# Of codes that mean something only together with a message.
MESSAGES: Final = {
    Reaction.QUOTA: "This would exceed the approved Total Regional Cores quota",
    Reaction.MACHINE_LIMIT: "It exceeds the maximum of agent pools per cluster",
    Reaction.THROTTLED: "too many requests have been received",
    Reaction.BUSY: "Another agentpool operation (pool1 - Creating) is in progress",
    ("ResourceNotFound", Reaction.REJECTED): "'managedClusters/other' was not found",
    ("BadRequest", Reaction.REJECTED): "The VM size is not supported for subscription",
    ("BadRequest", Reaction.CAPACITY): "The VM size is not allowed in your subscription",
    ("InvalidParameter", Reaction.CAPACITY): "The VM size is not allowed in your subscription",
}
# Slow enough that what is under way stays so while a test looks at it; it lets time pass itself.
SPEED: Final = 10.0
# Every code of every row.
CODES: Final = [
    pytest.param(row, code.replace("*", "_Some"), id=f"{code}-{row.reaction}")
    for row in ROWS
    for code in row.codes
]


def message_of(row: Row, stage: AksStage) -> str:
    """One that the row takes, which also says what nobody may read."""
    text = ""
    if row.text:
        text = MESSAGES.get((row.codes[0], row.reaction)) or MESSAGES[row.reaction]
    place, token = stage.azure.place, next(iter(stage.azure.front.entra._issued), "none-yet")
    client = stage.azure.endpoint.identity.client_id.upper()
    return (
        f"{text}. The client '{client}' of {place.tenant} with Bearer {token} may not do it over "
        f"scope '{place.group_id}'"
    )


@pytest.fixture(scope="module")
def stage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AksStage]:
    """In the end nothing secret was told."""
    proof: ProofOf = getattr(request, "param", "assertion")
    with AzureWorld(speed=SPEED) as azure:
        made = AksStage(azure, tmp_path_factory.mktemp("aks"), proof=proof)
        with made.aks.listening() as records:
            yield made
        made.close()
        assert made.aks.told, "something was raised"
        made.aks.check_silence(records)


@pytest.fixture
def world(stage: AksStage) -> Iterator[CloudWorld]:
    yield stage.world()
    stage.clear()


@pytest.mark.parametrize("stage", ["assertion", "secret"], indirect=True, scope="module")
class TestAksMachineCloud(MachineCloudContract):
    """All of it, signed in with a federated token, and with a client secret."""


class TestErrorTable:
    """Each code of the table, as Azure would answer with it."""

    @pytest.mark.parametrize("verb", ["launch", "terminate", "list"])
    @pytest.mark.parametrize(("row", "code"), CODES)
    def test_a_refused_call(
        self, stage: AksStage, world: CloudWorld, row: Row, code: str, verb: Verb
    ) -> None:
        """The code decides, not the status."""
        status = 429 if row.reaction is Reaction.THROTTLED else 400
        layer: Any = "aks" if verb == "launch" else "arm"
        stage.behind.play(
            verb, Refuse(status=status, code=code, message=message_of(row, stage), layer=layer)
        )
        if (verb, row.reaction) in FINE:
            call(world, verb)
        else:
            with pytest.raises(PortError) as caught:
                call(world, verb)
            assert type(caught.value) is ERROR_OF[row.reaction]
            assert code in str(caught.value)
        assert stage.behind.next == [], "it was played"
        assert world.billed() == []

    @pytest.mark.parametrize(("row", "code"), CODES)
    def test_an_operation_that_fails(
        self, stage: AksStage, world: CloudWorld, row: Row, code: str
    ) -> None:
        stage.behind.play("launch", FailLater(code=code, message=message_of(row, stage)))
        world.cloud.launch(world.order(zone=ZONE))
        (creating,) = world.listed()
        assert creating.state is CloudState.CREATING
        world.settle()
        (failed,) = world.listed()
        assert failed.state is CloudState.FAILED
        assert failed.error.startswith(code)
        shortages = {Reaction.CAPACITY: Shortage.CAPACITY, Reaction.QUOTA: Shortage.QUOTA}
        assert failed.shortage is shortages.get(row.reaction)
        assert failed.other_zones == (("eastus-2", "eastus-3") if row.zonal else ())
        world.cloud.terminate(failed.name)
        world.settle()
        assert world.names() == world.billed() == []

    def test_a_code_that_nobody_knows(self, stage: AksStage, world: CloudWorld) -> None:
        stage.behind.play("launch", Refuse(status=400, code="NeverHeardOf"))
        with pytest.raises(AssertionError, match="NeverHeardOf is not in the table"):
            world.cloud.launch(world.order())


class TestAzureAlone:
    """What is Azure's own, and has no counterpart in other clouds."""

    @pytest.mark.parametrize("verb", ["launch", "terminate", "list"])
    def test_no_answer(self, stage: AksStage, world: CloudWorld, verb: Verb) -> None:
        """The call ends in time, and a repeat does what was asked for."""
        if verb != "launch":
            world.cloud.launch(world.order())
            world.settle()
        hurried = stage.world(read_s=1.0)
        stage.behind.play(verb, Hang())
        with pytest.raises(Unavailable):
            call(hurried, verb)
        assert stage.behind.next == []
        call(hurried, verb)
        world.settle()
        wanted = [] if verb == "terminate" else [world.order().name]
        assert world.names() == world.billed() == wanted

    def test_nothing_is_sent_before_a_retry_after(self, stage: AksStage, world: CloudWorld) -> None:
        world.cloud.launch(world.order())
        world.settle()
        everywhere = Refuse(status=429, code="SubscriptionRequestsThrottled", retry_after_s=50)
        stage.behind.play("list", everywhere)
        with pytest.raises(Unavailable) as caught:
            world.cloud.list_machines()
        assert caught.value.retry_after_s == 50
        count = len(stage.behind.sent)
        for waited_s in (0.0, 20.0, 20.0):
            world.pass_by(waited_s)
            for verb in ("launch", "terminate", "list"):
                with pytest.raises(Unavailable) as caught:
                    call(world, verb, slot=1)
                assert 0 < (caught.value.retry_after_s or 0) <= 50 - waited_s
        assert len(stage.behind.sent) == count
        world.pass_by(10.0)
        call(world, "launch", slot=1)
        assert [one.method for one in stage.behind.sent[count:]] == ["GET", "PUT"]

    def test_a_pool_that_is_throttled_keeps_no_other_waiting(
        self, stage: AksStage, world: CloudWorld
    ) -> None:
        stage.behind.refuse("throttled")
        with pytest.raises(Unavailable):
            world.cloud.launch(world.order())
        count = len(stage.behind.sent)
        with pytest.raises(Unavailable):
            world.cloud.launch(world.order())
        assert len(stage.behind.sent) == count
        world.cloud.launch(world.order(1))
        world.settle()
        assert world.billed() == [world.order(1).name]

    @pytest.mark.parametrize("told", ["code", "message"])
    def test_a_limit_that_only_azure_knows(
        self, stage: AksStage, world: CloudWorld, told: str
    ) -> None:
        """Somebody else has filled the cluster up since the list was made."""
        world.cloud.launch(world.order())
        world.settle()
        if told == "code":
            world.behind.limit(1)
        else:
            said = "The number of agent pools exceeds the maximum of agent pools per cluster (1)."
            stage.behind.play("launch", Refuse(status=400, code="BadRequest", message=said))
        with pytest.raises(MachineLimitReached):
            world.cloud.launch(world.order(1))
        assert stage.behind.sent[-1].method == "PUT"

    def test_pools_come_in_pages_of_20(self, stage: AksStage, world: CloudWorld) -> None:
        for slot in range(MOST):
            world.cloud.launch(world.order(slot))
        world.settle()
        stage.behind.sent.clear()
        assert len(world.names()) == MOST
        for _ in range(5):
            world.listed()
        assert [one.method for one in stage.behind.sent] == ["GET"] * 5, "one list serves many"

    def test_a_page_that_is_lost(self, stage: AksStage, world: CloudWorld) -> None:
        """Half a list is none: what stands on the pages that did not come is not gone."""
        for slot in range(25):
            world.cloud.launch(world.order(slot))
        world.settle()
        answers: list[Any] = [None, Refuse(status=503, code="ServerTimeout", layer="arm")]
        before = stage.azure.front.choose
        stage.azure.front.choose = lambda _request: answers.pop(0) if answers else None
        with pytest.raises(Unavailable):
            world.cloud.list_machines()
        stage.azure.front.choose = before
        assert len(world.names()) == 25

    def test_what_is_being_deleted_is_not_ordered_on_top(
        self, stage: AksStage, world: CloudWorld
    ) -> None:
        """Also by an operator that was started since, and knows of nothing."""
        world.cloud.launch(world.order())
        world.settle()
        world.cloud.terminate(world.order().name)
        restarted = stage.world()
        with pytest.raises(Unavailable):
            restarted.cloud.launch(world.order())
        world.settle()
        restarted.cloud.launch(world.order())
        world.settle()
        assert world.billed() == [world.order().name]

    def test_pools_of_kaito_v0_12_are_known(self, stage: AksStage, world: CloudWorld) -> None:
        """By their labels: they have no tags."""
        theirs = {"karpenter.sh/nodepool": "kaito", "kaito.sh/workspace": "phi"}
        old, foreign = stage.add_pool("wsold", theirs), stage.add_pool("userpool", {"a": "b"})
        world.settle()
        (found,) = world.cloud.list_machines()
        assert (found.name, found.claim_name, found.owner_uid) == (old, old, "")
        assert found.state is CloudState.RUNNING
        world.cloud.terminate(old)
        with pytest.raises(Rejected, match="neither tags nor labels of kaito"):
            world.cloud.terminate(foreign)
        world.settle()
        assert world.billed() == [foreign]


def call(world: CloudWorld, verb: Verb, slot: int = 0) -> None:
    """One call of that kind."""
    if verb == "launch":
        world.cloud.launch(world.order(slot))
    elif verb == "terminate":
        world.cloud.terminate(world.order(slot).name)
    else:
        world.cloud.list_machines()
