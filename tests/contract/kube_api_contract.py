"""The contract of `KubeApi`: one suite for every implementation, real API servers included.

Only what behaves alike on every Kubernetes since 1.20. A subclass gives a `world` fixture with a
namespace of its own for each test.
"""

from tests.contract.kube_api_deletion import DeleteContract, GarbageCollectionContract
from tests.contract.kube_api_reads import ListContract, WatchContract
from tests.contract.kube_api_writes import (
    CreateContract,
    PatchContract,
    ReplaceContract,
    StatusContract,
)


class KubeApiContract(
    CreateContract,
    ReplaceContract,
    StatusContract,
    PatchContract,
    DeleteContract,
    GarbageCollectionContract,
    ListContract,
    WatchContract,
):
    """Has no Test prefix: runs only through its subclasses."""
