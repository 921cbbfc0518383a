"""The machines of a Workspace: which it should have, and what to create, keep and release."""

from dataclasses import replace
from itertools import count

from kaito.domain import labels
from kaito.domain.cluster_view import ClusterView, WorkspaceView
from kaito.domain.machine import Machine, MachineSpec, Owner
from kaito.domain.machine_policy import MachinePolicy, is_launched
from kaito.domain.plan import CreateMachine, DeleteMachine, RetryMachine, WorkspaceStep
from kaito.domain.template_sizing import AnySizing


def owner_of(view: WorkspaceView) -> Owner:
    """The Workspace as the owner of machines and workloads."""
    workspace = view.workspace
    return Owner(uid=workspace.uid, namespace=workspace.namespace, name=workspace.name)


def steps_for_machines(
    view: WorkspaceView, cluster: ClusterView, sizing: AnySizing, policy: MachinePolicy | None
) -> tuple[list[WorkspaceStep], list[Machine]]:
    """What to create and release, and the machines that stay, by slot."""
    specs = {spec.slot: spec for spec in machine_specs(view, sizing, policy)}
    wish = view.workspace.annotation(labels.RETRY)
    steps: list[WorkspaceStep] = []
    kept: dict[int, Machine] = {}
    for machine in cluster.machines:
        slot = machine.spec.slot
        if machine.deleting:
            specs.pop(slot, None)  # made again under its name once it is gone
        elif slot not in specs:
            steps.append(delete_machine(machine, "no longer needed"))
        elif not is_of_type(machine, specs[slot].instance_type):
            steps.append(delete_machine(machine, "another instance type is wanted"))
            del specs[slot]
        elif machine.spec.offers != specs[slot].offers and not is_launched(machine):
            steps.append(delete_machine(machine, "another choice of machines is wanted"))
            del specs[slot]
        else:
            kept[slot] = machine
            del specs[slot]
            if machine.spec.retry != wish:
                retry = RetryMachine(claim_name=machine.claim_name, uid=machine.uid, wish=wish)
                steps.append(retry)
    steps += [CreateMachine(spec=specs[slot]) for slot in sorted(specs)]
    return steps, [kept[slot] for slot in sorted(kept)]


def machine_specs(
    view: WorkspaceView, sizing: AnySizing, policy: MachinePolicy | None = None
) -> tuple[MachineSpec, ...]:
    """One machine for each node of the fit. Without a `policy`: of the instance type that it is
    sized for."""
    workspace = view.workspace
    policy = policy or MachinePolicy(instance_type=sizing.instance_type)
    return tuple(
        MachineSpec(
            owner=owner_of(view),
            slot=slot,
            instance_type=policy.instance_type.name,
            gpus=policy.instance_type.gpu_count,
            disk_bytes=sizing.disk_bytes,
            labels=machine_labels(view, slot),
            image_family=workspace.annotation(labels.NODE_IMAGE_FAMILY),
            retry=workspace.annotation(labels.RETRY),
            weights_class=sizing.weights_class,
            fallbacks=policy.fallback_gpus if slot == 0 else (),
            capacity_types=policy.capacity_types,
        )
        for slot in range(sizing.nodes)
    )


def machine_labels(view: WorkspaceView, slot: int) -> dict[str, str]:
    """The labels of a machine and its Node: the user's, and whose it is."""
    workspace = view.workspace
    return workspace.node_labels | {
        labels.WORKSPACE: workspace.name,
        labels.WORKSPACE_NAMESPACE: workspace.namespace,
        labels.WORKSPACE_UID: workspace.uid,
        labels.SLOT: str(slot),
        labels.NODE_POOL: labels.NODE_POOL_KAITO,
        labels.ACCELERATOR: "nvidia",
    }


def adopted_machines(view: WorkspaceView, cluster: ClusterView) -> list[Machine]:
    """KAITO v0.12's machines as the Workspace's own.

    All of them are adopted, so that none is forgotten: what is one too many, or of another
    instance type, is then released like any other. The lowest free slots go to those that a pod
    runs on, then to the ready ones, then to the oldest.
    """
    if not cluster.adoptable:
        return []
    used = {machine.spec.slot for machine in cluster.machines}
    free = (slot for slot in count() if slot not in used)
    served = {pod.node_name for pod in cluster.pods if pod.node_name}
    instance_type = view.workspace.resource.instance_type

    def rank(machine: Machine) -> tuple[object, ...]:
        return (
            machine.deleting,
            not is_of_type(machine, instance_type),
            machine.node_name not in served,
            not machine.is_ready,
            machine.created_at_s,
            machine.claim_name,
        )

    ranked = sorted(cluster.adoptable, key=rank)
    return [_adopted(view, machine, slot) for machine, slot in zip(ranked, free, strict=False)]


def _adopted(view: WorkspaceView, machine: Machine, slot: int) -> Machine:
    own = dict(machine.spec.labels) | machine_labels(view, slot)
    return replace(machine, spec=replace(machine.spec, owner=owner_of(view), slot=slot, labels=own))


def is_of_type(machine: Machine, instance_type: str) -> bool:
    """Clouds ignore the case of a type's name, and KAITO writes it as the user did."""
    return machine.spec.instance_type.lower() == instance_type.lower()


def delete_machine(machine: Machine, reason: str) -> DeleteMachine:
    """Release it."""
    return DeleteMachine(claim_name=machine.claim_name, uid=machine.uid, reason=reason)
