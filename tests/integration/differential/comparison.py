"""Two servers' answers, made comparable, and what is different about them.

UIDs become the order in which they were first seen, times and addresses a mark. A version becomes
whether it is another one than when the object was last seen.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kaito.adapters.kube_api import KubeObject

ABSENT: Final = "<absent>"
_TIME: Final = "<time>"
_ADDRESS: Final = "<address>"
_NODE_PORTS: Final = range(30000, 32768)
_ERRORS: Final = ("error.", "after.")
_TIMES: Final = ("creationTimestamp", "deletionTimestamp")


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two answers differ; `ABSENT` stands for what is not there."""

    path: str
    real: object
    twin: object

    def __str__(self) -> str:
        return f"{self.path}: real {self.real!r}, twin {self.twin!r}"


class Sightings:
    """What one server's uids and versions are called, by the order in which they turned up."""

    def __init__(self) -> None:
        self._uids: dict[str, str] = {}
        self._versions: dict[str, str] = {}  # the newest, by uid

    def seen(self, obj: KubeObject) -> Any:
        """An object as it is now, with names in place of what is this server's alone.

        Raises: AssertionError (its version is older than one that was seen before).
        """
        meta = obj["metadata"]
        uid, version = meta["uid"], meta["resourceVersion"]
        self._uids.setdefault(uid, f"<uid {len(self._uids)}>")
        before = self._versions.get(uid, "0")
        assert int(version) >= int(before), (obj, before)
        self._versions[uid] = version
        return self.shown(obj, "<the same>" if version == before else "<newer>")

    def shown(self, obj: KubeObject, version: str = "") -> Any:
        """An object as it perhaps was: `version` is what to say of its version."""
        meta = obj["metadata"]
        told = self._renamed(obj)
        told["metadata"]["resourceVersion"] = version
        if meta.get("generateName") and meta["name"].startswith(meta["generateName"]):
            told["metadata"]["name"] = meta["generateName"] + "*" * 5
        for key in _TIMES:
            if key in meta:
                told["metadata"][key] = _TIME
        if obj["kind"] == "Service":
            _mask_addresses(told.get("spec") or {})
        return told

    def _renamed(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self._renamed(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._renamed(item) for item in value]
        return self._uids.get(value, value) if isinstance(value, str) else value


def _mask_addresses(spec: dict[str, Any]) -> None:
    if spec.get("clusterIP") not in {None, "", "None"}:
        spec["clusterIP"] = _ADDRESS
        spec["clusterIPs"] = [_ADDRESS for _ in spec.get("clusterIPs", ())]
    for port in spec.get("ports") or ():
        if port.get("nodePort") in _NODE_PORTS:
            port["nodePort"] = _ADDRESS


def differences(real: Any, twin: Any, path: str = "") -> Iterator[Difference]:
    """Every leaf in which two JSON values differ, in order."""
    if isinstance(real, dict) and isinstance(twin, dict):
        for key in sorted({*real, *twin}):
            below = f"{path}.{key}" if path else key
            yield from differences(real.get(key, ABSENT), twin.get(key, ABSENT), below)
    elif isinstance(real, list) and isinstance(twin, list) and len(real) == len(twin):
        for index, (one, other) in enumerate(zip(real, twin, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif type(real) is not type(twin) or real != twin:
        yield Difference(path, real, twin)


def compared(real: Any, twin: Any) -> Iterator[Difference]:
    """The differences but for those in the wording of errors, which is each version's own."""
    for difference in differences(real, twin):
        if not difference.path.endswith(".message") or not difference.path.startswith(_ERRORS):
            yield difference
