"""Families of VM sizes: what clouds count a quota of vCPUs by."""

import re
from typing import Final

# One quota for the spot machines of all families together.
# Source: https://learn.microsoft.com/azure/quotas/spot-quota
SPOT_QUOTA: Final = "spot"

# Azure's naming: family, sub-family, vCPUs (with a constrained number behind a dash), additive
# features, accelerator, version.
# Source: https://learn.microsoft.com/azure/virtual-machines/vm-naming-conventions
_SIZE: Final = re.compile(r"Standard_([A-Z]+)\d+(?:-\d+)?([a-z]*)(_\w+)?", re.IGNORECASE)
# Isolated and RDMA-capable sizes count against the quota of the others of their series.
_OF_ONE_SIZE: Final = str.maketrans("", "", "ir")


def vm_family(instance_type: str) -> str:
    """The series whose quota the size counts against, as in Azure's documentation:
    `Standard_NC24ads_A100_v4` -> `NCads_A100_v4`. A name of another form is its own family.
    """
    found = _SIZE.fullmatch(instance_type)
    if found is None:
        return instance_type
    family, features, rest = found.groups(default="")
    return f"{family.upper()}{features.lower().translate(_OF_ONE_SIZE)}{rest}"
