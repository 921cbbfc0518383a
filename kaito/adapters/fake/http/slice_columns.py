"""The cells of `kubectl get endpointslices`."""

from collections.abc import Sequence

from kaito.adapters.kube_api import KubeObject


def slice_ports(obj: KubeObject, _now_s: float) -> str:
    found = [str(port.get("port", "*")) for port in obj.get("ports") or ()]
    return _few(found, "<unset>")


def slice_endpoints(obj: KubeObject, _now_s: float) -> str:
    lists = (endpoint.get("addresses") or () for endpoint in obj.get("endpoints") or ())
    return _few([str(address) for addresses in lists for address in addresses], "<unset>")


def _few(texts: Sequence[str], none: str) -> str:
    """The first three, and how many more there are."""
    more = f" + {len(texts) - 3} more..." if len(texts) > 3 else ""
    return ",".join(texts[:3]) + more if texts else none
