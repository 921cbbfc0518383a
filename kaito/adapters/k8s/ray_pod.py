"""What the pods of a group have that a single server's pod has not.

One pod template for all of them: who leads is read from the end of the pod's name. KAITO reads it
from a label that StatefulSets give since Kubernetes 1.28. Scripts and
probes are those of KAITO v0.12's image (kaito-project/kaito@056b8280b pkg/model/interface.go:
567-601, pkg/workspace/inference/preset_inferences.go, presets/workspace/inference/vllm/
multi-node-health-check.py). The scripts here are constants; values are their arguments.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kaito.adapters.kube_api import KubeObject
from kaito.domain.ray_group import RAY_PORT, RayGroup

_CLUSTER_SIZE: Final = "--ray_cluster_size="
_SERVING: Final = "/workspace/vllm/multi-node-serving.sh"
_HEALTH_CHECK: Final = "/workspace/vllm/multi-node-health-check.py"

# $1 Ray's start script, $2 its option for the leader, $3 for the others, $4 for all; then the
# server's command. The shell is process 1, which SIGTERM ends only with a trap; Ray's script would
# not pass it on. Ray knows the server by its command line, so that it is executed as it is.
_START: Final = """\
set -eu
ray=$1 size=$2 leader=$3 limit=$4
shift 4
POD_INDEX=${POD_NAME##*-}
export POD_INDEX
join() {
  "$@" &
  child=$!
  trap 'kill "$child" 2>/dev/null; exit 143' TERM INT
  wait "$child"
  trap - TERM INT
}
if [ "$POD_INDEX" = 0 ]; then
  join "$ray" leader "$size" "$limit"
  exec "$@"
fi
join "$ray" worker "$leader" "$limit"
"""

# $1 the health check, $2 the leader's address, $3 Ray's port, $4 the server's. The leader asks Ray
# for parts of the model that are lost. KAITO's check lets the others live whatever happens; here
# they follow a leader that does not answer, so that nobody holds on to a group of the past.
_ALIVE: Final = """\
POD_INDEX=${POD_NAME##*-}
export POD_INDEX
if [ "$POD_INDEX" = 0 ]; then
  exec python3 "$1" liveness "$2" "$3"
fi
exec python3 "$1" readiness "$2" "$4"
"""

# A check starts Python and loads Ray, which takes seconds; KAITO gives it 5 s and one try, and a
# slow one costs the minutes of loading the model anew.
_CHECK_LIMIT_S: Final = 15
_CHECK_FAILURES: Final = 3
# The parts that live on must not go on waiting for the one that is lost.
_KILL_AFTER_S: Final = 1


def command(group: RayGroup, server: Sequence[str]) -> dict[str, Any]:
    """`command` and `args` of the container; `server` is what a single server would run."""
    options = [
        f"{_CLUSTER_SIZE}{group.size}",
        f"--ray_address={group.leader_host}",
        f"--ray_init_timeout={group.join_limit_s}",
    ]
    return {
        "command": ["/bin/sh", "-c", _START, "ray-group"],
        "args": [_SERVING, *options, *server],
    }


def environment() -> list[dict[str, Any]]:
    """Which pod of the group it is."""
    return [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]


def ports() -> list[dict[str, Any]]:
    """Only told, not opened: pods reach each other at any port."""
    return [{"name": "ray", "containerPort": RAY_PORT, "protocol": "TCP"}]


def probes(
    group: RayGroup, *, port: int, period_s: int, startup_failures: int
) -> dict[str, Mapping[str, Any]]:
    """Started and ready is a pod when the leader serves, so all are at once."""
    leader, vllm = f"--leader-address={group.leader_host}", f"--vllm-port={port}"
    answers = ["python3", _HEALTH_CHECK, "readiness", leader, vllm]
    alive = [
        "/bin/sh",
        "-c",
        _ALIVE,
        "alive",
        _HEALTH_CHECK,
        leader,
        f"--ray-port={RAY_PORT}",
        vllm,
    ]
    return {
        "startupProbe": _check(answers, period_s, startup_failures),
        "livenessProbe": _check(alive, period_s, _CHECK_FAILURES)
        | {"terminationGracePeriodSeconds": _KILL_AFTER_S},
        "readinessProbe": _check(answers, period_s, 1),
    }


def is_of_group(owner: KubeObject) -> bool:
    """Whether the pods of a StatefulSet, kaito's or KAITO's, serve one model together."""
    containers = owner["spec"]["template"]["spec"].get("containers") or ()
    return any(
        _CLUSTER_SIZE in word
        for container in containers
        for word in (*(container.get("command") or ()), *(container.get("args") or ()))
    )


def _check(argv: Sequence[str], period_s: int, failures: int) -> dict[str, Any]:
    return {
        "exec": {"command": list(argv)},
        "periodSeconds": period_s,
        "timeoutSeconds": _CHECK_LIMIT_S,
        "failureThreshold": failures,
    }
