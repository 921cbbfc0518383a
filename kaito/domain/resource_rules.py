"""Rules of a Workspace's `resource`: machines that kaito orders, or Nodes that users bring."""

from collections.abc import Iterator
from typing import Final, assert_never

from kaito.domain.catalogue import Catalogue, UnknownInstanceType
from kaito.domain.errors import Problem
from kaito.domain.machine_selection import machine_expression_problems
from kaito.domain.names import is_dns_subdomain
from kaito.domain.object_rules import (
    expression_problems,
    label_problems,
    selected_label_problems,
    value_problems,
)
from kaito.domain.partition import partition_problems
from kaito.domain.provisioner import Provisioner
from kaito.domain.workspace import Workspace

MAX_MACHINES: Final = 100  # of one Workspace: AKS's limit of agent pools in a cluster
_SELECTOR: Final = "resource.labelSelector"


def resource_problems(
    workspace: Workspace, catalogue: Catalogue, provisioner: Provisioner
) -> Iterator[Problem]:
    """Every broken rule of where it is to run."""
    match provisioner:
        case Provisioner.KARPENTER | Provisioner.AKS:
            yield from _ordered(workspace, catalogue)
        case Provisioner.BYO:
            yield from _brought(workspace, catalogue)
        case _:
            assert_never(provisioner)
    selector = workspace.resource.label_selector
    if not selector.match_labels and not selector.match_expressions:
        yield Problem(
            field=_SELECTOR,
            message="selects nothing",
            remedy="Add matchLabels with a label of your own, such as apps: my-model",
            rule="selector-empty",
        )


def _ordered(workspace: Workspace, catalogue: Catalogue) -> Iterator[Problem]:
    resource = workspace.resource
    selector = resource.label_selector
    if not resource.instance_type:
        yield Problem(
            field="resource.instanceType",
            message="is required",
            remedy="Name a GPU machine type, such as Standard_NC24ads_A100_v4",
            rule="instance-type-required",
        )
    else:
        try:
            catalogue.instance_type(resource.instance_type)
        except UnknownInstanceType as error:
            yield Problem(
                field="resource.instanceType",
                message=error.message,
                remedy=error.remedy,
                rule="instance-type-known",
            )
    if selector.match_labels and not workspace.node_labels:
        yield Problem(
            field=f"{_SELECTOR}.matchLabels",
            message="holds only labels that kaito itself sets",
            remedy="Add a label of your own, such as apps: my-model",
            rule="selector-reserved",
        )
    yield from label_problems(f"{_SELECTOR}.matchLabels", selector.match_labels)
    yield from machine_expression_problems(workspace)
    if resource.count > MAX_MACHINES:
        yield Problem(
            field="resource.count",
            message=f"is {resource.count}, at most {MAX_MACHINES} are possible",
            remedy="An AKS cluster has at most 100 agent pools",
            rule="count-limit",
        )
    if resource.partition is not None:
        yield Problem(
            field="resource.partition",
            message="is only possible on machines that you bring yourself",
            remedy="Remove it",
            rule="partition-ordered",
        )


def _brought(workspace: Workspace, catalogue: Catalogue) -> Iterator[Problem]:
    """Labels may be anybody's here, for nobody is given them; and the instance type is one of
    them."""
    resource = workspace.resource
    selector = resource.label_selector
    yield from value_problems("resource.instanceType", resource.instance_type)
    yield from selected_label_problems(f"{_SELECTOR}.matchLabels", selector.match_labels)
    yield from expression_problems(f"{_SELECTOR}.matchExpressions", selector.match_expressions)
    for index, name in enumerate(resource.preferred_nodes):
        if not is_dns_subdomain(name):
            yield Problem(
                field=f"resource.preferredNodes[{index}]",
                message=f"{name!r} cannot be the name of a Node",
                remedy="Use a name that kubectl get nodes lists",
                rule="preferred-node-name",
            )
    yield from partition_problems(workspace, catalogue)
