"""A model that is spread over machines: one pod on each, which serve and restart as one.

vLLM splits the layers between the machines (pipeline parallel) and each layer between the GPUs of
one (tensor parallel). Ray tells the parts where they run. Pod 0 leads: it answers requests. Facts:
kaito-project/kaito@056b8280b pkg/model/interface.go:567-601.
"""

from dataclasses import dataclass
from typing import Final

RAY_PORT: Final = 6379
EXECUTOR: Final = "ray"  # vLLM's --distributed-executor-backend


@dataclass(frozen=True, slots=True, kw_only=True)
class RayGroup:
    """The pods of one model. `leader_host` is the name under which the others find pod 0;
    `join_limit_s` is how long it waits for them, and they for it."""

    size: int
    leader_host: str
    join_limit_s: int

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError(f"a group has at least two members, got {self.size}")


def headless_service(workload: str) -> str:
    """The Service that gives each pod of a workload a name of its own."""
    return f"{workload}-headless"


def leader_host(workload: str, namespace: str) -> str:
    """Pod 0, in the form that is looked up in whatever domain the cluster has."""
    return f"{workload}-0.{headless_service(workload)}.{namespace}.svc"
