"""What `kaito azure check` finds, line by line, and the commands that it tells."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kaito.adapters.azure.settings import AzureSettings


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"
    NOT_CHECKED = "not checked"


class Area(StrEnum):
    CREDENTIAL = "credential"
    CLUSTER = "cluster"
    PERMISSION = "permission"
    AGENT_POOLS = "agent pools"
    WORKSPACE = "workspace"
    INSTANCE_TYPE = "instance type"
    QUOTA = "quota"
    PRICE = "price"
    GPU = "gpu"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: `subject` within `area`, and what to do, where there is
    something. `source` is where an answer comes from that may come from several places."""

    area: Area
    subject: str
    status: Status
    message: str
    remedy: str = ""
    source: str = ""

    def document(self) -> Mapping[str, Any]:
        return {
            "area": self.area.value,
            "subject": self.subject,
            "status": self.status.value,
            "message": self.message,
            "remedy": self.remedy,
            "source": self.source,
        }


def is_complete(findings: Iterable[Finding]) -> bool:
    """Whether nothing is missing; warnings, and what was not checked, are no obstacle."""
    return all(finding.status is not Status.MISSING for finding in findings)


class ForShell(str):
    """A word that the shell fills in: it holds a variable or a command of ours, and no name that
    somebody else chose but quoted ones."""


def command(*words: str) -> str:
    """A command line to copy."""
    return " ".join(
        f'"{word}"' if isinstance(word, ForShell) else shlex.quote(word) for word in words
    )


def aks(verb: str, settings: AzureSettings, *words: str) -> str:
    """`az aks VERB` of the cluster."""
    place = ("--resource-group", settings.resource_group, "--name", settings.cluster_name)
    return command("az", "aks", verb, *place, *words)
