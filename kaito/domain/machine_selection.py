"""`labelSelector.matchExpressions` for machines that kaito orders.

A machine is made, not found: it can be given a label, so that `In` with one value is one more
label. Any other expression can only be kept by chance; it is accepted where the labels that every
machine of the Workspace gets keep it, and refused where they do not or cannot be known yet.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from kaito.domain import labels
from kaito.domain.errors import Problem
from kaito.domain.object_rules import expression_problems, is_system_label, label_problems
from kaito.domain.workspace import LabelSelectorRequirement, Workspace

FIELD: Final = "resource.labelSelector.matchExpressions"


def machine_expression_problems(workspace: Workspace) -> Iterator[Problem]:
    """A problem for each expression that machines would not keep."""
    found = workspace.resource.label_selector.match_expressions
    malformed = list(expression_problems(FIELD, found))
    yield from malformed
    if malformed:
        return
    known = _known_labels(workspace)
    for index, one in enumerate(found):
        yield from _problems(f"{FIELD}[{index}]", one, known)


def _known_labels(workspace: Workspace) -> Mapping[str, str]:
    """What every machine of the Workspace will be labelled with, as far as it can be known."""
    return workspace.node_labels | {
        labels.INSTANCE_TYPE: workspace.resource.instance_type,
        labels.OPERATING_SYSTEM: "linux",
        labels.ARCHITECTURE: "amd64",
        labels.ACCELERATOR: "nvidia",
    }


def _problems(
    field: str, one: LabelSelectorRequirement, known: Mapping[str, str]
) -> Iterator[Problem]:
    if one.key in labels.RESERVED:
        yield Problem(
            field=field,
            message=f"{one}: kaito itself sets {one.key}",
            remedy="Remove it, or use a label of your own",
            rule="selector-expressions",
        )
        return
    if one.matches(known):
        if one.only_value and one.key not in labels.SET_BY_KUBELET | {labels.ACCELERATOR}:
            yield from label_problems(field, {one.key: one.only_value})
        elif one.key not in known and is_system_label(one.key):
            yield _unknown(field, one)
        return
    if one.key in known:
        yield Problem(
            field=field,
            message=f"{one}: the machines will have {one.key}={known[one.key]}",
            remedy="Remove it, or correct what contradicts it",
            rule="selector-expressions",
        )
    elif is_system_label(one.key):
        yield _unknown(field, one)
    else:
        yield Problem(
            field=field,
            message=f"{one}: machines that are made have only the labels that they are given",
            remedy=f"Give one: {one.key} In with one value, or matchLabels",
            rule="selector-expressions",
        )


def _unknown(field: str, one: LabelSelectorRequirement) -> Problem:
    return Problem(
        field=field,
        message=f"{one}: {one.key} is only known once a machine is there",
        remedy="Remove it: machines are ordered, not selected",
        rule="selector-expressions",
    )
