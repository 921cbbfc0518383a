"""Admission of Workspaces: the domain's rules, as the API server meets them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from kaito.adapters.kube_api import WORKSPACE, InvalidObject, KubeObject, Resource
from kaito.domain import labels
from kaito.domain.catalogue import Catalogue
from kaito.domain.change_rules import change_problems
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.provisioner import Provisioner
from kaito.domain.template_sizing import size_workspace
from kaito.domain.validation import can_be_sized, validate
from kaito.domain.workspace import Workspace, parse_workspace

Operation: TypeAlias = Literal["CREATE", "UPDATE", "DELETE"]

_SPEC_KEYS: Final = ("resource", "inference", "tuning")
_JUDGED: Final = (labels.FALLBACK_INSTANCE_TYPES, labels.CAPACITY_CHOICE)  # annotations, as well


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the rules say of a write: problems refuse it, warnings go with it."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


class WorkspaceAdmission:
    """A validating plug-in. It refuses what could never be planned, with every problem named.

    An update that leaves resource, inference, tuning and the annotations that say what may be
    bought as they were always passes, and so does one of an object that is being deleted:
    finalizers must come off whatever the rules say now.
    """

    def __init__(
        self, catalogue: Catalogue, provisioner: Provisioner = Provisioner.KARPENTER
    ) -> None:
        self._catalogue = catalogue
        self._provisioner = provisioner

    def __call__(
        self,
        operation: Operation,
        resource: Resource,
        new: KubeObject | None,
        old: KubeObject | None,
    ) -> None:
        """Return to accept. Raises: InvalidObject (the write is refused)."""
        if (resource.group, resource.plural) != (WORKSPACE.group, WORKSPACE.plural):
            return
        if operation == "DELETE" or new is None:
            return
        problems = self.judge(new, old).problems
        if problems:
            text = refusal(new, "; ".join(str(problem) for problem in problems))
            raise InvalidObject(text, causes=[problem.field for problem in problems])

    def judge(self, new: KubeObject, old: KubeObject | None) -> Verdict:
        """What to say of a Workspace that is created (`old` is None) or updated."""
        if old is not None and _may_pass(new, old):
            return Verdict()
        try:
            workspace = parse_workspace(new)
        except InvalidInput as error:
            return Verdict(problems=error.problems)
        broken = validate(workspace, self._catalogue, provisioner=self._provisioner)
        problems = [*broken, *_changes(old, workspace)]
        if problems or not can_be_sized(workspace, self._catalogue):
            return Verdict(problems=tuple(problems))
        warnings = size_workspace(workspace, self._catalogue).warnings
        return Verdict(warnings=tuple(warning.message for warning in warnings))


def refusal(obj: KubeObject, reason: str) -> str:
    """The text of a refusal: which Workspace, and why."""
    return f"Workspace {_metadata(obj).get('name', '')!r} is refused: {reason}"


def _changes(old: KubeObject | None, new: Workspace) -> list[Problem]:
    if old is None:
        return []
    try:
        before = parse_workspace(old)
    except InvalidInput:
        return []  # what could not be read may be put right in any way
    return change_problems(before, new)


def _may_pass(new: KubeObject, old: KubeObject) -> bool:
    if _metadata(old).get("deletionTimestamp"):
        return True
    same = all(new.get(key) == old.get(key) for key in _SPEC_KEYS)
    return same and all(_annotation(new, key) == _annotation(old, key) for key in _JUDGED)


def _annotation(obj: KubeObject, key: str) -> object:
    return (_metadata(obj).get("annotations") or {}).get(key)


def _metadata(obj: KubeObject) -> Mapping[str, Any]:
    found: Mapping[str, Any] = obj.get("metadata") or {}
    return found
