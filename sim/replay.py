"""Plays a timeline on paper: what is wrong with it before any of it is simulated."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kaito.adapters import yaml_values
from kaito.domain.catalogue import Catalogue
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.inference_set import parse_inference_set, validate_inference_set
from kaito.domain.names import nearest
from kaito.domain.validation import validate
from kaito.domain.workspace import Workspace, parse_workspace
from sim import manifests
from sim.manifests import Key
from sim.scenario import Apply, Delete, Patch, Step


def find_problems(steps: Sequence[Step], catalogue: Catalogue) -> Iterator[tuple[int, Problem]]:
    """What is wrong with `steps` (sorted by time): (index of the step, problem with its part).

    A field is relative to the manifest, or to the patch; `name` is the target's.
    """
    objects: dict[Key, Mapping[str, Any]] = {}
    start = 0
    while start < len(steps):
        end = start
        while end < len(steps) and steps[end].at_s == steps[start].at_s:
            end += 1
        yield from _duplicates(steps, range(start, end))
        for index in range(start, end):
            yield from ((index, one) for one in _play(steps[index], objects))
        for index in range(start, end):
            yield from ((index, one) for one in _judge(steps[index], objects, catalogue))
        start = end


def workspaces_in(steps: Iterable[Apply]) -> Iterator[tuple[Apply, Workspace]]:
    """The Workspaces among the applied manifests that can be read."""
    for step in steps:
        workspace = _parsed(step.manifest)
        if workspace is not None:
            yield step, workspace


def judge_inference_set(body: Mapping[str, Any], catalogue: Catalogue) -> list[Problem]:
    """What is wrong with an InferenceSet beyond what its file says by itself; other kinds that
    nothing acts on are not looked into."""
    if body.get("kind") != manifests.INFERENCE_SET:
        return []
    try:
        return validate_inference_set(parse_inference_set(body), catalogue)
    except InvalidInput:
        return []  # said where the manifest was read


def _duplicates(steps: Sequence[Step], among: range) -> Iterator[tuple[int, Problem]]:
    first: dict[Key, str] = {}
    for index in among:
        step = steps[index]
        if not isinstance(step, Apply):
            continue
        if step.key in first:
            message = f"{step.key} is given twice at one time, also at {first[step.key]}"
            remedy = "Remove or rename one"
            yield index, Problem(field="metadata.name", message=message, remedy=remedy)
        first.setdefault(step.key, step.source)


def _play(step: Step, objects: dict[Key, Mapping[str, Any]]) -> Iterator[Problem]:
    """Change `objects` as the step does."""
    if isinstance(step, Apply):
        objects[step.key] = step.manifest
    elif isinstance(step, Patch | Delete):
        if step.key not in objects:
            close = nearest(step.key.name, [key.name for key in objects])
            hint = f"Did you mean {' or '.join(close)}?" if close else "Apply it at an earlier time"
            message = f"there is no {step.key} at {step.at_s:g} s"
            yield Problem(field="name", message=message, remedy=hint)
        elif isinstance(step, Patch):
            objects[step.key] = manifests.merged(objects[step.key], step.merge)
        else:
            _remove(step.key, objects)


def _remove(key: Key, objects: dict[Key, Mapping[str, Any]]) -> None:
    del objects[key]
    if key.kind == manifests.NAMESPACE:
        for inside in [one for one in objects if one.namespace == key.name]:
            del objects[inside]


def _judge(
    step: Step, objects: Mapping[Key, Mapping[str, Any]], catalogue: Catalogue
) -> Iterator[Problem]:
    """What is wrong with the object that the step leaves, beyond what each file says by itself."""
    if not isinstance(step, Apply | Patch):
        return
    body = step.manifest if isinstance(step, Apply) else objects.get(step.key)
    if body is None:
        return
    if isinstance(step, Patch):
        found = manifests.problems_in(body)
        yield from found
        if found:
            return
    if step.key.kind == manifests.CONFIG_MAP:
        yield from _config_problems(body)
    workspace = _parsed(body) if step.key.kind == manifests.WORKSPACE else None
    if workspace is not None:
        yield from validate(workspace, catalogue, _config_of(workspace, objects))


def _parsed(body: Mapping[str, Any]) -> Workspace | None:
    try:
        return parse_workspace(body)
    except InvalidInput:
        return None  # said where the manifest was read


def _config_problems(body: Mapping[str, Any]) -> Iterator[Problem]:
    """A config that is no YAML mapping; what it may hold is the business of those that read it."""
    data = body.get("data")
    for key in (manifests.INFERENCE_CONFIG, manifests.TRAINING_CONFIG):
        text = data.get(key) if isinstance(data, Mapping) else None
        if isinstance(text, str):
            yield from _text_problems(f"data.{key}", text)


def _text_problems(field: str, text: str) -> Iterator[Problem]:
    try:
        parsed = yaml_values.parse(text)
    except yaml_values.BadText as error:
        for flaw in error.flaws:
            where = f"in its line {flaw.line}{f', {flaw.path}' if flaw.path else ''}: "
            message = f"{where}{flaw.message}"
            yield Problem(field=field, message=message, remedy=flaw.remedy, rule="config-readable")
        return
    if parsed and not isinstance(parsed[0].value, dict):
        message = "must hold a mapping, such as vllm: {...}"
        yield Problem(field=field, message=message, rule="config-readable")


def _config_of(
    workspace: Workspace, objects: Mapping[Key, Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """What the Workspace's ConfigMap says, parsed, if it is there by then."""
    if workspace.tuning is not None:
        name, key = workspace.tuning.config, manifests.TRAINING_CONFIG
    else:
        name = workspace.inference.config if workspace.inference else ""
        key = manifests.INFERENCE_CONFIG
    found = objects.get(Key(manifests.CONFIG_MAP, workspace.namespace, name), {})
    data = found.get("data")
    text = data.get(key) if isinstance(data, Mapping) else None
    if not isinstance(text, str):
        return None
    try:
        parsed = yaml_values.parse(text)
    except yaml_values.BadText:
        return None
    return parsed[0].value if parsed and isinstance(parsed[0].value, dict) else None
