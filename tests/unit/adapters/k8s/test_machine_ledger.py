"""Who may record machines: the guards against what is recorded and promised."""

import threading
from dataclasses import replace

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.files import load_catalogue
from kaito.adapters.k8s.crds import node_claim_crd, workspace_crd
from kaito.adapters.k8s.machine_ledger import MachineLedger
from kaito.adapters.k8s.node_claims import to_node_claim
from kaito.adapters.kube_api import NODE_CLAIM, WORKSPACE
from kaito.domain import labels
from kaito.domain.machine import MachineSpec, Owner
from kaito.domain.machine_budget import MachineGuards
from tests.unit.domain.builders import machine_spec, manifest

CATALOGUE = load_catalogue()
OLD, NEW, NEWEST = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"


class Cluster:
    """A namespace with NodeClaims, and a ledger over it."""

    def __init__(self, guards: MachineGuards) -> None:
        self._uids = iter(range(1_000))
        self.api = ObjectStore(
            now_s=lambda: 1_767_225_600.0,
            new_uid=lambda: f"00000000-0000-4000-8000-{next(self._uids):012d}",
            crds=(workspace_crd(), node_claim_crd()),
        )
        self.guards = guards
        self.ledger = self.restarted()

    def restarted(self) -> MachineLedger:
        return MachineLedger(self.api, CATALOGUE, self.guards)

    def record(self, spec: MachineSpec) -> None:
        self.api.create(NODE_CLAIM, to_node_claim(spec))

    def release(self, spec: MachineSpec) -> None:
        patch = {"metadata": {"finalizers": []}}
        self.api.patch(NODE_CLAIM, spec.name, None, patch)
        self.api.delete(NODE_CLAIM, spec.name)

    def reserve(self, name: str, created_at: str, *specs: MachineSpec) -> str:
        return self.ledger.reserve(owner(name), created_at, specs)


def owner(name: str) -> Owner:
    return Owner(uid=f"uid-{name}", namespace="default", name=name)


def spec(name: str, slot: int = 0) -> MachineSpec:
    found = machine_spec(slot)
    own = {labels.WORKSPACE: name, labels.WORKSPACE_UID: f"uid-{name}"}
    return replace(found, owner=owner(name), labels={**found.labels, **own})


@pytest.fixture
def one() -> Cluster:
    """A namespace that may have one machine."""
    return Cluster(MachineGuards(max_machines=1))


def test_what_is_promised_is_taken(one: Cluster) -> None:
    assert one.reserve("a", OLD, spec("a")) == ""
    assert "has 1 machines of 1" in one.reserve("b", NEW, spec("b"))
    assert one.reserve("a", OLD, spec("a")) == "", "asking again is the same promise"


def test_what_is_recorded_counts_once(one: Cluster) -> None:
    assert one.reserve("a", OLD, spec("a")) == ""
    one.record(spec("a"))
    assert one.reserve("a", OLD) == ""
    assert one.reserve("a", OLD, spec("a")) == "", "it has that one"
    assert one.reserve("b", NEW, spec("b")) != ""
    one.release(spec("a"))
    assert one.ledger.freed() == [("default", "b")]
    assert one.ledger.freed() == []
    assert one.reserve("b", NEW, spec("b")) == ""


def test_what_is_given_up_is_free_again(one: Cluster) -> None:
    assert one.reserve("a", OLD, spec("a")) == ""
    assert one.reserve("b", NEW, spec("b")) != ""
    assert one.reserve("a", OLD) == ""
    assert one.ledger.freed() == [("default", "b")]


def test_in_order_of_creation(one: Cluster) -> None:
    one.record(spec("a"))
    assert one.reserve("c", NEWEST, spec("c")) != ""
    assert one.reserve("b", NEW, spec("b")) != ""
    one.release(spec("a"))
    assert one.ledger.freed() == [("default", "b")]
    assert one.reserve("c", NEWEST, spec("c")).startswith("Workspace b waits for longer")
    assert one.reserve("b", NEW, spec("b")) == ""
    assert one.ledger.freed() == [("default", "c")], "its turn may have come as well"


def test_who_could_never_have_it_holds_nobody_up(one: Cluster) -> None:
    assert one.reserve("big", OLD, spec("big", 0), spec("big", 1)) != ""
    assert one.reserve("b", NEW, spec("b")) == ""


def test_who_comes_to_want_too_much_gives_way() -> None:
    few = Cluster(MachineGuards(max_machines=2))
    few.record(spec("a", 0))
    assert few.reserve("b", OLD, spec("b", 0), spec("b", 1)) != ""
    assert few.reserve("c", NEW, spec("c")) != ""
    assert few.reserve("b", OLD, *(spec("b", slot) for slot in range(3))) != ""
    assert few.ledger.freed() == [("default", "c")]
    assert few.reserve("c", NEW, spec("c")) == ""


def test_the_cost_of_a_namespace() -> None:
    found = Cluster(MachineGuards(max_usd_per_hour=6.5, region="eastus"))
    found.record(spec("a"))
    assert found.reserve("b", OLD, spec("b")) == ""
    assert "cost $6.40 of $6.50, and $3.20 more" in found.reserve("c", NEW, spec("c"))


def test_other_namespaces_have_their_own(one: Cluster) -> None:
    assert one.reserve("a", OLD, spec("a")) == ""
    there = Owner(uid="uid-x", namespace="other", name="x")
    assert one.ledger.reserve(there, NEW, [spec("x")]) == ""


def test_machines_of_others_count(one: Cluster) -> None:
    claim = to_node_claim(spec("a"))
    del claim["metadata"]["labels"][labels.WORKSPACE_UID]
    del claim["metadata"]["labels"][labels.SLOT]
    one.api.create(NODE_CLAIM, claim)
    assert one.reserve("b", OLD, spec("b")) != "", "KAITO's, or one that lost its labels"
    patch = {"metadata": {"labels": {labels.WORKSPACE_NAMESPACE: None}}}
    one.api.patch(NODE_CLAIM, claim["metadata"]["name"], None, patch)
    assert one.reserve("b", OLD, spec("b")) == "", "it is of no namespace now"


def test_a_workspace_that_is_deleted_gives_way(one: Cluster) -> None:
    stored = one.api.create(WORKSPACE, manifest(name="a", metadata={"namespace": "default"}))
    uid, created_at = stored["metadata"]["uid"], stored["metadata"]["creationTimestamp"]
    gone = Owner(uid=uid, namespace="default", name="a")
    assert one.ledger.reserve(gone, created_at, [spec("a")]) == ""
    assert one.reserve("b", NEWEST, spec("b")) != ""
    one.api.delete(WORKSPACE, "a", "default")
    assert one.ledger.freed() == [("default", "b")]


def test_an_operator_that_starts_knows_who_waited(one: Cluster) -> None:
    """Or a newer one might be asked about first."""
    stored = one.api.create(WORKSPACE, manifest(name="waits", metadata={"namespace": "default"}))
    said = {
        "type": "WorkspaceSucceeded",
        "status": "False",
        "reason": "MachineBudgetExceeded",
        "message": "",
        "lastTransitionTime": OLD,
        "observedGeneration": 1,
    }
    patch = {"status": {"conditions": [said]}}
    one.api.patch(WORKSPACE, "waits", "default", patch, subresource="status")
    one.ledger = one.restarted()
    assert one.reserve("new", "2030-01-01T00:00:00Z", spec("new")).startswith("Workspace waits")
    first = Owner(uid=stored["metadata"]["uid"], namespace="default", name="waits")
    created_at = stored["metadata"]["creationTimestamp"]
    assert one.ledger.reserve(first, created_at, [spec("waits")]) == ""


def test_of_many_that_ask_at_once_one_passes(one: Cluster) -> None:
    answers: list[str] = []
    start = threading.Barrier(16)

    def ask(number: int) -> None:
        start.wait()
        answers.append(one.reserve(f"w{number}", OLD, spec(f"w{number}")))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(why == "" for why in answers) == 1
