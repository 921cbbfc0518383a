"""The Node of an AKS agent pool is found by the label that AKS sets."""

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s.node_lookup import PoolNodes
from kaito.adapters.kube_api import NODE, KubeObject

POOL = "kubernetes.azure.com/agentpool"


def make_node(store: ObjectStore, name: str, pool: str, provider_id: str = "azure://1") -> None:
    body: KubeObject = {
        "metadata": {"name": name, "labels": {POOL: pool, "topology.kubernetes.io/zone": "x-1"}},
        "spec": {"providerID": provider_id} if provider_id else {},
    }
    store.create(NODE, body)


def test_the_node_of_a_pool(store: ObjectStore) -> None:
    make_node(store, "aks-ws1-vmss000000", "ws1", "azure://1")
    nodes = PoolNodes(store)
    make_node(store, "aks-ws2-vmss000000", "ws2", "azure://2")
    store.create(NODE, {"metadata": {"name": "of-no-pool"}, "spec": {"providerID": "azure://3"}})
    for pool, provider_id in (("ws1", "azure://1"), ("ws2", "azure://2")):
        found = nodes.node_of(pool)
        assert found is not None
        assert found.provider_id == provider_id
        assert found.labels["topology.kubernetes.io/zone"] == "x-1"
    assert nodes.node_of("ws3") is None
    assert nodes.node_of("") is None
    store.delete(NODE, "aks-ws2-vmss000000")
    assert nodes.node_of("ws2") is None


def test_while_a_pool_is_upgraded_its_first_node_counts(store: ObjectStore) -> None:
    for number in (1, 0):
        make_node(store, f"aks-ws1-vmss00000{number}", "ws1", f"azure://{number}")
    found = PoolNodes(store).node_of("ws1")
    assert found is not None
    assert found.provider_id == "azure://0"


def test_a_node_without_its_id_has_not_joined_yet(store: ObjectStore) -> None:
    make_node(store, "aks-ws1-vmss000000", "ws1", "")
    assert PoolNodes(store).node_of("ws1") is None
