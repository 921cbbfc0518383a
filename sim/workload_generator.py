"""Makes scenarios of many Workspaces: who asks for what, what is refused, what is deleted.

Models, instance types and layouts come from the catalogue, by the operator's own decision: whatever
it refuses is not asked for. One seed, one scenario; a longer one begins with other draws.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import yaml

from kaito.domain.catalogue import Catalogue
from kaito.domain.decision import Wanted, decide
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.workspace import GROUP, STORED_VERSION, parse_workspace
from sim.scenario import DEFAULT_REGION

NAMESPACES: Final = 10
_SHARES: Final = ("several_nodes_share", "refused_share", "deleted_share")
# Orders go out during the first minute or so, and most machines come within the hour.
_REFUSALS_WITHIN_S: Final = 60.0
_FIRST_DELETION_S: Final = 60.0
_LAST_DELETION_S: Final = 3_600.0
_COUNTS: Final = (1, 2)

Body = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the scenario is to hold. Shares are of the Workspaces, from 0 to 1.

    `arrival_s`: all are applied within so many seconds; 0: at once. `several_nodes_share` run on
    several Nodes each, as far as the catalogue has models that may. `refused_share` is how many
    orders for machines the cloud refuses once.
    Raises: InvalidInput.
    """

    workspaces: int
    seed: int = 0
    arrival_s: float = 0.0
    several_nodes_share: float = 0.2
    refused_share: float = 0.05
    deleted_share: float = 0.1

    def __post_init__(self) -> None:
        problems = []
        if self.workspaces < 1:
            message = f"must be at least 1, got {self.workspaces}"
            problems.append(Problem(field="workspaces", message=message))
        if self.arrival_s < 0:
            message = f"must be at least 0 seconds, got {self.arrival_s:g}"
            problems.append(Problem(field="arrival_s", message=message))
        for name in _SHARES:
            share = getattr(self, name)
            if not 0 <= share <= 1:
                message = f"must be from 0 to 1, got {share:g}"
                problems.append(Problem(field=name, message=message))
        if problems:
            raise InvalidInput(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A model on an instance type, as the operator would run it on `nodes` Nodes."""

    model: str
    instance_type: str
    count: int
    nodes: int


def choices(catalogue: Catalogue, region: str = DEFAULT_REGION) -> list[Choice]:
    """Everything that may be asked for where machines of its type are sold, in order of models."""
    return list(_choices(catalogue, region))


def generate(load: Load, catalogue: Catalogue) -> Body:
    """The scenario file's content, with every Workspace that stays expected to become READY.

    Raises: InvalidInput (the catalogue has nothing that runs).
    """
    rng = Random(load.seed)
    found = choices(catalogue)
    if not found:
        message = f"no model of the catalogue runs on a machine that is sold in {DEFAULT_REGION}"
        raise InvalidInput([Problem(field="catalogue", message=message)])
    picked = _picked(load, found, rng)
    targets = [
        {"kind": "Workspace", "name": f"{one.model}-{number}", "namespace": _namespace(number)}
        for number, one in enumerate(picked)
    ]
    timeline: list[Body] = [
        {"at": round(at_s, 3), "apply": _manifest(target, one)}
        for at_s, target, one in zip(_arrivals(load, rng), targets, picked, strict=True)
    ]
    for _ in range(round(load.refused_share * load.workspaces)):
        at_s = rng.uniform(0.0, load.arrival_s + _REFUSALS_WITHIN_S)
        fault = {"kind": "launch-failure", "reason": "capacity"}
        timeline.append({"at": round(at_s, 3), "fault": fault})
    deleted = set(rng.sample(range(load.workspaces), round(load.deleted_share * load.workspaces)))
    for number in sorted(deleted):
        at_s = load.arrival_s + rng.uniform(_FIRST_DELETION_S, _LAST_DELETION_S)
        timeline.append({"at": round(at_s, 3), "delete": targets[number]})
    timeline.sort(key=lambda step: step["at"])
    expect: list[Body] = [
        {"workspace": target["name"], "namespace": target["namespace"], "ready": True}
        for number, target in enumerate(targets)
        if number not in deleted
    ]
    expect.append(
        {"machines": sum(picked[n].nodes for n in range(len(picked)) if n not in deleted)}
    )
    return {
        "description": f"{load.workspaces} Workspaces, made with seed {load.seed}.",
        "seed": load.seed,
        "timeline": timeline,
        "expect": expect,
    }


def as_yaml(scenario: Mapping[str, Any]) -> str:
    """The text of a scenario file."""
    text = yaml.dump(scenario, Dumper=_Plain, sort_keys=False)
    assert isinstance(text, str)
    return text


class _Plain(yaml.SafeDumper):
    """Writes what is used twice out twice, so that each step reads alone."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _choices(catalogue: Catalogue, region: str) -> Iterator[Choice]:
    sold = [one for one in catalogue.instance_types if one.price(region) is not None]
    for model in catalogue.models:
        for instance_type in sold:
            seen = set()
            for count in _COUNTS:
                one = Choice(
                    model=model.name, instance_type=instance_type.name, count=count, nodes=count
                )
                target = {"name": model.name, "namespace": _namespace(0)}
                decided = decide(parse_workspace(_manifest(target, one)), catalogue, None)
                if not isinstance(decided, Wanted) or decided.sizing.nodes in seen:
                    continue
                nodes = decided.sizing.nodes
                seen.add(nodes)
                yield Choice(
                    model=model.name, instance_type=instance_type.name, count=count, nodes=nodes
                )


def _picked(load: Load, found: Sequence[Choice], rng: Random) -> list[Choice]:
    """Each Workspace's choice: models in turn, so that all are asked for equally often."""
    several = [one for one in found if one.nodes > 1]
    single = [one for one in found if one.nodes == 1] or several
    on_several = round(load.several_nodes_share * load.workspaces) if several else 0
    wants = [number < on_several for number in range(load.workspaces)]
    rng.shuffle(wants)
    picked = []
    for number, wants_several in enumerate(wants):
        among = several if wants_several else single
        models = list(dict.fromkeys(one.model for one in among))
        model = models[number % len(models)]
        picked.append(rng.choice([one for one in among if one.model == model]))
    return picked


def _arrivals(load: Load, rng: Random) -> list[float]:
    return sorted(rng.uniform(0.0, load.arrival_s) for _ in range(load.workspaces))


def _namespace(number: int) -> str:
    return f"team-{number % NAMESPACES}"


def _manifest(target: Mapping[str, str], choice: Choice) -> Body:
    resource: Body = {
        "instanceType": choice.instance_type,
        "labelSelector": {"matchLabels": {"apps": target["name"]}},
    }
    if choice.count > 1:
        resource["count"] = choice.count
    return {
        "apiVersion": f"{GROUP}/{STORED_VERSION}",
        "kind": "Workspace",
        "metadata": {"name": target["name"], "namespace": target["namespace"]},
        "resource": resource,
        "inference": {"preset": {"name": choice.model}},
    }
