"""Cluster IPs and node ports: given to Services in order, so that a run repeats exactly."""

import ipaddress

from kaito.adapters.fake.api_errors import Problem
from kaito.adapters.fake.pod_defaults import Fields

_NODE_PORTS = range(30000, 32768)
_FIRST_FREE = 10  # the lowest addresses are left to the cluster's own Services, as on a real one


class ServiceAddresses:
    """The addresses that are taken, and the next ones to give away."""

    def __init__(self, network: str = "10.0.0.0/16") -> None:
        self._network = ipaddress.ip_network(network)
        self._taken: set[str] = set()
        self._taken_ports: set[int] = set()
        self._next = _FIRST_FREE
        self._next_port = 0

    def problems(self, spec: Fields) -> list[Problem]:
        """Why a new Service cannot have the address that it asks for."""
        wanted = spec.get("clusterIP")
        if wanted in {None, "", "None"}:
            return []
        if wanted in self._taken:
            why = "provided IP is already allocated"
        else:
            try:
                inside = ipaddress.ip_address(wanted) in self._network
            except ValueError:
                inside = False
            if inside:
                return []
            why = (
                f"provided IP is not in the valid range. The range of valid IPs is {self._network}"
            )
        text = f'Invalid value: ["{wanted}"]: failed to allocate IP {wanted}: {why}'
        return [Problem("spec.clusterIPs", text)]

    def assign(self, spec: Fields) -> None:
        """Give a Service what its type needs and it does not have yet."""
        kind = spec["type"]
        if kind != "ExternalName":
            address = spec.setdefault("clusterIP", "") or self._free_address()
            spec["clusterIP"] = address
            spec["clusterIPs"] = [address]
            if address != "None":
                self._taken.add(address)
        if kind in {"NodePort", "LoadBalancer"}:
            for port in spec.get("ports", ()):
                port["nodePort"] = port.get("nodePort") or self._free_port()
                self._taken_ports.add(port["nodePort"])

    def release(self, spec: Fields) -> None:
        """Take back what a deleted Service had."""
        self._taken.discard(spec.get("clusterIP", ""))
        self._taken_ports.difference_update(
            port["nodePort"] for port in spec.get("ports", ()) if "nodePort" in port
        )

    def _free_address(self) -> str:
        usable = self._network.num_addresses - 1  # the last one is the broadcast address
        for _ in range(usable):
            address = str(self._network[self._next])
            self._next = self._next + 1 if self._next + 1 < usable else _FIRST_FREE
            if address not in self._taken:
                return address
        raise RuntimeError(f"every cluster IP of {self._network} is taken")

    def _free_port(self) -> int:
        for _ in _NODE_PORTS:
            port = _NODE_PORTS[self._next_port]
            self._next_port = (self._next_port + 1) % len(_NODE_PORTS)
            if port not in self._taken_ports:
                return port
        raise RuntimeError("every node port is taken")
