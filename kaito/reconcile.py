"""Observe, plan, act: the same functions in production and in the twin.

A round is a generator that yields after every port call. Production drains it; the twin puts
latency, other actors, stale reads and crashes at each yield. It returns when to look again.
"""

from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias, assert_never

from kaito.domain.catalogue import Catalogue
from kaito.domain.cluster_view import ClusterView, ConfigView, WorkloadView, WorkspaceView
from kaito.domain.conditions import cut_message
from kaito.domain.decision import NO_LOCAL_DISKS, Refusal, Wanted, decide
from kaito.domain.errors import PortError, Rejected, Unavailable
from kaito.domain.machine import Machine, NodePod, Owner
from kaito.domain.machine_limits import MachineLimits
from kaito.domain.machine_plan import launch_failed, not_given_back, orphans, plan_machine
from kaito.domain.machine_policy import bought_type
from kaito.domain.machine_record import MachineView
from kaito.domain.machine_release import may_drain
from kaito.domain.own_nodes import OwnNodes, find_nodes
from kaito.domain.pause import is_paused, paused_machine, touches_machines
from kaito.domain.plan import (
    AddFinalizer,
    AdoptMachine,
    AdoptWorkload,
    ApplyWorkload,
    CreateMachine,
    CreateRevision,
    DeleteMachine,
    DeleteRevision,
    DeleteWorkload,
    EvictPod,
    LabelNode,
    Launch,
    MachinePlan,
    MachineStep,
    Note,
    RemoveFinalizer,
    RetryMachine,
    TaintNode,
    Terminate,
    WorkspacePlan,
    WorkspaceStep,
    WriteMachine,
    WriteStatus,
)
from kaito.domain.ports import (
    Clock,
    MachineBudget,
    MachineCloud,
    MachineStore,
    NoBudget,
    WorkspaceStore,
)
from kaito.domain.provisioner import Provisioner
from kaito.domain.revisions import with_history
from kaito.domain.weights_volume import LocalDisks, local_disks
from kaito.domain.workspace import Workspace
from kaito.domain.workspace_plan import owner_of, plan_workspace, write_rejected
from kaito.recently_used import RecentlyUsed

RESYNC_S: Final = 900.0  # a safety net: watches wake rounds long before


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a round ended. `again_after_s` None: not before something changes. A round that ended
    with an `error` is repeated, further apart each time. One that is `resting` found nothing to do:
    it is repeated for safety only, less often the longer that goes on."""

    again_after_s: float | None = None
    error: PortError | None = None
    resting: bool = False

    @property
    def failed(self) -> bool:
        return self.error is not None


Steps: TypeAlias = Generator[None, None, Outcome]


class Decisions:
    """What each Workspace wants, decided again only when its spec, its config or the shape of its
    Nodes has changed."""

    def __init__(
        self, catalogue: Catalogue, provisioner: Provisioner = Provisioner.KARPENTER
    ) -> None:
        self.provisioner = provisioner
        self._catalogue = catalogue
        self._known: RecentlyUsed[str, tuple[object, Wanted | Refusal]] = RecentlyUsed()

    def own_nodes(self, workspace: Workspace, cluster: ClusterView) -> OwnNodes | None:
        """The Nodes that the user brings, or None where machines are ordered."""
        if self.provisioner is not Provisioner.BYO:
            return None
        return find_nodes(workspace, cluster, self._catalogue)

    def of(
        self,
        workspace: Workspace,
        config: ConfigView | None,
        own: OwnNodes | None = None,
        bought: str = "",
        disks: LocalDisks = NO_LOCAL_DISKS,
    ) -> Wanted | Refusal:
        """The same as `decision.decide`."""
        metadata = workspace.metadata
        basis = (
            metadata.generation,
            metadata.annotations,
            _basis(config),
            own and (own.shape or own.missing),
            bought,
            disks,
        )
        known = self._known.get(workspace.uid)
        if known is not None and known[0] == basis:
            return known[1]
        decided = decide(workspace, self._catalogue, config, own, bought, disks)
        self._known.put(workspace.uid, (basis, decided))
        return decided

    def forget(self, workspace: Workspace) -> None:
        """Let go of a Workspace that is being deleted."""
        self._known.drop(workspace.uid)

    def forget_unused(self) -> None:
        """Let go of what was not asked for since the last call."""
        self._known.forget_unused()


def _basis(config: ConfigView | None) -> object:
    return config and (config.name, config.content_hash, config.problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything that reconciling needs from the outside. `watched_from_s` is when this process
    began, in seconds since the epoch."""

    workspaces: WorkspaceStore
    machines: MachineStore
    cloud: MachineCloud
    clock: Clock
    limits: MachineLimits
    decisions: Decisions
    budget: MachineBudget = field(default_factory=NoBudget)
    watched_from_s: float = 0.0

    @property
    def provisioner(self) -> Provisioner:
        """Who brings the Nodes."""
        return self.decisions.provisioner

    def forget_unused(self) -> None:
        """Let go of what was worked out for rounds and not asked for since the last call."""
        self.decisions.forget_unused()
        self.workspaces.forget_unused()
        self.machines.forget_unused()


def reconcile_workspace(
    ports: Ports, namespace: str, name: str, sharing: Sequence[str] = ()
) -> Steps:
    """One round for one Workspace. Port errors end the round; the next one observes again.
    `sharing` are some other Workspaces of the namespace that have its matchLabels."""
    try:
        view = ports.workspaces.read_workspace(namespace, name)
        yield
        if view is None:
            return Outcome()
        plan = yield from _observe_and_plan(ports, view, sharing)
        yield from act_workspace(ports, view, plan)
    except PortError as error:
        return _failed(error)
    resting = not plan.steps and not view.workspace.is_deleting
    return _looked_at(plan.requeue_after_s, resting=resting)


def reconcile_machine(ports: Ports, claim_name: str) -> Steps:
    """One round for one machine. Port errors end the round; the next one observes again."""
    try:
        seen_s = ports.clock.now_s()  # time-outs are judged as of the oldest thing seen
        machine = ports.machines.read_machine(claim_name)
        yield
        if machine is None:
            return Outcome()
        view = yield from _observe_machine(ports, machine)
        plan = plan_machine(view, limits=ports.limits, now_s=seen_s)
        if touches_machines(plan) and not machine.deleting:
            owner = yield from _owner_of(ports, machine.spec.owner)
            plan = paused_machine() if owner is not None and is_paused(owner) else plan
        again_after_s = yield from act_machine(ports, machine, plan)
    except PortError as error:
        return _failed(error)
    return _looked_at(again_after_s, resting=not plan.steps and again_after_s is None)


def _looked_at(again_after_s: float | None, *, resting: bool) -> Outcome:
    """Even what has converged is looked at again: a read may be older than the change it is for."""
    return Outcome(RESYNC_S if again_after_s is None else again_after_s, resting=resting)


def _failed(error: PortError) -> Outcome:
    """Observe again after a pause."""
    retry_after_s = error.retry_after_s if isinstance(error, Unavailable) else None
    return Outcome(retry_after_s, error)


def collect_orphans(ports: Ports, *, every_s: float) -> Steps:
    """One round of giving back cloud machines that no record stands for, and records that no
    Workspace stands for. The cache is believed where it says yes, which spares requests; a no is
    made sure of. A machine that the cloud refuses to take back is the round's error."""
    refused: Rejected | None = None
    try:
        seen_s = ports.clock.now_s()
        clouds = ports.cloud.list_machines()
        yield
        claim_names = ports.machines.claim_names()
        yield
        machines = ports.machines.list_machines()
        yield
        uids = ports.machines.workspace_uids()
        yield
        claim_of = {seen.name: seen.claim_name for seen in clouds}
        for step in orphans(clouds, claim_names, now_s=seen_s):
            try:
                recorded = ports.machines.record_exists(claim_of[step.cloud_name])
                yield
                if not recorded:
                    ports.cloud.terminate(step.cloud_name)
            except PortError as error:  # one that stays must not keep the others
                refused = error if isinstance(error, Rejected) else refused
            yield
        for machine in machines:
            owner = machine.spec.owner
            if machine.deleting or owner.uid in uids:
                continue
            with suppress(PortError):
                known = ports.machines.workspace_exists(owner.namespace, owner.name, owner.uid)
                yield
                if not known:
                    ports.machines.delete_record(machine.claim_name, machine.uid)
            yield
    except PortError:
        return Outcome(every_s)  # the next round is soon enough
    return Outcome(every_s, refused)


def _owner_of(ports: Ports, owner: Owner) -> Generator[None, None, Workspace | None]:
    view = ports.workspaces.read_workspace(owner.namespace, owner.name)
    yield
    return view.workspace if view is not None and view.workspace.uid == owner.uid else None


def _observe_and_plan(
    ports: Ports, view: WorkspaceView, sharing: Sequence[str]
) -> Generator[None, None, WorkspacePlan]:
    cluster = replace(ports.workspaces.observe(view.workspace), sharing=tuple(sharing))
    yield
    own = ports.decisions.own_nodes(view.workspace, cluster)
    live: WorkloadView | None = None
    wanted: Wanted | Refusal
    if view.problems:
        wanted = Refusal(reason="InvalidSpec", problems=view.problems)
    else:
        asked = view.workspace.resource.instance_type
        bought = bought_type(cluster.machines, asked)
        machines = (*cluster.machines, *cluster.adoptable)
        disks = local_disks(machines, asked, cluster.storage_class)
        wanted = ports.decisions.of(view.workspace, cluster.config, own, bought, disks)
    if view.workspace.is_deleting:
        ports.decisions.forget(view.workspace)
    elif isinstance(wanted, Wanted):
        live = ports.workspaces.compare(wanted.workload)
        yield
    now_s = ports.clock.now_s()
    plan = plan_workspace(view, cluster, wanted, live, now_s=now_s, own=own)
    created = [step.spec for step in plan.steps if isinstance(step, CreateMachine)]
    created_at = view.workspace.metadata.creation_timestamp
    denied = ports.budget.reserve(owner_of(view), created_at, created)
    if denied:
        plan = plan_workspace(view, cluster, wanted, live, now_s=now_s, own=own, denied=denied)
    return plan if isinstance(wanted, Refusal) else with_history(plan, view, cluster.revisions)


def _observe_machine(ports: Ports, machine: Machine) -> Generator[None, None, MachineView]:
    clouds = ports.cloud.list_machines(machine.claim_name)
    yield
    current = next((seen for seen in clouds if seen.name == machine.cloud_name), None)
    provider_id = (current.provider_id if current is not None else "") or machine.provider_id
    node = None
    if provider_id:
        node = ports.machines.node_of(machine, provider_id)
        yield
    owner_leaves = False
    pods: Sequence[NodePod] = ()
    if node is not None and may_drain(machine, node):
        workspace = yield from _owner_of(ports, machine.spec.owner)
        owner_leaves = workspace is None or workspace.is_deleting
        pods = ports.machines.pods_on(node.name)
        yield
    owner_exists = True
    if not machine.deleting and current is None:
        owner = machine.spec.owner
        owner_exists = ports.machines.workspace_exists(owner.namespace, owner.name, owner.uid)
        yield
    return MachineView(
        machine=machine,
        cloud=tuple(clouds),
        node=node,
        owner_exists=owner_exists,
        owner_leaves=owner_leaves,
        pods=tuple(pods),
        watched_from_s=ports.watched_from_s,
    )


def act_workspace(
    ports: Ports, view: WorkspaceView, plan: WorkspacePlan
) -> Generator[None, None, None]:
    """Carry out a plan, step by step; a refused write is told to the user.

    Raises: PortError from the first call that fails.
    """
    for step in plan.steps:
        try:
            view = _act_workspace_step(ports.workspaces, view, step)
        except Rejected as error:
            yield
            if isinstance(step, CreateMachine | AdoptMachine | ApplyWorkload | AdoptWorkload):
                told = write_rejected(view, error, now_s=ports.clock.now_s())
                yield from act_workspace(ports, view, told)
            raise
        yield


def _act_workspace_step(
    store: WorkspaceStore, view: WorkspaceView, step: WorkspaceStep
) -> WorkspaceView:
    match step:
        case Note():
            with suppress(PortError):  # events are best effort; the status says it too
                store.note(view, step)
        case AddFinalizer():
            return store.add_finalizer(view)
        case RemoveFinalizer():
            store.remove_finalizer(view)
        case WriteStatus(status=status):
            return store.write_status(view, status)
        case CreateRevision() | DeleteRevision():
            _act_on_history(store, view, step)
        case CreateMachine() | AdoptMachine() | DeleteMachine() | RetryMachine():
            _act_on_machine(store, step)
        case ApplyWorkload(workload=workload, replace=replace):
            store.apply_workload(workload, replace=replace)
        case AdoptWorkload(workload=workload):
            store.adopt_workload(workload)
        case DeleteWorkload():
            store.delete_workload(view.workspace)
        case _:
            assert_never(step)
    return view


def _act_on_history(
    store: WorkspaceStore, view: WorkspaceView, step: CreateRevision | DeleteRevision
) -> None:
    """A history that the API server does not take is told, and keeps nothing else waiting."""
    try:
        match step:
            case CreateRevision(number=number):
                store.create_revision(view.workspace, number)
            case DeleteRevision(name=name, uid=uid):
                store.delete_revision(view.workspace, name, uid)
    except Rejected as error:
        text = cut_message(f"the history of this Workspace is not kept: {error}")
        with suppress(PortError):
            store.note(view, Note(type="Warning", reason="RevisionRejected", message=text))


def _act_on_machine(
    store: WorkspaceStore, step: CreateMachine | AdoptMachine | DeleteMachine | RetryMachine
) -> None:
    match step:
        case CreateMachine(spec=spec):
            store.create_machine(spec)
        case AdoptMachine(machine=machine):
            store.adopt_machine(machine)
        case DeleteMachine(claim_name=claim_name, uid=uid):
            store.delete_machine(claim_name, uid)
        case RetryMachine(claim_name=claim_name, uid=uid, wish=wish):
            store.retry_machine(claim_name, uid, wish)


def act_machine(
    ports: Ports, machine: Machine, plan: MachinePlan
) -> Generator[None, None, float | None]:
    """Carry out a plan; a refused order is recorded as what to do next. Returns when to look again,
    in seconds. Raises: PortError from the first other call that fails."""
    for step in plan.steps:
        try:
            machine = _act_machine_step(ports, machine, step)
        except PortError as error:
            if isinstance(step, Terminate) and isinstance(error, Rejected):
                yield
                _act_machine_step(ports, machine, not_given_back(step, error))
                yield
                if step.in_case:
                    continue
            if not isinstance(step, Launch):
                raise
            yield
            refused = launch_failed(machine, error, now_s=ports.clock.now_s())
            return (yield from act_machine(ports, machine, refused))
        yield
    return plan.requeue_after_s


def _act_machine_step(ports: Ports, machine: Machine, step: MachineStep) -> Machine:
    match step:
        case Note():
            with suppress(PortError):
                ports.machines.note_machine(machine, step)
        case WriteMachine():
            return ports.machines.write_machine(machine, step)
        case Launch(order=order):
            ports.cloud.launch(order)
        case Terminate(cloud_name=cloud_name):
            ports.cloud.terminate(cloud_name)
        case LabelNode(node_name=node_name, labels=added):
            ports.machines.label_node(node_name, added)
        case TaintNode(node_name=node_name, taint=taint):
            ports.machines.taint_node(node_name, taint)
        case EvictPod(pod=pod):
            with suppress(PortError):  # a pod that may not leave yet must not keep the others
                ports.machines.evict_pod(pod)
        case DeleteMachine(claim_name=claim_name, uid=uid):
            ports.machines.delete_record(claim_name, uid)
        case RemoveFinalizer():
            ports.machines.remove_machine_finalizer(machine)
        case _:
            assert_never(step)
    return machine
