"""Admission of Workspaces: the domain's rules, as the API server meets them."""

from typing import Final, Literal, TypeAlias

from kaito.adapters.kube_api import WORKSPACE, InvalidObject, KubeObject, Resource
from kaito.domain.catalogue import Catalogue
from kaito.domain.change_rules import change_problems
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.validation import validate
from kaito.domain.workspace import Workspace, parse_workspace

Operation: TypeAlias = Literal["CREATE", "UPDATE", "DELETE"]

_SPEC_KEYS: Final = ("resource", "inference", "tuning")


class WorkspaceAdmission:
    """A validating plug-in. It refuses what could never be planned, with every problem named.

    An update that leaves resource, inference and tuning as they were always passes, and so does
    one of an object that is being deleted: finalizers must come off whatever the rules say now.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

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
        if old is not None and _may_pass(new, old):
            return
        try:
            workspace = parse_workspace(new)
            problems = validate(workspace, self._catalogue)
            problems += _changes(old, workspace)
        except InvalidInput as error:
            problems = list(error.problems)
        if problems:
            name = new["metadata"].get("name", "")
            text = "; ".join(str(problem) for problem in problems)
            raise InvalidObject(
                f"Workspace {name!r} is refused: {text}",
                causes=[problem.field for problem in problems],
            )


def _changes(old: KubeObject | None, new: Workspace) -> list[Problem]:
    if old is None:
        return []
    try:
        before = parse_workspace(old)
    except InvalidInput:
        return []  # what could not be read may be put right in any way
    return change_problems(before, new)


def _may_pass(new: KubeObject, old: KubeObject) -> bool:
    if "deletionTimestamp" in old["metadata"]:
        return True
    return all(new.get(key) == old.get(key) for key in _SPEC_KEYS)
