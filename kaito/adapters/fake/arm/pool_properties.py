"""What an agent pool may be asked to be, and what of it may be changed later.

Source: https://learn.microsoft.com/rest/api/aks/agent-pools/create-or-update
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kaito.adapters.fake.arm.errors import ArmError, invalid_parameter
from kaito.adapters.fake.cloud_stock import ZONES
from kaito.adapters.fake.object_meta import (
    label_key_problem,
    label_problems,
    label_value_problem,
)
from kaito.domain.machine import CapacityType, Taint

GIB: Final = 1 << 30
# AKS's choice depends on the size of the VM; 128 GiB is that of small ones.
_DEFAULT_DISK_GIB: Final = 128
_LARGEST_DISK_GIB: Final = 2048

_NAME: Final = re.compile(r"[a-z][a-z0-9]{0,11}")
_TAINT: Final = re.compile(
    r"(?P<key>[A-Za-z0-9][\w./-]*)(?:=(?P<value>[\w.-]*))?"
    r":(?P<effect>NoSchedule|PreferNoSchedule|NoExecute)"
)
# Source: https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources
_NOT_IN_TAG_NAMES: Final = re.compile(r"[<>%&\\?/\x00-\x1f\x7f]")

_FIXED: Final = (
    "vmSize",
    "osDiskSizeGB",
    "osDiskType",
    "osType",
    "osSKU",
    "type",
    "maxPods",
    "availabilityZones",
    "scaleSetPriority",
    "scaleSetEvictionPolicy",
    "spotMaxPrice",
    "vnetSubnetID",
)
_READ_ONLY: Final = frozenset(
    {"eTag", "provisioningState", "currentOrchestratorVersion", "status", "powerState"}
)
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "mode": ("User", "System"),
    "osType": ("Linux",),
    "osSKU": ("Ubuntu", "Ubuntu2204", "Ubuntu2404", "AzureLinux", "AzureLinux3"),
    "osDiskType": ("Managed", "Ephemeral"),
    "scaleSetPriority": ("Regular", "Spot"),
    "scaleSetEvictionPolicy": ("Delete", "Deallocate"),
    "type": ("VirtualMachineScaleSets",),
}


def check_name(name: str) -> None:
    """Raises: ArmError (a Linux pool cannot be called so)."""
    if not _NAME.fullmatch(name):
        raise invalid_parameter(
            "agentPoolProfile.name",
            f"The agent pool name {name!r} must start with a lowercase letter, have max length of "
            "12, and only have characters a-z0-9. Please see https://aka.ms/aks-naming-rules for "
            "more details.",
        )


def properties_of(body: object) -> dict[str, Any]:
    """The properties that a PUT asks for, those that are null left out. Raises: ArmError."""
    if not isinstance(body, Mapping) or not isinstance(body.get("properties", {}), Mapping):
        raise ArmError(
            400,
            "InvalidRequestContent",
            "The request content was invalid and could not be deserialized.",
            layer="arm",
        )
    asked = {
        name: value
        for name, value in body.get("properties", {}).items()
        if value is not None and name not in _READ_ONLY
    }
    for name, value in asked.items():
        check = _CHECKS.get(name)
        if check is not None and not check(value):
            raise invalid_parameter(f"properties.{name}", f"{value!r} is not allowed.")
        choices = _CHOICES.get(name)
        if choices is not None and value not in choices:
            why = f"{value!r} is not one of {', '.join(choices)}."
            raise invalid_parameter(f"properties.{name}", why)
    _check_together(asked)
    return asked


def complete(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A new pool's properties: what was asked for, and AKS's defaults. Raises: ArmError."""
    if not asked.get("vmSize"):
        raise invalid_parameter("properties.vmSize", "it is required.")
    whole: dict[str, Any] = {
        "count": 1,
        "osDiskType": "Managed",
        "kubeletDiskType": "OS",
        "maxPods": 110,
        "type": "VirtualMachineScaleSets",
        "mode": "User",
        "osType": "Linux",
        "osSKU": "Ubuntu",
        "enableNodePublicIP": False,
        "enableFIPS": False,
        **asked,
    }
    if not whole.get("osDiskSizeGB"):
        whole["osDiskSizeGB"] = _DEFAULT_DISK_GIB
    if is_spot(whole):
        whole.setdefault("scaleSetEvictionPolicy", "Delete")
        whole.setdefault("spotMaxPrice", -1.0)
    return whole


def changed(current: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """A pool's properties after an update; what is left out stays. Raises: ArmError."""
    for name in _FIXED:
        if name in asked and not _same(current.get(name), asked[name]):
            message = f"Changing property 'properties.{name}' is not allowed."
            target = f"properties.{name}"
            raise ArmError(400, "PropertyChangeNotAllowed", message, target=target)
    return {**current, **{name: value for name, value in asked.items() if name not in _FIXED}}


def is_spot(properties: Mapping[str, Any]) -> bool:
    return properties.get("scaleSetPriority") == "Spot"


def capacity_type(properties: Mapping[str, Any]) -> CapacityType:
    return CapacityType.SPOT if is_spot(properties) else CapacityType.ON_DEMAND


def zone_number(properties: Mapping[str, Any]) -> int | None:
    """The zone that the pool's machine has to be in; None where the cloud chooses. Of two zones it
    is the first."""
    zones: Sequence[str] = properties.get("availabilityZones") or ()
    return int(zones[0]) if 0 < len(zones) < ZONES else None


def taints_of(properties: Mapping[str, Any]) -> tuple[Taint, ...]:
    """The taints that the pool's Nodes get."""
    found = (_TAINT.fullmatch(text) for text in properties.get("nodeTaints") or ())
    return tuple(Taint(**match.groupdict(default="")) for match in found if match is not None)


def _check_together(asked: Mapping[str, Any]) -> None:
    if not is_spot(asked):
        for name in ("scaleSetEvictionPolicy", "spotMaxPrice"):
            if name in asked and asked.get("scaleSetPriority") == "Regular":
                raise invalid_parameter(f"properties.{name}", "it is only for Spot pools.")
    elif asked.get("mode") == "System":
        raise invalid_parameter("properties.mode", "a Spot pool cannot be a system pool.")
    zones = asked.get("availabilityZones") or ()
    known = [str(number) for number in range(1, ZONES + 1)]
    if not set(zones) <= set(known):
        raise ArmError(
            400,
            "AvailabilityZoneNotSupported",
            f"The zone(s) '{','.join(zones)}' for the agent pool are not supported. The supported "
            f"zones are '{','.join(known)}'.",
            target="properties.availabilityZones",
        )
    bad = [name for name in asked.get("tags") or () if _NOT_IN_TAG_NAMES.search(name)]
    if bad:
        raise ArmError(
            400,
            "InvalidTagNameCharacters",
            f"The tag names '{', '.join(bad)}' have reserved characters '<,>,%,&,\\,?,/' or "
            "control characters.",
            layer="arm",
        )


def _same(current: object, asked: object) -> bool:
    if isinstance(current, str) and isinstance(asked, str):
        return current.lower() == asked.lower()
    if isinstance(current, list) and isinstance(asked, list):
        return sorted(current) == sorted(asked)
    return current == asked or (not current and not asked)


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _text_map(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(one, str) for one in value.values())


def _label_map(value: object) -> bool:
    return isinstance(value, Mapping) and not label_problems(value, "nodeLabels")


def _taint_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) and _is_taint(one) for one in value)


def _is_taint(text: str) -> bool:
    found = _TAINT.fullmatch(text)
    if found is None:
        return False
    return not label_key_problem(found["key"]) and not label_value_problem(found["value"] or "")


def _is_price(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and (value == -1 or value > 0)  # type: ignore[operator]


_CHECKS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "count": lambda value: type(value) is int and value == 1,  # the twin's pools have one machine
    "vmSize": lambda value: isinstance(value, str),
    "osDiskSizeGB": lambda value: type(value) is int and 0 <= value <= _LARGEST_DISK_GIB,
    "maxPods": lambda value: type(value) is int and 10 <= value <= 250,
    "availabilityZones": _texts,
    "nodeLabels": _label_map,
    "nodeTaints": _taint_list,
    "tags": _text_map,
    "spotMaxPrice": _is_price,
}
