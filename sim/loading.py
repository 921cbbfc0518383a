"""From the user's files to one checked scenario."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from kaito.adapters import documents
from kaito.adapters.documents import Document
from kaito.adapters.files import load_catalogue
from kaito.domain.catalogue import Catalogue
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.gpu import InstanceType
from kaito.domain.names import did_you_mean
from kaito.domain.parsing import problems_of, shown
from sim import manifests
from sim.cloud_file import CloudPart, GuardsPart, TimeoutsPart, cloud_problems
from sim.expectations import AnyExpect
from sim.fault_kinds import NodeLoss
from sim.manifests import Key
from sim.replay import find_problems, judge_inference_set, workspaces_in
from sim.scenario import (
    DEFAULT_REGION,
    DEFAULT_SEED,
    Apply,
    ChangeCloud,
    Delete,
    Inject,
    Patch,
    Scenario,
    Step,
    Unreconciled,
    World,
)
from sim.scenario_file import ExpectEvent, ExpectWorkspace, ScenarioFile, Target, TimelineStep

INCLUDE_DEPTH_LIMIT: Final = 16
_SCENARIO_KEYS: Final = [info.alias or key for key, info in ScenarioFile.model_fields.items()]
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Placed:
    """A step, and the part of the document that asks for it."""

    step: Step
    document: Document
    path: str


@dataclass(slots=True)
class Settings:
    """Values that a run has once, by name, each with the place that sets it."""

    values: dict[str, tuple[Any, str]] = field(default_factory=dict)

    def get(self, name: str, default: _Value) -> _Value:
        value: _Value = self.values[name][0] if name in self.values else default
        return value

    def add(self, other: "Settings") -> Iterator[Problem]:
        """Take over what is not set here. Yields a problem where two places disagree."""
        for name, (value, place) in other.values.items():
            known, first = self.values.setdefault(name, (value, place))
            if known != value:
                yield Problem(
                    field=f"{place}: {name}",
                    message=f"is {shown(value)} here and {shown(known)} at {first}",
                    remedy="Remove one, or set it in a scenario that includes both",
                )

    def override(self, below: "Settings") -> None:
        """Take over what is not set here, without asking."""
        self.values = below.values | self.values


def load(paths: Sequence[str], models: Path | None = None) -> Scenario:
    """The scenario that files, directories and standard input (`-`) describe together.

    `models`: a file or folder of models of the user's own, beside kaito's. Without `paths` nothing
    happens in it.

    Scenario files count by what they say. Plain manifests are applied at the start; each Workspace
    among them that no scenario speaks of is expected to become READY.

    Raises: InvalidInput with every problem of every file.
    """
    catalogue = load_catalogue(models=models)
    if not paths:
        return Scenario(files=(), catalogue=catalogue)
    loader = _Loader(catalogue)
    settings = Settings()
    for path in paths:
        loader.add_path(path, "", (), settings, plain=True)
    loader.check(settings)
    if loader.problems:
        raise InvalidInput(dict.fromkeys(loader.problems))
    return loader.scenario(tuple(paths), settings)


class _Loader:
    """Gathers steps, expectations and problems from every file."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.problems: list[Problem] = []
        self._catalogue = catalogue
        self._placed: list[Placed] = []
        self._expectations: list[tuple[AnyExpect, Document, str]] = []
        self._descriptions: list[str] = []
        self._plain_workspaces: list[Apply] = []
        self._unreconciled: list[tuple[Unreconciled, Mapping[str, Any], Document, str]] = []
        self._seen_files: set[str] = set()

    def add_path(
        self, path: str, field: str, chain: tuple[str, ...], settings: Settings, *, plain: bool
    ) -> None:
        """Add a file or directory. `field` says who names it, `chain` the scenarios above it."""
        try:
            files = documents.files_of(path)
        except InvalidInput as error:
            self._found(error.problems, field)
            return
        for file in files:
            identity = _identity(file)
            known = [above for above in chain if _identity(above) == identity]
            if known:
                circle = " -> ".join([*chain[chain.index(known[0]) :], file])
                self._found([Problem(field="", message=f"includes itself: {circle}")], field)
            elif len(chain) > INCLUDE_DEPTH_LIMIT:
                message = f"is included more than {INCLUDE_DEPTH_LIMIT} levels deep"
                self._found([Problem(field="", message=message)], field)
            elif identity not in self._seen_files:
                self._seen_files.add(identity)
                self._add_file(file, field, chain, settings, plain=plain)

    def _add_file(
        self, file: str, field: str, chain: tuple[str, ...], settings: Settings, *, plain: bool
    ) -> None:
        try:
            found = documents.read(file)
        except InvalidInput as error:
            self._found(error.problems, field)
            return
        for document in found:
            if manifests.is_manifest(document.body):
                self._add_manifest(document.body, document, "", 0.0, plain=plain)
            elif any(key in document.body for key in _SCENARIO_KEYS):
                own = self._add_scenario(document, (*chain, file))
                self.problems += settings.add(own)
            else:
                self.problems.append(_neither(document))

    def _add_scenario(self, document: Document, chain: tuple[str, ...]) -> Settings:
        try:
            content = ScenarioFile.model_validate(document.body)
        except ValidationError as error:
            self.problems += [document.locate(one) for one in problems_of(error, ScenarioFile)]
            return Settings()
        below = Settings()
        for index, path in enumerate(content.include):
            field = document.problem(f"include[{index}]", "").field
            self.add_path(_beside(document, path), field, chain, below, plain=True)
        if content.description:
            self._descriptions.append(content.description)
        for index, step in enumerate(content.timeline):
            self._add_step(step, document, index)
        for index, expected in enumerate(content.expect):
            self._expectations.append((expected, document, f"expect[{index}]"))
        own = _settings_of(content, document)
        own.override(below)
        return own

    def _add_step(self, step: TimelineStep, document: Document, index: int) -> None:
        path = f"timeline[{index}]"
        source = f"{document.file}:{document.line_of(path)}"
        if step.apply is not None:
            is_list = isinstance(document.body["timeline"][index]["apply"], list)
            for number, entry in enumerate(step.apply):
                at = f"{path}.apply[{number}]" if is_list else f"{path}.apply"
                self._add_applied(entry, document, at, step.at_s)
        elif step.patch is not None:
            key, merge = _key(step.patch), step.patch.merge
            patch = Patch(at_s=step.at_s, key=key, merge=merge, source=source)
            self._placed.append(Placed(patch, document, f"{path}.patch"))
        elif step.delete is not None:
            delete = Delete(at_s=step.at_s, key=_key(step.delete), source=source)
            self._placed.append(Placed(delete, document, f"{path}.delete"))
        elif step.cloud is not None:
            change = ChangeCloud(at_s=step.at_s, change=step.cloud, source=source)
            self._placed.append(Placed(change, document, f"{path}.cloud"))
        else:
            assert step.fault is not None, "a step has exactly one verb"
            inject = Inject(at_s=step.at_s, fault=step.fault, source=source)
            self._placed.append(Placed(inject, document, f"{path}.fault"))

    def _add_applied(
        self, entry: str | Mapping[str, Any], document: Document, path: str, at_s: float
    ) -> None:
        if not isinstance(entry, str):
            self._add_manifest(entry, document, path, at_s, plain=False)
            return
        field = document.problem(path, "").field
        try:
            files = documents.files_of(_beside(document, entry))
            found = [one for file in files for one in documents.read(file)]
        except InvalidInput as error:
            self._found(error.problems, field)
            return
        for one in found:
            if manifests.is_manifest(one.body):
                self._add_manifest(one.body, one, "", at_s, plain=False)
            else:
                message = f"{one.source} is not a Kubernetes object"
                remedy = "Scenarios are added with include, not applied"
                self._found([Problem(field="", message=message, remedy=remedy)], field)

    def _add_manifest(
        self, body: Mapping[str, Any], document: Document, path: str, at_s: float, *, plain: bool
    ) -> None:
        found = manifests.problems_in(body)
        self.problems += [document.locate(problem, within=path) for problem in found]
        key = manifests.key_of(body)
        if key is None:
            return
        source = f"{document.file}:{document.line_of(path)}"
        if not manifests.is_reconciled(body):
            version = str(body.get("apiVersion"))
            left = Unreconciled(at_s=at_s, api_version=version, source=source, key=key)
            self._unreconciled.append((left, body, document, path))
            return
        step = Apply(at_s=at_s, manifest=manifests.as_applied(body), source=source, key=key)
        self._placed.append(Placed(step, document, path))
        if plain and key.kind == manifests.WORKSPACE:
            self._plain_workspaces.append(step)

    def check(self, settings: Settings) -> None:
        """Look at everything together, once all files are read."""
        self._placed.sort(key=lambda placed: placed.step.at_s)
        if not self._placed and not self._unreconciled and not self.problems:
            message = "nothing ever happens: no file applies anything"
            remedy = "Add a timeline, or give a manifest"
            self.problems.append(Problem(field="", message=message, remedy=remedy))
        steps = [one.step for one in self._placed]
        for placed, problem in find_problems(steps, self._catalogue):
            one = self._placed[placed]
            within = one.path
            if isinstance(one.step, Patch) and problem.field not in {"name", "kind"}:
                within = f"{within}.merge"
            self.problems.append(one.document.locate(problem, within=within))
        for _left, body, document, path in self._unreconciled:
            for problem in judge_inference_set(body, self._catalogue):
                self.problems.append(document.locate(problem, within=path))
        for one in self._placed:
            if isinstance(one.step, ChangeCloud):
                found = cloud_problems(one.step.change, self._catalogue)
                self.problems += [one.document.locate(each, within=one.path) for each in found]
        self._check_names()
        cloud, place = settings.values.get("cloud", (CloudPart(), ""))
        for problem in cloud_problems(cloud, self._catalogue):
            self.problems.append(replace(problem, field=f"{place}: cloud.{problem.field}"))
        self.problems += _region_problems(settings, self._catalogue.instance_types)

    def _check_names(self) -> None:
        applied = {
            f"{key.namespace}/{key.name}"
            for key in (one.step.key for one in self._placed if isinstance(one.step, Apply))
            if key.kind == manifests.WORKSPACE
        }
        named: list[tuple[ExpectWorkspace | ExpectEvent | NodeLoss, Document, str]] = [
            (expected, document, path)
            for expected, document, path in self._expectations
            if isinstance(expected, ExpectWorkspace | ExpectEvent)
        ]
        named += [
            (one.step.fault, one.document, one.path)
            for one in self._placed
            if isinstance(one.step, Inject) and isinstance(one.step.fault, NodeLoss)
        ]
        for part, document, path in named:
            wanted = f"{part.namespace}/{part.workspace}"
            if part.workspace is not None and wanted not in applied:
                message = f"no Workspace {wanted} is ever applied"
                remedy = did_you_mean(wanted, applied) if applied else ""
                self.problems.append(document.problem(f"{path}.workspace", message, remedy))

    def scenario(self, files: tuple[str, ...], settings: Settings) -> Scenario:
        """Everything together. Call it only when there is no problem."""
        steps = tuple(placed.step for placed in self._placed)
        provided = {one.key for one in steps if isinstance(one, Apply)}
        used = {key.namespace for key in provided if key.namespace}
        made = {key.name for key in provided if key.kind == manifests.NAMESPACE}
        latencies = {
            name.removeprefix(_LATENCY): value
            for name, (value, _) in sorted(settings.values.items())
            if name.startswith(_LATENCY)
        }
        return Scenario(
            files=files,
            description=" ".join(self._descriptions),
            seed=settings.get("seed", DEFAULT_SEED),
            world=World(
                region=settings.get("world.region", DEFAULT_REGION),
                latency_scale=settings.get("world.latency_scale", 1.0),
                latencies_s=latencies,
                cloud=settings.get("cloud", CloudPart()),
                guards=settings.get("guards", GuardsPart()),
                timeouts=settings.get("timeouts", TimeoutsPart()),
            ),
            steps=steps,
            until_s=settings.get("until", None),
            expectations=(*(one for one, _, _ in self._expectations), *self._implied()),
            namespaces=tuple(sorted(used - made - {manifests.DEFAULT_NAMESPACE})),
            assumed_secrets=tuple(self._assumed_secrets(provided)),
            catalogue=self._catalogue,
            unreconciled=tuple(left for left, _, _, _ in self._unreconciled),
        )

    def _implied(self) -> Iterator[ExpectWorkspace]:
        """READY for each Workspace of a plain manifest that no scenario speaks of."""
        spoken_of = {
            (one.namespace, one.workspace)
            for one, _, _ in self._expectations
            if isinstance(one, ExpectWorkspace)
        }
        for step in self._plain_workspaces:
            if (step.key.namespace, step.key.name) not in spoken_of:
                yield ExpectWorkspace(
                    workspace=step.key.name, namespace=step.key.namespace, ready=True
                )

    def _assumed_secrets(self, provided: set[Key]) -> list[tuple[str, str]]:
        named = {
            (step.key.namespace, secret): None
            for step, workspace in workspaces_in(self._plain_workspaces)
            for secret in manifests.secrets_of(workspace)
        }
        return [one for one in named if Key(manifests.SECRET, *one) not in provided]

    def _found(self, problems: Sequence[Problem], field: str) -> None:
        """Problems with a file, put where the file is named if that is another file."""
        for one in problems:
            if not field:
                self.problems.append(one)
            else:
                message = f"{one.field}: {one.message}" if one.field else one.message
                self.problems.append(replace(one, field=field, message=message))


_LATENCY: Final = "world.latencies."


def _identity(file: str) -> str:
    return file if file == documents.STDIN else str(Path(file).resolve())


def _beside(document: Document, path: str) -> str:
    """`path` as seen from the document's file."""
    return str(Path(document.file).parent / path)


def _key(target: Target) -> Key:
    of_cluster = target.kind in {manifests.NAMESPACE, manifests.STORAGE_CLASS}
    namespace = "" if of_cluster else target.namespace
    return Key(target.kind, namespace, target.name)


def _region_problems(
    settings: Settings, instance_types: Sequence[InstanceType]
) -> Iterator[Problem]:
    region, place = settings.values.get("world.region", (DEFAULT_REGION, ""))
    known = {one for instance_type in instance_types for one in instance_type.prices}
    if region not in known:
        message = f"there is no price in the region {shown(region)}"
        remedy = did_you_mean(region, known)
        yield Problem(field=f"{place}: world.region", message=message, remedy=remedy)


def _settings_of(content: ScenarioFile, document: Document) -> Settings:
    given = {
        "seed": content.seed,
        "until": content.until_s,
        "cloud": content.cloud,
        "guards": content.guards,
        "timeouts": content.timeouts,
        "world.region": content.world.region,
        "world.latency_scale": content.world.latency_scale,
        **{f"{_LATENCY}{name}": value for name, value in content.world.latencies.items()},
    }
    return Settings(
        {
            name: (value, f"{document.file}:{document.line_of(name)}")
            for name, value in given.items()
            if value is not None
        }
    )


def _neither(document: Document) -> Problem:
    keys = list(document.body)
    close = next((did_you_mean(key, _SCENARIO_KEYS) for key in keys), "")
    hint = f"{close} " if close.startswith("Did") else ""
    return document.problem(
        "",
        f"is neither a Kubernetes object (apiVersion, kind) nor a scenario; it has the keys "
        f"{shown(', '.join(keys))}",
        f"{hint}A scenario has {', '.join(_SCENARIO_KEYS)}",
    )
