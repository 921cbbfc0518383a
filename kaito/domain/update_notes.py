"""What is said when a workload changes: what differs, and for how long nothing may answer."""

from typing import Final

from kaito.domain import labels
from kaito.domain.cluster_view import WorkloadView
from kaito.domain.conditions import cut_message
from kaito.domain.plan import Note
from kaito.domain.rollout import RolloutPolicy
from kaito.domain.workload import Workload, WorkloadKind

_DOWNTIME: Final = "nothing is served until all pods have loaded the model again: "


def update_notes(workload: Workload, live: WorkloadView) -> list[Note]:
    """What changes, and for how long nothing may answer."""
    named = ", ".join(live.differences)
    text = cut_message(f"{_DOWNTIME if live.restarts_group else ''}changing {named}")
    notes: list[Note] = [Note(type="Normal", reason="WorkloadUpdated", message=text)]
    if live.restarts_group:
        return notes
    if live.rolls and workload.kind is WorkloadKind.INFERENCE:
        minutes = workload.startup_limit_s // 60
        text = (
            f"each pod ends before its successor starts, which may take up to {minutes} min; the "
            f"annotation {labels.ROLLOUT}: {RolloutPolicy.SURGE} serves on meanwhile, on one more "
            "machine"
        )
        notes.append(Note(type="Normal", reason="RolloutInPlace", message=text))
    return notes
