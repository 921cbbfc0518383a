"""From a fault in a scenario to what goes wrong in its world."""

from typing import TYPE_CHECKING, Final, assert_never

from kaito.domain.errors import CapacityUnavailable, PortError, QuotaExceeded
from kaito.domain.machine import CloudState
from kaito.workqueue import LONGEST_BACKOFF_S
from sim.fault_kinds import ClockJump, ContainerExit, DroppedWatch, ImagePullFailure, NodeLoss
from sim.operator import ProcessDied
from sim.scenario import AnyFault
from sim.scenario_file import ApiError, LaunchFailure, OperatorCrash, StaleRead

if TYPE_CHECKING:
    from sim.world import World

# A lost Node is told of by the node life-cycle controller, after 40 s without a heartbeat.
NOTICED_AFTER_S: Final = 120.0


def inject(world: "World", fault: AnyFault) -> None:
    """Make it go wrong, from now on."""
    now_s = world.clock.now_s()
    match fault:
        case OperatorCrash():
            _crash(world, fault)
        case LaunchFailure(count=count, reason=reason):
            world.cloud.refuse([_refusal(reason) for _ in range(count)])
        case ApiError(count=count, for_s=for_s, effect=effect):
            world.faults.fail(effect, count=count or 0, until_s=now_s + (for_s or 0.0))
        case StaleRead(for_s=for_s, lag_s=lag_s):
            world.faults.read_old_state(lag_s, until_s=now_s + for_s)
        case NodeLoss():
            _lose_node(world, fault)
        case ImagePullFailure(for_s=for_s, registry=registry, image=image):
            world.images.fail(until_s=now_s + for_s, registry=registry or "", image=image or "")
        case ContainerExit():
            world.containers.fail(
                fault.workspace,
                fault.namespace,
                container=fault.container or "",
                code=fault.code,
                reason=fault.reason,
                message=fault.message,
                after_s=fault.after_s,
                count=fault.count,
            )
        case DroppedWatch(for_s=for_s):
            world.api.drop_watches(until_s=now_s + for_s)
        case ClockJump(by_s=by_s, for_s=for_s):
            until_s = None if for_s is None else now_s + for_s
            world.operator_clock.jump(by_s, until_s=until_s)
        case _:
            assert_never(fault)
    world.unsettled_until_s = max(world.unsettled_until_s, _told_by_s(world, fault))


def _told_by_s(world: "World", fault: AnyFault) -> float:
    """Until when what the operator says may be out of date, as it has not heard of the fault."""
    if isinstance(fault, NodeLoss):
        return world.now_s() + NOTICED_AFTER_S
    if isinstance(fault, ApiError | StaleRead | DroppedWatch | ClockJump):
        # And a round may have been put off.
        return world.now_s() + over_after_s(fault) + LONGEST_BACKOFF_S
    return 0.0


def over_after_s(fault: AnyFault) -> float:
    """Seconds until the fault itself is over; what it has done is cured by others later."""
    match fault:
        case OperatorCrash(restart_after_s=lasts_s):
            return lasts_s
        case (
            StaleRead(for_s=lasts_s) | ImagePullFailure(for_s=lasts_s) | DroppedWatch(for_s=lasts_s)
        ):
            return lasts_s
        case ApiError(for_s=float(lasts_s)) | ClockJump(for_s=float(lasts_s)):
            return lasts_s
        case NodeLoss(for_s=float(lasts_s)):
            return lasts_s
        case _:
            return 0.0


def _crash(world: "World", fault: OperatorCrash) -> None:
    if fault.after_writes is None:
        world.operator.crash(fault.restart_after_s)
    else:
        world.faults.die_after_writes(fault.after_writes, ProcessDied(fault.restart_after_s))


def _refusal(reason: str) -> PortError:
    if reason == "quota":
        return QuotaExceeded("the vCPU quota of this family is used up in this region")
    return CapacityUnavailable("this instance type is sold out in this region")


def _lose_node(world: "World", fault: NodeLoss) -> None:
    """Nothing happens where the Workspace has no such machine."""
    lives = [
        life
        for life in world.running_machines()
        if (life.order.owner.namespace, life.order.owner.name) == (fault.namespace, fault.workspace)
        and life.state is not CloudState.DELETING
    ]
    if fault.index >= len(lives):
        return
    life = lives[fault.index]
    if fault.how == "vanishes":
        world.node_faults.vanish(life.node_name, life.order.name)
    elif fault.how == "not-ready":
        world.node_faults.hang(life.node_name, for_s=fault.for_s)
    else:
        world.node_faults.take_gpus(life.node_name, for_s=fault.for_s)
