"""Azure's names of the quotas that `domain.vm_family` knows by the name of the series."""

import re
from collections.abc import Mapping
from typing import Final

from kaito.domain.vm_family import SPOT_QUOTA

SPOT_NAME: Final = "lowPriorityCores"
# Azure's names follow no rule without exceptions: these are they.
# Source: the answers of `az vm list-usage` and `az vm list-skus`. Azure compares without case.
_EXCEPTIONS: Final[Mapping[str, str]] = {
    SPOT_QUOTA: SPOT_NAME,
    "NCads_H100_v5": "StandardNCadsH100v5Family",
    "NCCads_H100_v5": "StandardNCCads2023Family",
    "NCas_T4_v3": "Standard NCASv3_T4 Family",
    "NDas_A100_v4": "Standard NDASv4_A100 Family",
    "NDams_A100_v4": "standardNDAMSv4_A100Family",
    "NDs_H100_v5": "standardNDSH100v5Family",
    "NDs_H200_v5": "standardNDISRH200V5Family",
}


def quota_name(family: str) -> str:
    """`NCads_A100_v4` -> `standardNCADSA100v4Family`; the quota of spot machines has one name."""
    if family in _EXCEPTIONS:
        return _EXCEPTIONS[family]
    series, _, rest = family.partition("_")
    return f"standard{series.upper()}{re.sub('_', '', rest)}Family"


def localized_name(family: str) -> str:
    """What people read in the portal."""
    if family == SPOT_QUOTA:
        return "Total Regional Low-priority vCPUs"
    series, _, rest = family.partition("_")
    return f"Standard {series.upper()}{rest.replace('_', '')} Family vCPUs"
