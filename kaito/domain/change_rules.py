"""What may not be changed in a Workspace: its machines would no longer be the ones asked for.

KAITO v0.12 refuses the same changes (api/v1beta1/workspace_validation.go:780-823, 895, 342).
"""

from collections.abc import Iterator
from typing import Any

from kaito.domain.errors import Problem
from kaito.domain.parsing import shown
from kaito.domain.workspace import Workspace


def change_problems(old: Workspace, new: Workspace) -> list[Problem]:
    """A problem for each field that changed and may not."""
    return [
        Problem(
            field=field,
            message=f"cannot be changed, from {shown(before)} to {shown(after)}",
            remedy="Delete the Workspace and make a new one",
        )
        for field, before, after in _fixed(old, new)
        if before != after
    ]


def _fixed(old: Workspace, new: Workspace) -> Iterator[tuple[str, Any, Any]]:
    yield "inference", old.inference is not None, new.inference is not None
    yield "tuning", old.tuning is not None, new.tuning is not None
    yield "resource.instanceType", old.resource.instance_type, new.resource.instance_type
    yield "resource.count", old.resource.count, new.resource.count
    yield "resource.partition", _partition_text(old), _partition_text(new)
    labels = [dict(part.resource.label_selector.match_labels) for part in (old, new)]
    yield "resource.labelSelector.matchLabels", labels[0], labels[1]
    if labels[0] == labels[1]:  # expressions that machines carry as labels
        given = [dict(part.resource.label_selector.given_labels) for part in (old, new)]
        yield "resource.labelSelector.matchExpressions", given[0], given[1]
    templates = [
        one.inference is not None and one.inference.template is not None for one in (old, new)
    ]
    if old.inference is not None and new.inference is not None:
        yield "inference.template", templates[0], templates[1]
    mode = "tuning" if new.tuning is not None else "inference"
    if old.preset is not None and new.preset is not None:
        yield f"{mode}.preset.name", old.preset.name, new.preset.name
    if old.tuning is not None and new.tuning is not None:
        yield "tuning.method", old.tuning.method.lower(), new.tuning.method.lower()


def _partition_text(workspace: Workspace) -> str:
    """Such as `mig 1g.10gb`; empty for none."""
    partition = workspace.resource.partition
    if partition is None:
        return ""
    return f"{partition.mode} {partition.profile or partition.count or ''}".strip()
