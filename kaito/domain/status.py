"""The Workspace's status: conditions, state, and what the columns show."""

from dataclasses import dataclass
from typing import Final

from kaito.domain.conditions import Condition, find, is_true

NODE_CLAIM_READY: Final = "NodeClaimReady"
NODES_READY: Final = "NodesReady"
RESOURCE_READY: Final = "ResourceReady"
INFERENCE_READY: Final = "InferenceReady"
JOB_STARTED: Final = "JobStarted"
SUCCEEDED: Final = "WorkspaceSucceeded"
READY: Final = "WorkspaceReady"  # mirrors WorkspaceSucceeded for clients of v0.3 and older
DELETING: Final = "WorkspaceDeleting"
SELECTOR_SHARED: Final = "SelectorShared"  # ours: only there once it has been true
PAUSED: Final = "Paused"  # a condition, and the reason of what waits for its end

OVER_BUDGET: Final = "MachineBudgetExceeded"  # a guard of the operator's

# Reasons of WorkspaceSucceeded=False that wait for a human: the operator itself can do no more.
BLOCKED_REASONS: Final = frozenset(
    {
        "InvalidSpec",
        "ModelDoesNotFit",
        "NameTaken",
        "ConfigMapInvalid",
        "ConfigMapNotFound",
        "QuotaExceeded",
        "MachineLimitReached",
        OVER_BUDGET,
        "MachineRejected",
        "WriteRejected",
        "WorkspaceTuningJobStatusFailed",
        "AmbiguousNodes",
        "UnknownGpu",
        PAUSED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceStatus:
    """What kaito says of a Workspace. `state` is one of KAITO v0.12's six."""

    conditions: tuple[Condition, ...] = ()
    worker_nodes: tuple[str, ...] = ()
    target_node_count: int = 0
    state: str = ""

    def is_true(self, condition_type: str) -> bool:
        return is_true(self.conditions, condition_type)

    @property
    def is_ready(self) -> bool:
        """Serving, or for tuning: the job has succeeded."""
        return self.is_true(SUCCEEDED)

    @property
    def blocked_reason(self) -> str:
        """Why a human must act, or an empty text."""
        found = find(self.conditions, SUCCEEDED)
        if found is None or found.is_true or found.reason not in BLOCKED_REASONS:
            return ""
        return found.reason
