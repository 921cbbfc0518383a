"""What holds of `plan_workspace` in every state, and that it comes to rest from each of them."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.domain import labels
from kaito.domain.cluster_view import ClusterView, WorkloadState, WorkloadView, WorkspaceView
from kaito.domain.decision import Refusal, Wanted, decide
from kaito.domain.machine import Machine
from kaito.domain.plan import (
    AddFinalizer,
    ApplyWorkload,
    CreateMachine,
    DeleteMachine,
    DeleteWorkload,
    Note,
    RemoveFinalizer,
    WorkspacePlan,
    WriteStatus,
)
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workspace import Workspace
from kaito.domain.workspace_plan import plan_workspace
from tests.unit.domain.builders import (
    A10,
    A100,
    CATALOGUE,
    MISSING,
    NOW_S,
    TUNING,
    V100,
    condition,
    machine,
    machine_spec,
    node,
    pod,
    ready_machine,
    seen,
    workspace,
)

MODES: tuple[dict[str, Any], ...] = (
    {},
    {"instance_type": V100},
    {"resource": {"count": 3}, "annotations": {labels.RUNTIME: "transformers"}},
    {"tuning": TUNING},
    {"inference": {"preset": {"name": "phi-4"}}},  # spread over two
    {"instance_type": "Standard_Nothing"},  # refused
)


@st.composite
def workspaces(draw: st.DrawFn) -> Workspace:
    parts = draw(st.sampled_from(MODES))
    return workspace(
        generation=draw(st.integers(1, 2)),
        finalizers=draw(st.sampled_from([(), (labels.WORKSPACE_FINALIZER,), ("other.io/x",)])),
        deleting=draw(st.booleans()),
        **parts,
    )


@st.composite
def statuses(draw: st.DrawFn) -> WorkspaceStatus:
    kinds = draw(
        st.lists(
            st.sampled_from(
                ["ResourceReady", "InferenceReady", "JobStarted", "WorkspaceSucceeded"]
            ),
            unique=True,
            max_size=4,
        )
    )
    return WorkspaceStatus(
        conditions=tuple(
            condition(
                kind,
                draw(st.sampled_from(["True", "False"])),
                draw(st.sampled_from(["Reason", "QuotaExceeded"])),
                observed_generation=draw(st.integers(1, 2)),
            )
            for kind in kinds
        ),
        target_node_count=draw(st.integers(0, 1)),
        state=draw(st.sampled_from(["", "Pending", "Ready", "NotReady"])),
    )


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    spec = machine_spec(
        draw(st.integers(0, 4)), instance_type=draw(st.sampled_from([A10, A100, V100]))
    )
    deleting = draw(st.booleans())
    if draw(st.booleans()):
        return machine(spec, deleting=deleting)
    return ready_machine(spec, deleting=deleting)


@st.composite
def clusters(draw: st.DrawFn) -> ClusterView:
    found = draw(st.lists(machines(), max_size=4, unique_by=lambda one: one.spec.slot))
    return ClusterView(
        machines=tuple(sorted(found, key=lambda one: one.claim_name)),
        nodes=tuple(node(one, ready=draw(st.booleans())) for one in found if one.node_name),
        pods=(pod(ready=draw(st.booleans())),) if draw(st.booleans()) else (),
        has_workload=draw(st.booleans()),
    )


@st.composite
def workloads(draw: st.DrawFn) -> WorkloadView:
    state = draw(st.sampled_from(WorkloadState))
    taken = draw(st.sampled_from(["", "", "", "Service/phi"]))
    if state in {WorkloadState.MISSING, WorkloadState.DELETING}:
        return WorkloadView(state=state, taken=taken)
    differs = state is WorkloadState.DIFFERENT
    succeeded = draw(st.booleans())
    must_replace = differs and draw(st.booleans())
    return WorkloadView(
        state=state,
        differences=("spec.template",) if differs else (),
        must_replace=must_replace,
        restarts_group=must_replace and draw(st.booleans()),
        older_spec=differs and draw(st.booleans()),
        older_config=differs and draw(st.booleans()),
        taken=taken,
        settled=draw(st.booleans()),
        ready_replicas=draw(st.integers(0, 3)),
        active=draw(st.booleans()),
        succeeded=succeeded,
        failed=not succeeded and draw(st.booleans()),
    )


_DECIDED: dict[str, Wanted | Refusal] = {}


def decided_for(found: Workspace) -> Wanted | Refusal:
    """`decide`, which asks the fit of every instance type, once for each spec."""
    key = f"{found.model_dump_json(exclude={'metadata'})}{found.metadata.annotations}"
    if key not in _DECIDED:
        _DECIDED[key] = decide(found, CATALOGUE, None)
    return _DECIDED[key]


def planned(
    view: WorkspaceView, around: ClusterView, live: WorkloadView, now_s: float = NOW_S
) -> tuple[WorkspacePlan, Wanted | Refusal]:
    decided = decided_for(view.workspace)
    compared = live if isinstance(decided, Wanted) else None
    return plan_workspace(view, around, decided, compared, now_s=now_s), decided


@settings(max_examples=200, deadline=None)
@given(workspaces(), statuses(), clusters(), workloads())
def test_in_every_state(
    found: Workspace, status: WorkspaceStatus, around: ClusterView, live: WorkloadView
) -> None:
    view = seen(found, status)
    plan, decided = planned(view, around, live)
    assert plan == planned(view, around, live)[0], "the same state gives the same plan"
    kinds = [type(step) for step in plan.steps]
    created = [step.spec for step in plan.steps if isinstance(step, CreateMachine)]
    released = {step.claim_name for step in plan.steps if isinstance(step, DeleteMachine)}
    there = {one.spec.slot for one in around.machines}
    kept = [one for one in around.machines if not one.deleting and one.claim_name not in released]
    assert not there & {spec.slot for spec in created}, "only for slots without a machine"
    if created:
        assert isinstance(decided, Wanted)
        assert kinds.index(WriteStatus) < kinds.index(CreateMachine), "the fence comes first"
        assert not found.is_deleting
        assert labels.WORKSPACE_FINALIZER in found.metadata.finalizers
    if isinstance(decided, Wanted) and created:
        assert len(kept) + len(created) <= decided.sizing.nodes
    if found.is_deleting:
        assert not {CreateMachine, ApplyWorkload, AddFinalizer} & set(kinds)
    if RemoveFinalizer in kinds:
        assert found.is_deleting
        assert around.machines == ()
    assert kinds.count(WriteStatus) <= 1
    for step in plan.steps:
        if isinstance(step, WriteStatus) and status.state in {"Ready", "NotReady"}:
            assert step.status.state != "Pending" or found.tuning is not None
    at_rest = (found.is_deleting and (kinds == [RemoveFinalizer] or not _has_ours(found))) or (
        not plan.steps and status.is_ready
    )
    assert at_rest or plan.requeue_after_s is not None, "it waits for something"


def _has_ours(found: Workspace) -> bool:
    return labels.WORKSPACE_FINALIZER in found.metadata.finalizers


class TinyCluster:
    """A Workspace and what belongs to it in memory: what the steps of a plan do, and time."""

    def __init__(
        self, view: WorkspaceView, around: ClusterView, live: WorkloadView, *, job_fails: bool
    ) -> None:
        self.view: WorkspaceView | None = view
        self.machines = {one.claim_name: one for one in around.machines}
        self.live = live
        self.has_workload = live.state is not WorkloadState.MISSING
        self.job_fails = job_fails
        self.notes: list[Note] = []
        self.most_machines = 0

    def settle(self, rounds: int = 30) -> None:
        """Plan, act and let time pass until the plan is empty and nothing happens any more."""
        for number in range(rounds):
            assert self.view is not None
            plan, _ = planned(self.view, self._around(), self.live, NOW_S + 60 * number)
            for step in plan.steps:
                self._act(step)
            if self.view is None:
                return
            before = (dict(self.machines), self.live)
            self._pass_time()
            if not plan.steps and before == (self.machines, self.live):
                return
        raise AssertionError(f"not stable after {rounds} rounds: {plan}")

    def _around(self) -> ClusterView:
        found = tuple(self.machines[name] for name in sorted(self.machines))
        running = self.live.state is WorkloadState.SAME
        return ClusterView(
            machines=found,
            nodes=tuple(node(one) for one in found if one.node_name),
            pods=(pod(),) if running else (),
            has_workload=self.has_workload,
        )

    def _act(self, step: object) -> None:
        assert self.view is not None
        found = self.view.workspace
        if isinstance(step, Note):
            self.notes.append(step)
        elif isinstance(step, AddFinalizer):
            finalizers = (*found.metadata.finalizers, labels.WORKSPACE_FINALIZER)
            self._with_finalizers(finalizers)
        elif isinstance(step, RemoveFinalizer):
            self.view = None
        elif isinstance(step, WriteStatus):
            self.view = replace(self.view, status=step.status)
        elif isinstance(step, CreateMachine):
            assert step.spec.name not in self.machines
            self.machines[step.spec.name] = machine(step.spec)
            self.most_machines = max(self.most_machines, len(self.machines))
        elif isinstance(step, DeleteMachine):
            released = self.machines[step.claim_name]
            assert released.uid == step.uid
            self.machines[step.claim_name] = replace(released, deleting=True)
        elif isinstance(step, ApplyWorkload):
            state = WorkloadState.DELETING if step.replace else WorkloadState.SAME
            self.live = WorkloadView(state=state)
            self.has_workload = True
        elif isinstance(step, DeleteWorkload):
            self.live = WorkloadView(state=WorkloadState.DELETING)
            self.has_workload = False

    def _with_finalizers(self, finalizers: tuple[str, ...]) -> None:
        assert self.view is not None
        metadata = self.view.workspace.metadata.model_copy(update={"finalizers": finalizers})
        changed = self.view.workspace.model_copy(update={"metadata": metadata})
        self.view = replace(self.view, workspace=changed)

    def _pass_time(self) -> None:
        assert self.view is not None
        for name, found in list(self.machines.items()):
            if found.deleting:
                del self.machines[name]
            else:
                self.machines[name] = ready_machine(found.spec)
        if self.live.state is WorkloadState.DELETING:
            self.live = MISSING
        elif self.live.state is not WorkloadState.MISSING:
            self.live = replace(
                self.live,
                settled=True,
                ready_replicas=3,
                active=False,
                succeeded=not self.job_fails,
                failed=self.job_fails,
            )


@settings(max_examples=100, deadline=None)
@given(workspaces(), statuses(), clusters(), workloads(), st.booleans())
def test_it_comes_to_rest_from_every_state(
    found: Workspace,
    status: WorkspaceStatus,
    around: ClusterView,
    live: WorkloadView,
    job_fails: bool,
) -> None:
    world = TinyCluster(seen(found, status), around, live, job_fails=job_fails)
    decided = decided_for(found)
    world.settle()
    if world.view is None:
        assert found.is_deleting
        assert world.machines == {}
        return
    plan, _ = planned(world.view, world._around(), world.live, NOW_S + 1e6)
    assert plan.steps == (), "a converged state gives the empty plan"
    if found.is_deleting:
        assert not _has_ours(found)
        return
    after = world.view.status
    assert after.is_ready or after.blocked_reason, "READY, or blocked with a named reason"
    if isinstance(decided, Wanted) and not live.taken:
        if found.tuning is not None and after.is_ready:  # nothing is bought for a job that is done
            assert len(world.machines) <= decided.sizing.nodes
        else:
            assert len(world.machines) == decided.sizing.nodes
    assert_transitions(world.notes)


def assert_transitions(notes: list[Note]) -> None:
    """A note is a transition: what was said is said again only after something was lost."""
    said: set[Note] = set()
    for note in notes:
        if note.type == "Warning":
            said.clear()
        assert note not in said, note
        said.add(note)


@settings(deadline=None)
@given(st.sampled_from(MODES[:5]), st.booleans())
def test_from_nothing_each_machine_is_bought_once(parts: dict[str, Any], job_fails: bool) -> None:
    found = workspace(finalizers=(), **parts)
    world = TinyCluster(seen(found), ClusterView(), MISSING, job_fails=job_fails)
    world.settle()
    decided = decided_for(found)
    assert isinstance(decided, Wanted)
    assert world.most_machines == len(world.machines) == decided.sizing.nodes
    assert world.view is not None
    world.view = seen(workspace(deleting=True, **parts), world.view.status)
    world.settle()
    assert world.view is None
    assert world.machines == {}
