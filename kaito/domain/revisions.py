"""The history of a Workspace: what it has asked for, each spec once, the newest with the highest
number.

KAITO v0.12 keeps the same kind of history (pkg/workspace/controllers/workspace_controller.go,
syncControllerRevision); the revisions that it made count and are gone on with. It tells specs apart
by how Go writes them; here the content decides, so that a default that is written out makes no
difference, and a spec that KAITO kept is recognised. A spec that comes back gets a new number, as
in a StatefulSet's history; but by another revision that takes the old one's place, since a name
that goes with the number makes a round that is repeated harmless.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from kaito.domain.cluster_view import RevisionView, WorkspaceView
from kaito.domain.names import digest
from kaito.domain.pause import is_paused
from kaito.domain.plan import (
    AddFinalizer,
    CreateRevision,
    DeleteRevision,
    WorkspacePlan,
    WorkspaceStep,
    WriteStatus,
)
from kaito.domain.workspace import Workspace, WorkspaceFields

HISTORY_LIMIT: Final = 10  # as many as KAITO v0.12 keeps (pkg/utils/consts/consts.go)
_FIELDS: Final = set(WorkspaceFields.model_fields)
_HASH_CHARS: Final = 8


def spec_of(fields: WorkspaceFields) -> dict[str, Any]:
    """`resource` and `inference` or `tuning` as JSON, with what the user wrote and no more, and
    keys in order, as Go writes a map."""
    written: dict[str, Any] = fields.model_dump(
        mode="json", include=_FIELDS, exclude_unset=True, exclude_none=True
    )
    ordered: dict[str, Any] = json.loads(json.dumps(written, sort_keys=True))
    return ordered


def content_of(fields: WorkspaceFields) -> str:
    """A hash of what is asked for. Two specs that mean the same have the same one."""
    meant = fields.model_dump(
        mode="json", include=_FIELDS, exclude_defaults=True, exclude_none=True
    )
    return digest(json.dumps(meant, sort_keys=True, separators=(",", ":")))


def content_of_data(data: Mapping[str, Any]) -> str:
    """`content_of` a spec that was kept; empty, which is like no other, where it cannot be read."""
    given = {key: part for key, part in data.items() if part is not None}
    try:
        return content_of(WorkspaceFields.model_validate(given))
    except ValidationError:
        return ""


def revision_name(workspace: Workspace, number: int, taken: int = 0) -> str:
    """What the revision of the Workspace's spec with this number is called, always the same;
    `taken` says how many such names other objects have. No earlier Workspace had that one."""
    identity = f"{workspace.uid}/{content_of(workspace)}/{number}/{taken}"
    return f"{workspace.name}-{digest(identity)[:_HASH_CHARS]}"


def with_history(
    plan: WorkspacePlan, view: WorkspaceView, revisions: Sequence[RevisionView]
) -> WorkspacePlan:
    """The plan for a spec that can be carried out, and keeping that spec in the history: behind the
    fence, and before anything is changed for it. Nothing is kept while the Workspace is paused."""
    workspace, steps = view.workspace, plan.steps
    if workspace.is_deleting or is_paused(workspace) or AddFinalizer() in steps:
        return plan
    history = revision_steps(workspace, revisions)
    if not history:
        return plan
    if not steps:
        steps = (WriteStatus(status=view.status),)
    behind = next(at for at, step in enumerate(steps, 1) if isinstance(step, WriteStatus))
    return replace(plan, steps=(*steps[:behind], *history, *steps[behind:]))


def revision_steps(workspace: Workspace, revisions: Sequence[RevisionView]) -> list[WorkspaceStep]:
    """Make the Workspace's spec the newest of its history, and drop what is too old.

    A read that lags may lead to two revisions of one number; the next plan puts it right.
    """
    content = content_of(workspace)
    by_age = sorted(revisions, key=lambda one: (one.number, one.name))
    same = [one for one in by_age if one.content == content]
    others = [one for one in by_age if one.content != content]
    highest = by_age[-1].number if by_age else 0
    steps: list[WorkspaceStep] = []
    if same and (not others or same[-1].number > others[-1].number):
        same.pop()
    else:
        steps.append(CreateRevision(number=highest + 1))
    dropped = [*same, *others[: max(0, len(others) + 1 - HISTORY_LIMIT)]]
    return [*steps, *(DeleteRevision(name=one.name, uid=one.uid) for one in dropped)]
