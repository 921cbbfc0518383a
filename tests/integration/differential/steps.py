"""One step of a program, as data that can be printed, read back and run again.

A step says symbolically what differs between two servers: `@uid`, `@version` (of the object that
the step is about, as last seen), `@version:stale` (the one before), `@uid:Kind/name` and
`@name:Kind/name`. Every other value is meant as it stands.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from kaito.adapters.kube_api import (
    CONFIG_MAP,
    EVENT,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    WORKSPACE_V1ALPHA1,
    Resource,
)

Verb = Literal[
    "get", "create", "replace", "patch", "delete", "list", "continue", "watch", "compact", "settle"
]
Place = Literal["home", "other", "absent"]

KINDS: Mapping[str, Resource] = {
    "Workspace": WORKSPACE,
    "Workspace/v1alpha1": WORKSPACE_V1ALPHA1,
    "NodeClaim": NODE_CLAIM,
    "ConfigMap": CONFIG_MAP,
    "Pod": POD,
    "Service": SERVICE,
    "StatefulSet": STATEFUL_SET,
    "Job": JOB,
    "Node": NODE,
    "Event": EVENT,
}


@dataclass(frozen=True, slots=True)
class Step:
    """`options` are the verb's: see `Side`. `place` is a namespace, or for a cluster-scoped kind
    without meaning."""

    verb: Verb
    kind: str = ""
    name: str = ""
    place: Place = "home"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def resource(self) -> Resource:
        return KINDS[self.kind]

    def line(self) -> str:
        """The step as one line of JSON."""
        told = {"verb": self.verb, "kind": self.kind, "name": self.name, "place": self.place}
        shown = {key: value for key, value in told.items() if value and value != "home"}
        return json.dumps({**shown, **self.options})


@dataclass(frozen=True, slots=True)
class Program:
    """Steps in order; `origin` says where they are from (such as a seed)."""

    origin: str
    steps: Sequence[Step]

    def text(self) -> str:
        """What `read_program` reads."""
        return "\n".join(step.line() for step in self.steps) + "\n"


def read_program(origin: str, lines: Iterable[str]) -> Program:
    """The program that `Program.text` printed; empty lines and `# comments` do not count."""
    steps = []
    for line in lines:
        if line.strip() and not line.startswith("#"):
            told = json.loads(line)
            parts = {key: told.pop(key) for key in ("verb", "kind", "name", "place") if key in told}
            steps.append(Step(**parts, options=told))
    return Program(origin, steps)
