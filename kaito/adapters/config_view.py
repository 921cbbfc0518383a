"""ConfigMaps as the domain sees them."""

import json
from collections.abc import Mapping
from typing import Any

from kaito.adapters import yaml_values
from kaito.domain.cluster_view import ConfigView
from kaito.domain.names import digest


def to_config_view(name: str, key: str, stored: Mapping[str, Any] | None) -> ConfigView:
    """The part of a ConfigMap that the engine reads, parsed."""
    if stored is None:
        return ConfigView(name=name, missing=True, problem=f"ConfigMap {name!r} does not exist")
    data: Mapping[str, str] = stored.get("data") or {}
    if key not in data:
        return ConfigView(name=name, problem=f"ConfigMap {name!r} has no key {key!r}")
    content_hash = digest(json.dumps({key: data[key]}))[:16]
    try:
        values = yaml_values.parse_mapping(data[key])
    except yaml_values.BadText as error:
        flaw = error.flaws[0]
        at = f"{flaw.path}: " if flaw.path else ""
        problem = f"ConfigMap {name!r}: {key} line {flaw.line}: {at}{flaw.message}"
        return ConfigView(name=name, content_hash=content_hash, problem=problem)
    return ConfigView(name=name, content_hash=content_hash, values=values)
