"""What a kubelet keeps on its node: pulled images and pod addresses."""

import heapq
from dataclasses import dataclass
from typing import Final

from kaito.adapters.fake.aks_node import address_of
from kaito.adapters.fake.container_phases import Phase
from kaito.adapters.kube_api import KubeObject

# Pod addresses are 10.64.0.0/10, a /24 for each node.
_FIRST_BLOCK: Final = 64
_BLOCKS: Final = 64
_FIRST_HOST, _LAST_HOST = 2, 254


@dataclass(frozen=True, slots=True)
class Pull:
    """An image pull, running or over."""

    end_s: float
    phase: Phase


class NodeRuntime:
    """One node's container runtime. It loses everything with its node."""

    def __init__(self, node: KubeObject, number: int) -> None:
        self.node = node
        self._number = number
        self._pulls: dict[str, Pull] = {}
        self._puller_free_s = 0.0
        self._next_host = _FIRST_HOST
        self._given_back: list[int] = []  # a heap; all below the next

    def has_image(self, image: str, now_s: float) -> bool:
        pull = self._pulls.get(image)
        return pull is not None and pull.phase.failure is None and pull.end_s <= now_s

    def running_pull(self, image: str, now_s: float) -> Pull | None:
        """The pull of `image` that another container is waiting for."""
        pull = self._pulls.get(image)
        return pull if pull is not None and pull.end_s > now_s else None

    def pull(self, image: str, phase: Phase, now_s: float) -> Pull:
        """Queue a pull: a kubelet pulls one image at a time (its default, serializeImagePulls)."""
        pull = Pull(max(now_s, self._puller_free_s) + phase.duration_s, phase)
        self._puller_free_s = pull.end_s
        self._pulls[image] = pull
        return pull

    def take_address(self) -> str:
        """The lowest free pod address of the node."""
        if self._given_back:
            host = heapq.heappop(self._given_back)
        else:
            host, self._next_host = self._next_host, self._next_host + 1
        assert host <= _LAST_HOST, "a node has at most 253 pods"
        block, third = divmod(self._number, 256)
        return f"10.{_FIRST_BLOCK + block % _BLOCKS}.{third}.{host}"

    def give_back(self, address: str) -> None:
        heapq.heappush(self._given_back, int(address.rpartition(".")[2]))

    @property
    def host_address(self) -> str:
        """The node's internal IP; empty where it has none."""
        return address_of(self.node)
