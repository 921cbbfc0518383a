"""What may not be changed in a Workspace: its machines, or what is on their disks, would no longer
be the ones asked for.

KAITO v0.12 refuses the same changes (api/v1beta1/workspace_validation.go:237-246, 342-348, 413,
780-823, 895-901). What is not named here may change: config, adapters, template, tuning data and
results, annotations; the planner rolls it out.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from kaito.domain.errors import Problem
from kaito.domain.parsing import shown
from kaito.domain.workspace import InferenceSpec, TuningSpec, Workspace


class _Fixed(NamedTuple):
    """A field that may not change, as it was and as it is to be."""

    field: str
    rule: str
    before: Any
    after: Any


def change_problems(old: Workspace, new: Workspace) -> list[Problem]:
    """A problem for each field that changed and may not."""
    return [
        Problem(
            field=one.field,
            message=f"cannot be changed, from {shown(one.before)} to {shown(one.after)}",
            remedy="Delete the Workspace and make a new one",
            rule=one.rule,
        )
        for one in _fixed(old, new)
        if one.before != one.after
    ]


def _fixed(old: Workspace, new: Workspace) -> Iterator[_Fixed]:
    yield _Fixed("inference", "mode-fixed", old.inference is not None, new.inference is not None)
    yield _Fixed("tuning", "mode-fixed", old.tuning is not None, new.tuning is not None)
    yield from _fixed_resource(old, new)
    mode = "tuning" if new.tuning is not None else "inference"
    if old.preset is not None and new.preset is not None:
        names = (old.preset.name, new.preset.name)
        yield _Fixed(f"{mode}.preset.name", "preset-fixed", *names)
    if old.inference is not None and new.inference is not None:
        yield from _fixed_inference(old.inference, new.inference)
    if old.tuning is not None and new.tuning is not None:
        yield from _fixed_tuning(old.tuning, new.tuning)


def _fixed_resource(old: Workspace, new: Workspace) -> Iterator[_Fixed]:
    before, after = old.resource, new.resource
    types = (before.instance_type, after.instance_type)
    yield _Fixed("resource.instanceType", "instance-type-fixed", *types)
    yield _Fixed("resource.count", "count-fixed", before.count, after.count)
    selectors = (before.label_selector, after.label_selector)
    labels = [dict(one.match_labels) for one in selectors]
    yield _Fixed("resource.labelSelector.matchLabels", "selector-fixed", *labels)
    expressions = [[str(each) for each in one.match_expressions] for one in selectors]
    yield _Fixed("resource.labelSelector.matchExpressions", "selector-fixed", *expressions)
    partitions = [one.partition and one.partition.model_dump() for one in (before, after)]
    yield _Fixed("resource.partition", "partition-fixed", *partitions)


def _fixed_inference(old: InferenceSpec, new: InferenceSpec) -> Iterator[_Fixed]:
    """From a preset to a template, or back; one that had both or neither may be put right."""
    if (old.preset is None) != (old.template is None):
        given = [one.template is not None for one in (old, new)]
        yield _Fixed("inference.template", "template-fixed", *given)


def _fixed_tuning(old: TuningSpec, new: TuningSpec) -> Iterator[_Fixed]:
    yield _Fixed("tuning.method", "tuning-method-fixed", old.method.lower(), new.method.lower())
    if old.input is not None and new.input is not None:
        yield _Fixed("tuning.input.name", "tuning-input-fixed", old.input.name, new.input.name)
