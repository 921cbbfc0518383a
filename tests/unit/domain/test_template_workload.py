"""A Workspace with a pod template: what it is sized for, and what runs."""

from dataclasses import replace

import pytest

from kaito.domain import labels
from kaito.domain.cluster_view import WorkloadState
from kaito.domain.decision import Refusal, decide
from kaito.domain.plan import ApplyWorkload, CreateMachine, Note
from kaito.domain.provisioner import Provisioner
from kaito.domain.quantity import GIB
from kaito.domain.template_sizing import TemplateSizing
from kaito.domain.validation import validate
from kaito.domain.workload import WorkloadKind
from kaito.domain.workspace_plan import machine_specs, plan_workspace
from tests.unit.domain.builders import (
    A10,
    CATALOGUE,
    MISSING,
    NOW_S,
    SERVING,
    cluster,
    machines_of,
    pod,
    seen,
    template,
    templated,
    wanted,
    workspace,
)


def gpus(count: int) -> dict[str, object]:
    limits = {"limits": {labels.GPU_RESOURCE: count}}
    return template(containers=[{"name": "server", "image": "r.io/s:1", "resources": limits}])


def test_machines_are_those_that_resource_asks_for() -> None:
    found = templated(resource={"count": 3})
    sizing = wanted(found).sizing
    assert isinstance(sizing, TemplateSizing)
    assert sizing.summary == f"inference.template runs on 3 x {A10}"
    assert sizing.warnings == ()
    specs = machine_specs(seen(found), sizing)
    assert [(one.instance_type, one.gpus, one.disk_bytes) for one in specs] == [
        (A10, 1, 1024 * GIB)
    ] * 3


def test_the_template_is_what_runs() -> None:
    found = templated(
        resource={"count": 2}, annotations={labels.ENABLE_LOAD_BALANCER: "True"}, generation=4
    )
    workload = wanted(found).workload
    assert workload.kind is WorkloadKind.TEMPLATE
    assert workload.template == template()
    assert (workload.replicas, workload.gpus, workload.generation) == (2, 1, 4)
    assert (workload.model, workload.image, workload.command) == ("", "", ())
    assert workload.node_labels == {"apps": "phi"}
    assert workload.load_balancer
    assert workload.own_place is None


@pytest.mark.parametrize("provisioner", list(Provisioner))
def test_more_gpus_than_a_machine_has_never_come(provisioner: Provisioner) -> None:
    found = workspace(inference={"template": gpus(2)})
    (problem,) = validate(found, CATALOGUE, provisioner=provisioner)
    assert problem.field == "inference.template.spec.containers"
    assert problem.message == f"ask for 2 GPUs, but {A10} has 1"
    decided = decide(found, CATALOGUE, None)
    assert isinstance(decided, Refusal)
    assert decided.reason == "InvalidSpec"


def test_pods_without_gpus_are_told() -> None:
    sizing = wanted(workspace(inference={"template": gpus(0)})).sizing
    (warning,) = sizing.warnings
    assert warning.reason == "TemplateWithoutGpu"


def test_from_machines_to_serving() -> None:
    found = templated()
    decided = wanted(found)
    first = plan_workspace(seen(found), cluster(), decided, MISSING, now_s=NOW_S)
    assert [type(step) for step in first.steps if isinstance(step, CreateMachine)]
    assert isinstance(first.steps[0], Note)
    around = cluster(machines_of(seen(found), decided))
    second = plan_workspace(seen(found), around, decided, MISSING, now_s=NOW_S)
    assert second.steps[-1] == ApplyWorkload(workload=decided.workload)
    around = cluster(around.machines, pods=(pod(),), has_workload=True)
    last = plan_workspace(seen(found), around, decided, SERVING, now_s=NOW_S)
    (status,) = [step.status for step in last.steps if hasattr(step, "status")]
    assert status.state == "Ready"
    again = plan_workspace(seen(found, status), around, decided, SERVING, now_s=NOW_S + 60)
    assert again.steps == ()


def test_a_change_may_surge() -> None:
    """Each replica of a template has a machine, so one more machine can take the first new pod."""
    found = templated(annotations={labels.ROLLOUT: "surge"})
    decided = wanted(found)
    around = cluster(machines_of(seen(found), decided), pods=(pod(),), has_workload=True)
    rolling = replace(SERVING, state=WorkloadState.DIFFERENT, rolls=True, replicas=1)
    planned = plan_workspace(seen(found), around, decided, rolling, now_s=NOW_S)
    assert len([step for step in planned.steps if isinstance(step, CreateMachine)]) == 1
