"""What the live page shows, as one JSON document.

Times are seconds since the epoch, money is US dollars, memory is bytes on the fullest GPU. Amounts
of memory come with their text, so that the page does no arithmetic of its own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from kaito.adapters.fake.http.pod_logs import Span
from kaito.adapters.fake.machine_life import MachineLife
from kaito.adapters.kube_api import (
    EVENT,
    POD,
    WORKSPACE,
    KubeApi,
    KubeObject,
    condition_of,
    is_true,
    labels_of,
    name_of,
    namespace_of,
)
from kaito.domain import labels
from kaito.domain import status as st
from kaito.domain.engine import EngineName
from kaito.domain.memory import PRIORS, budget_share
from kaito.domain.quantity import gib_text
from kaito.domain.sizing import Sizing
from kaito.domain.timestamps import from_rfc3339

WORKSPACE_LIMIT: Final = 100
MACHINE_LIMIT: Final = 100
EVENT_LIMIT: Final = 100
_DECIMALS: Final = 6
_SHOWN_FROM_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What became of a Workspace so far; `ready_at_s` is when it last became READY."""

    created_at_s: float
    ready_at_s: float | None = None
    phases: Sequence[Span] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSources:
    """Where the page reads; nothing here writes, waits or uses up a fault.

    `sizing_of` is the operator's own decision on a Workspace, None where it refuses. `commands` is
    what to type while there is nothing to show; `speed` divides the world's latencies.
    """

    api: KubeApi
    now_s: Callable[[], float]
    lives: Callable[[], Sequence[MachineLife]]
    region: str
    story_of: Callable[[KubeObject], Story]
    sizing_of: Callable[[KubeObject], Sizing | None]
    speed: float
    commands: Sequence[str]


def page_state(sources: PageSources) -> dict[str, Any]:
    """The world as it is now; `now_s` is the only value that changes while nothing happens."""
    now_s, region = sources.now_s(), sources.region
    workspaces = sources.api.list(WORKSPACE).items
    events = sorted(sources.api.list(EVENT).items, key=_newest_first)
    lives = sources.lives()
    # What costs money comes first; of the rest the newest.
    machines = sorted(lives, key=lambda one: (one.released_at_s is not None, -one.ordered_at_s))
    running = [life for life in lives if life.released_at_s is None]
    serving = _nodes_with_a_ready_pod(sources.api.list(POD).items)
    by_uid = {one["metadata"]["uid"]: one for one in workspaces}
    state: dict[str, Any] = {
        "now_s": now_s,
        "speed": sources.speed,
        "region": region,
        "commands": list(sources.commands),
        "totals": {
            "workspaces": len(workspaces),
            "ready": sum(is_true(one, st.SUCCEEDED) for one in workspaces),
            "machines": len(running),
            "usd": sum(life.cost_usd(region, now_s) for life in lives),
            "usd_per_hour": sum(_usd_per_hour(life, region) or 0.0 for life in running),
            "unpriced": sum(_usd_per_hour(life, region) is None for life in running),
        },
        "workspaces": [_workspace(one, sources.story_of(one)) for one in workspaces],
        "machines": [
            _machine(life, sources, by_uid.get(life.order.owner.uid), serving)
            for life in machines[:MACHINE_LIMIT]
        ],
        "events": [_event(one) for one in events[:EVENT_LIMIT]],
        "left_out": {
            "workspaces": max(0, len(workspaces) - WORKSPACE_LIMIT),
            "machines": max(0, len(machines) - MACHINE_LIMIT),
            "events": max(0, len(events) - EVENT_LIMIT),
        },
    }
    del state["workspaces"][WORKSPACE_LIMIT:]
    return {key: _rounded(value) for key, value in state.items()}


def _workspace(stored: KubeObject, story: Story) -> dict[str, Any]:
    done = condition_of(stored, st.SUCCEEDED) or {}
    ready = is_true(stored, st.SUCCEEDED)
    phases = [one for one in story.phases if one.start_s >= story.created_at_s]
    return {
        "uid": stored["metadata"]["uid"],
        "namespace": namespace_of(stored),
        "name": name_of(stored),
        "instance_type": _text(stored, "resource", "instanceType"),
        "model": _text(stored, "inference", "preset", "name")
        or _text(stored, "tuning", "preset", "name"),
        "mode": "tuning" if stored.get("tuning") else "inference",
        "outcome": _outcome(stored, done),
        "reason": str(done.get("reason", "")),
        "message": str(done.get("message", "")),
        "created_at_s": story.created_at_s,
        "ready_at_s": story.ready_at_s if ready else None,
        "conditions": [
            {key: str(one.get(key, "")) for key in ("type", "status", "reason", "message")}
            for one in (stored.get("status") or {}).get("conditions") or ()
        ],
        "phases": [asdict(one) for one in phases],
    }


def _outcome(stored: KubeObject, done: Mapping[str, Any]) -> str:
    """`deleting`, `ready`, `blocked` (waits for a human) or `pending`."""
    if "deletionTimestamp" in stored["metadata"]:
        return "deleting"
    if done.get("status") == "True":
        return "ready"
    return "blocked" if done.get("reason") in st.BLOCKED_REASONS else "pending"


def _machine(
    life: MachineLife, sources: PageSources, owner: KubeObject | None, serving: Iterable[str]
) -> dict[str, Any]:
    region, order = sources.region, life.order
    released = life.released_at_s is not None
    sizing = sources.sizing_of(owner) if owner is not None and not released else None
    node = life.node_name if life.node_at_s is not None and not released else ""
    return {
        "name": order.name,
        "claim": order.claim_name,
        "workspace": f"{order.owner.namespace}/{order.owner.name}",
        "instance_type": life.instance_type.name,
        "gpus": f"{life.instance_type.gpu_count} × {life.instance_type.gpu.name}",
        "zone": life.zone,
        "state": _machine_state(life),
        "phase": life.phase,
        "node": node,
        "ordered_at_s": life.ordered_at_s,
        "ready_at_s": life.ready_at_s,
        "released_at_s": life.released_at_s,
        "usd": life.cost_usd(region, sources.now_s()),
        "usd_per_hour": _usd_per_hour(life, region),
        "memory": _memory(sizing, in_use=node in serving)
        if sizing is not None and sizing.instance_type.name == life.instance_type.name
        else None,
    }


def _machine_state(life: MachineLife) -> str:
    """Released, Ready (its GPUs came and nothing goes on), or the cloud's word for its state."""
    if life.released_at_s is not None:
        return "Released"
    works = life.ready_at_s is not None and not life.phase and not life.error
    return "Ready" if works else life.state.value


def _usd_per_hour(life: MachineLife, region: str) -> float | None:
    return life.usd_per_hour(region)


def _memory(sizing: Sizing, *, in_use: bool) -> dict[str, Any]:
    """What the fit puts on each GPU, as parts that add up to what the GPU reports."""
    fit, gpu = sizing.fit, sizing.instance_type.gpu
    engine, memory = fit.engine.name, fit.memory
    rest = {k: v for k, v in memory.parts.items() if k not in {"weights", "kv_cache"}}
    named = [
        f"{name.replace('_', ' ').replace('cuda', 'CUDA')} {gib_text(size)}"
        for name, size in rest.items()
        if size >= _SHOWN_FROM_BYTES
    ]
    kept = gpu.usable_bytes - memory.total - fit.headroom_bytes
    budget = float(100 * budget_share(gpu, engine, fit.asked.utilization))
    share = f"{engine} may use {budget:g}% of the card"
    left = "KV cache of more sequences" if engine is EngineName.VLLM else "left to the engine"
    parts = [
        ("weights", "Weights", memory.weights, f"{sizing.model.name} in {fit.dtype}"),
        ("kv_cache", "KV cache", memory.kv_cache, f"one sequence of {fit.max_model_len:,} tokens"),
        ("other", "Other", sum(rest.values()), ", ".join(named)),
        ("free", "Free", fit.headroom_bytes, left),
        ("kept", "Kept back", kept, share),
    ]
    return {
        "gpu": gpu.name,
        "gpus": sizing.instance_type.gpu_count,
        "engine": str(engine),
        "in_use": in_use,
        "total_bytes": gpu.usable_bytes,
        "total": gib_text(gpu.usable_bytes),
        "cached_tokens": fit.kv_cache_tokens,
        "parts": [
            {"kind": kind, "name": name, "bytes": size, "size": gib_text(size), "detail": detail}
            for kind, name, size, detail in parts
            if size > 0
        ],
        "assumed": [PRIORS[key] for key in memory.priors],
    }


def _nodes_with_a_ready_pod(pods: Iterable[KubeObject]) -> frozenset[str]:
    """Nodes on which a Workspace's pod is ready: its engine holds what the fit says."""
    return frozenset(
        _text(pod, "spec", "nodeName")
        for pod in pods
        if labels.WORKSPACE in labels_of(pod) and is_true(pod, "Ready")
    )


def _event(stored: KubeObject) -> dict[str, Any]:
    about = stored.get("involvedObject")
    return {
        "uid": stored["metadata"]["uid"],
        "at_s": _happened_at_s(stored),
        "type": _text(stored, "type"),
        "reason": _text(stored, "reason"),
        "kind": _text(about, "kind"),
        "name": _text(about, "name"),
        "namespace": _text(about, "namespace"),
        "message": _text(stored, "message"),
        "count": stored.get("count") or 1,
    }


def _newest_first(stored: KubeObject) -> tuple[float, int]:
    """Timestamps are whole seconds; within one, versions tell the order."""
    return -_happened_at_s(stored), -int(stored["metadata"]["resourceVersion"])


def _happened_at_s(stored: KubeObject) -> float:
    """When it last happened. Clients write what they like; then the server's own time counts."""
    for key in ("lastTimestamp", "eventTime", "firstTimestamp"):
        try:
            return from_rfc3339(_text(stored, key))
        except ValueError:
            continue
    return from_rfc3339(stored["metadata"]["creationTimestamp"])


def _text(stored: Any, *path: str) -> str:
    """The text at a path of keys, or an empty one: nobody validates every object."""
    for key in path:
        stored = stored.get(key) if isinstance(stored, Mapping) else None
    return stored if isinstance(stored, str) else ""


def _rounded(value: Any) -> Any:
    """Floats without the noise of their last digits."""
    if isinstance(value, float):
        return round(value, _DECIMALS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
