"""Makes scenarios of many Workspaces: who asks for what, what is refused, what is deleted.

Models, instance types and layouts come from the catalogue, by the operator's own decision: whatever
it refuses is not asked for. One seed, one scenario; a longer one begins with other draws.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from random import Random
from typing import Any, Final

import yaml

from kaito.domain.catalogue import Catalogue
from kaito.domain.decision import Wanted, decide
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.vm_family import vm_family
from kaito.domain.workspace import GROUP, STORED_VERSION, parse_workspace
from sim.scenario import DEFAULT_REGION

NAMESPACES: Final = 10
_SHARES: Final = ("several_nodes_share", "refused_share", "deleted_share", "quota_share")
# Orders go out during the first minute or so, and most machines come within the hour.
_REFUSALS_WITHIN_S: Final = 60.0
_FIRST_DELETION_S: Final = 60.0
_LAST_DELETION_S: Final = 3_600.0
_QUOTA_RAISED_S: Final = 7_200.0  # what deletions free has been taken long before
_COUNTS: Final = (1, 2)
_SECRET: Final = "hugging-face"

Body = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the scenario is to hold. Shares are of the Workspaces, from 0 to 1.

    `arrival_s`: all are applied within so many seconds; 0: at once. `several_nodes_share` run on
    several Nodes each, as far as the catalogue has models that may. `refused_share` is how many
    orders for machines the cloud refuses once. `quota_share` is the share of the vCPUs that may be
    taken at a time, of each VM family, but never less than what one Workspace needs; None: no
    quota. Where what stays does not fit into it, it is raised two hours after the last order.
    Raises: InvalidInput.
    """

    workspaces: int
    seed: int = 0
    arrival_s: float = 0.0
    several_nodes_share: float = 0.2
    refused_share: float = 0.05
    deleted_share: float = 0.1
    quota_share: float | None = None

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
            if share is None:
                continue
            if not 0 <= share <= 1:
                message = f"must be from 0 to 1, got {share:g}"
                problems.append(Problem(field=name, message=message))
        if problems:
            raise InvalidInput(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A model on an instance type, as the operator would run it on `nodes` Nodes of `vcpus` each.
    A `gated` model needs a Secret to be downloaded."""

    model: str
    gated: bool
    instance_type: str
    vcpus: int
    count: int
    nodes: int

    @property
    def family(self) -> str:
        """The VM family that the quota counts its Nodes against."""
        return vm_family(self.instance_type)


@lru_cache(maxsize=8)  # thousands of fits, and the same for every load
def choices(catalogue: Catalogue, region: str = DEFAULT_REGION) -> tuple[Choice, ...]:
    """Everything that may be asked for where machines of its type are sold, in order of models."""
    return tuple(_choices(catalogue, region))


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
        {"kind": "Workspace", "name": _name(one, number), "namespace": _namespace(number)}
        for number, one in enumerate(picked)
    ]
    timeline: list[Body] = [
        {"at": 0.0, "apply": _secret(namespace)}
        for namespace in sorted({_namespace(n) for n, one in enumerate(picked) if one.gated})
    ]
    timeline += [
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
    staying = [one for number, one in enumerate(picked) if number not in deleted]
    quota = _quota(load, picked)
    raised = {
        family: vcpus
        for family, vcpus in sorted(_vcpus(staying).items())
        if family in quota and vcpus > quota[family]
    }
    if raised:
        at_s = load.arrival_s + _QUOTA_RAISED_S
        timeline.append({"at": round(at_s, 3), "cloud": {"quota": raised}})
    timeline.sort(key=lambda step: step["at"])
    expect: list[Body] = [
        {"workspace": target["name"], "namespace": target["namespace"], "ready": True}
        for number, target in enumerate(targets)
        if number not in deleted
    ]
    expect.append({"machines": sum(one.nodes for one in staying)})
    return {
        "description": f"{load.workspaces} Workspaces, made with seed {load.seed}.",
        "seed": load.seed,
        **({"cloud": {"quota": quota}} if quota else {}),
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
                    model=model.name,
                    gated=model.requires_auth,
                    instance_type=instance_type.name,
                    vcpus=instance_type.vcpus,
                    count=count,
                    nodes=count,
                )
                target = {"name": _name(one, 0), "namespace": _namespace(0)}
                decided = decide(parse_workspace(_manifest(target, one)), catalogue, None)
                if not isinstance(decided, Wanted) or decided.sizing.nodes in seen:
                    continue
                seen.add(decided.sizing.nodes)
                yield replace(one, nodes=decided.sizing.nodes)


def _vcpus(picked: Iterable[Choice]) -> Counter[str]:
    """What they take of each family's quota."""
    found: Counter[str] = Counter()
    for one in picked:
        found[one.family] += one.nodes * one.vcpus
    return found


def _quota(load: Load, picked: Sequence[Choice]) -> dict[str, int]:
    """vCPUs by family, enough for each Workspace alone; empty: no quota."""
    if load.quota_share is None:
        return {}
    quota = {}
    for family, vcpus in sorted(_vcpus(picked).items()):
        largest = max(one.nodes * one.vcpus for one in picked if one.family == family)
        quota[family] = max(ceil(load.quota_share * vcpus), largest)
    return quota


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


def _name(choice: Choice, number: int) -> str:
    """A DNS label, as a Workspace's name has to be."""
    return f"{choice.model.replace('.', '-')}-{number}"


def _namespace(number: int) -> str:
    return f"team-{number % NAMESPACES}"


def _manifest(target: Mapping[str, str], choice: Choice) -> Body:
    resource: Body = {
        "instanceType": choice.instance_type,
        "labelSelector": {"matchLabels": {"apps": target["name"]}},
    }
    if choice.count > 1:
        resource["count"] = choice.count
    preset: Body = {"name": choice.model}
    if choice.gated:
        preset["presetOptions"] = {"modelAccessSecret": _SECRET}
    return {
        "apiVersion": f"{GROUP}/{STORED_VERSION}",
        "kind": "Workspace",
        "metadata": {"name": target["name"], "namespace": target["namespace"]},
        "resource": resource,
        "inference": {"preset": preset},
    }


def _secret(namespace: str) -> Body:
    """What opens gated models to the Workspaces of a namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": _SECRET, "namespace": namespace},
        "stringData": {"HF_TOKEN": "a-token-of-the-twin"},
    }
