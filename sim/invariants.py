"""What must hold in every run, whatever goes wrong. Numbered; checked after every step of a run.

INV-1  No slot of a Workspace ever has two machines that are not being given back.
INV-2  A Workspace never has more such machines than its status says its fit wants.
INV-3  A machine without a record (NodeClaim) is given back.
INV-4  A status that says Ready speaks of the newest generation, and of pods that are ready.
INV-5  A Workspace that is gone costs nothing.
INV-6  Nothing of a Workspace that is gone is left once the world rests (`leftovers`).

INV-1 and INV-2 hold at every instant. INV-3 to INV-5 leave the operator some time to notice, which
counts from `calm_from_s`, when the last fault is over.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from kaito.adapters.kube_api import (
    CONFIG_MAP,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    EventType,
    KubeObject,
    Resource,
    condition_of,
    is_true,
    labels_of,
    name_of,
    namespace_of,
)
from kaito.domain import labels
from kaito.domain import status as st
from kaito.domain.machine import CloudState
from kaito.domain.machine_plan import ORPHAN_GRACE_S
from sim.world import World
