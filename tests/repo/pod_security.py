"""The restricted Pod Security Standard, as far as a pod template can break it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_VOLUMES: Final = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_ROOT: Final = 0


def violations(pod: Mapping[str, Any]) -> list[str]:
    """Where a pod's spec breaks it: https://kubernetes.io/docs/concepts/security."""
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    for volume in pod.get("volumes", ()):
        found += [f"volume {kind}" for kind in sorted(set(volume) - {"name"} - _VOLUMES)]
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        found += [f"{container['name']}: {flaw}" for flaw in _flaws(container, pod)]
    return found


def _flaws(container: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    both = pod.get("securityContext", {}) | own
    capabilities = own.get("capabilities", {})
    if any("hostPort" in port for port in container.get("ports", ())):
        yield "hostPort"
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add", []):
        yield "capabilities"
    if both.get("runAsNonRoot") is not True or both.get("runAsUser") == _ROOT:
        yield "runs as root"
    if both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "seccompProfile"
