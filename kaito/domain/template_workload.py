"""The workload of a Workspace with a pod template of the user's own."""

from kaito.domain import labels
from kaito.domain.cluster_view import ConfigView
from kaito.domain.machine import Owner
from kaito.domain.node_shape import NodeShape
from kaito.domain.template_sizing import AnySizing, TemplateSizing
from kaito.domain.workload import Workload, WorkloadKind
from kaito.domain.workload_plan import own_place, plan_workload
from kaito.domain.workspace import GROUP, STORED_VERSION, Workspace


def workload_of(
    workspace: Workspace,
    sizing: AnySizing,
    config: ConfigView | None,
    shape: NodeShape | None = None,
) -> Workload:
    """As `workload_plan.plan_workload`, and for templates too."""
    if not isinstance(sizing, TemplateSizing):
        return plan_workload(workspace, sizing, config, shape)
    assert workspace.inference is not None
    return Workload(
        kind=WorkloadKind.TEMPLATE,
        owner=Owner(uid=workspace.uid, namespace=workspace.namespace, name=workspace.name),
        owner_api_version=f"{GROUP}/{STORED_VERSION}",
        model="",
        image="",
        command=(),
        arguments=(),
        gpus=sizing.instance_type.gpu_count,
        replicas=sizing.nodes,
        node_labels=workspace.node_labels if shape is None else {},
        own_place=own_place(workspace, shape) if shape is not None else None,
        generation=workspace.metadata.generation,
        load_balancer=workspace.annotation(labels.ENABLE_LOAD_BALANCER) == "True",
        template=workspace.inference.template,
    )
