import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s.node_lookup import NodeLookup
from kaito.adapters.k8s.parsed import Parsed
from kaito.adapters.k8s.workload_differences import WorkloadDifferences
from kaito.adapters.kube_api import NODE, STATEFUL_SET, KubeObject, freeze, name_of
from tests.unit.domain.builders import wanted, workspace


def version(uid: str, number: int) -> KubeObject:
    frozen: KubeObject = freeze({"metadata": {"uid": uid, "resourceVersion": str(number)}})
    return frozen


class Counted:
    """Tells each version apart, and counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, obj: KubeObject) -> str:
        self.calls += 1
        return f"{obj['metadata']['uid']}@{obj['metadata']['resourceVersion']}"


def test_a_version_is_parsed_once() -> None:
    parse = Counted()
    parsed = Parsed(parse)
    assert [parsed(version("a", 1)) for _ in range(3)] == ["a@1"] * 3
    assert parse.calls == 1
    assert parsed(version("b", 1)) == "b@1"
    assert parsed(version("a", 2)) == "a@2"
    assert parsed(version("a", 1)) == "a@1", "a read that lags"
    assert parse.calls == 4


def test_what_is_not_asked_for_is_let_go() -> None:
    parse = Counted()
    parsed = Parsed(parse)
    for uid in "ab":
        parsed(version(uid, 1))
    parsed.forget_unused()
    parsed(version("a", 1))
    assert parse.calls == 2
    parsed.forget_unused()
    for uid in "ab":
        parsed(version(uid, 1))
    assert parse.calls == 3


def make_node(store: ObjectStore, name: str, provider_id: str) -> KubeObject:
    spec = {"providerID": provider_id} if provider_id else {}
    return store.create(NODE, {"metadata": {"name": name}, "spec": spec})


def test_a_node_is_found_by_its_machine(store: ObjectStore) -> None:
    make_node(store, "early", "azure://1")
    lookup = NodeLookup(store)
    make_node(store, "nobodys", "")
    make_node(store, "late", "azure://2")
    early, late = lookup.find("azure://1"), lookup.find("azure://2")
    assert early is not None
    assert late is not None
    assert (name_of(early), name_of(late)) == ("early", "late")
    assert lookup.find("azure://3") is None
    store.delete(NODE, "late")
    assert lookup.find("azure://2") is None


def test_of_two_nodes_that_claim_a_machine_the_first_by_name(store: ObjectStore) -> None:
    make_node(store, "b", "azure://1")
    make_node(store, "a", "azure://1")
    found = NodeLookup(store).find("azure://1")
    assert found is not None
    assert name_of(found) == "a"


def test_differences_follow_the_workload_and_the_object(store: ObjectStore) -> None:
    differences = WorkloadDifferences()
    workload = wanted(workspace()).workload
    desired = differences.desired(workload)
    assert differences.desired(workload) is desired
    want = desired[-1]
    live = store.create(STATEFUL_SET, want.body)
    assert differences.deviations(want, live) == []
    scaled = store.patch(
        STATEFUL_SET, name_of(live), live["metadata"]["namespace"], {"spec": {"replicas": 7}}
    )
    assert differences.deviations(want, scaled) == ["spec.replicas"]
    assert differences.deviations(want, live) == []

    other = wanted(workspace(annotations={"kaito.sh/runtime": "transformers"})).workload
    assert other.owner == workload.owner
    rendered = differences.desired(other)
    assert rendered != desired
    assert differences.deviations(rendered[-1], live) != []


@pytest.mark.parametrize("change", ["labels", "spec"])
def test_a_change_by_hand_is_seen(store: ObjectStore, change: str) -> None:
    differences = WorkloadDifferences()
    want = differences.desired(wanted(workspace()).workload)[-1]
    live = store.create(STATEFUL_SET, want.body)
    assert differences.deviations(want, live) == []
    patch = {
        "labels": {"metadata": {"labels": {"kaito.sh/workspace": "other"}}},
        "spec": {"spec": {"template": {"spec": {"tolerations": None}}}},
    }[change]
    edited = store.patch(STATEFUL_SET, name_of(live), live["metadata"]["namespace"], patch)
    assert differences.deviations(want, edited) != []
