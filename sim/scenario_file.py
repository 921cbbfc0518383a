"""The scenario file: what may stand in it, and its JSON schema.

Keys are strict. Lengths of time are read into seconds; see `sim.scenario_parts`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from sim.cloud_file import CloudChange, CloudPart, GuardsPart, TimeoutsPart
from sim.fault_kinds import ClockJump, ContainerExit, DroppedWatch, ImagePullFailure, NodeLoss
from sim.scenario_parts import Duration, Part

Kind: TypeAlias = Literal["Workspace", "ConfigMap", "Secret", "Namespace", "StorageClass"]
Inline: TypeAlias = Mapping[str, Any]


def _applied(value: object) -> tuple[str | Inline, ...]:
    entries = value if isinstance(value, list) else [value]
    if not entries or not all(isinstance(entry, str | dict) and entry for entry in entries):
        raise PydanticCustomError(
            "applied",
            "must be a file, a manifest, or a list of them",
            {"remedy": "Paths are relative to this scenario file"},
        )
    return tuple(entries)


_ONE_APPLIED: Final = [{"type": "string", "minLength": 1}, {"type": "object", "minProperties": 1}]
Applied = Annotated[
    tuple[str | Inline, ...],
    PlainValidator(_applied),
    WithJsonSchema(
        {
            "anyOf": [
                *_ONE_APPLIED,
                {"type": "array", "minItems": 1, "items": {"anyOf": _ONE_APPLIED}},
            ]
        }
    ),
]


class Target(Part):
    """One object in the cluster."""

    kind: Kind = Field(description="Kind of the object.")
    name: str = Field(min_length=1, description="Name of the object.")
    namespace: str = Field(
        "default", min_length=1, description="Its namespace; a Namespace has none."
    )


class PatchOf(Target):
    """A change to one object, as `kubectl patch --type=merge` makes it."""

    merge: dict[str, Any] = Field(
        min_length=1, description="The keys to change, nested as in the object; null removes one."
    )


class OperatorCrash(Part):
    """The operator's process dies between two calls and comes back with nothing in memory."""

    kind: Literal["operator-crash"] = Field(description="The operator's process dies.")
    restart_after_s: Duration = Field(
        10.0, alias="restart_after", description="How long it stays away."
    )
    after_writes: int | None = Field(
        None,
        ge=1,
        description="Not now, but once it has done so many more writes, before it hears of the "
        "last one.",
    )


class ApiError(Part):
    """The API server answers the operator with an error."""

    kind: Literal["api-error"] = Field(description="The API server answers with an error.")
    count: int | None = Field(None, ge=1, description="So many of the next calls fail.")
    for_s: Duration | None = Field(None, alias="for", description="Every call fails for so long.")
    effect: Literal["before", "after"] = Field(
        "before",
        description="before: the call does nothing. after: it does its work, the answer is lost.",
    )

    @model_validator(mode="after")
    def _count_or_for(self) -> Self:
        if (self.count is None) == (self.for_s is None):
            raise PydanticCustomError(
                "count_or_for", "must have exactly one of count and for", {"remedy": ""}
            )
        return self


class StaleRead(Part):
    """The operator reads the cluster as it was a while ago."""

    kind: Literal["stale-read"] = Field(description="The operator reads old state.")
    for_s: Duration = Field(alias="for", description="How long reads are stale.")
    lag_s: Duration = Field(alias="lag", description="How old the state is that it reads.")


class LaunchFailure(Part):
    """The cloud refuses to sell machines."""

    kind: Literal["launch-failure"] = Field(description="The cloud refuses orders.")
    count: int = Field(1, ge=1, description="So many of the next orders are refused.")
    reason: Literal["capacity", "quota"] = Field(
        "capacity", description="capacity: sold out. quota: the account's limit is reached."
    )


def _fault_name(value: object) -> str | None:
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return _FAULT_NAMES.get(kind) if isinstance(kind, str) else None


_FAULT_NAMES: Final = {
    "operator-crash": "OperatorCrash",
    "api-error": "ApiError",
    "stale-read": "StaleRead",
    "launch-failure": "LaunchFailure",
    "node-loss": "NodeLoss",
    "image-pull-failure": "ImagePullFailure",
    "container-exit": "ContainerExit",
    "dropped-watch": "DroppedWatch",
    "clock-jump": "ClockJump",
}
Fault = Annotated[
    Annotated[OperatorCrash, Tag("OperatorCrash")]
    | Annotated[ApiError, Tag("ApiError")]
    | Annotated[StaleRead, Tag("StaleRead")]
    | Annotated[LaunchFailure, Tag("LaunchFailure")]
    | Annotated[NodeLoss, Tag("NodeLoss")]
    | Annotated[ImagePullFailure, Tag("ImagePullFailure")]
    | Annotated[ContainerExit, Tag("ContainerExit")]
    | Annotated[DroppedWatch, Tag("DroppedWatch")]
    | Annotated[ClockJump, Tag("ClockJump")],
    Discriminator(
        _fault_name,
        custom_error_type="fault_kind",
        custom_error_message=f"must be a mapping whose kind is one of {', '.join(_FAULT_NAMES)}",
    ),
]


_VERBS: Final = ("apply", "patch", "delete", "fault", "cloud")


class TimelineStep(Part):
    """One thing that happens at one time: exactly one of apply, patch, delete, fault and cloud."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [verb]} for verb in ("apply", "patch", "delete", "fault", "cloud")
            ]
        }
    )

    at_s: Duration = Field(
        0.0, alias="at", description="When, counted from the start of the run, such as 20m."
    )
    apply: Applied | None = Field(
        None, description="Manifests to apply: a file beside this one, a manifest, or a list."
    )
    patch: PatchOf | None = Field(None, description="Change one object.")
    delete: Target | None = Field(None, description="Delete one object.")
    fault: Fault | None = Field(None, description="Something goes wrong in the world.")
    cloud: CloudChange | None = Field(None, description="The cloud has more or less to sell.")

    @model_validator(mode="after")
    def _one_verb(self) -> Self:
        given = [verb for verb in _VERBS if getattr(self, verb) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise PydanticCustomError(
                "one_verb",
                "must have exactly one of {verbs}; it has {found}",
                {
                    "verbs": ", ".join(_VERBS),
                    "found": found,
                    "remedy": "Make one step of each; several may have the same time",
                },
            )
        return self


class ExpectWorkspace(Part):
    """How one Workspace stands at the end of the run."""

    workspace: str = Field(min_length=1, description="Name of the Workspace.")
    namespace: str = Field("default", min_length=1, description="Its namespace.")
    ready: bool | None = Field(
        None, description="true: it serves, or its tuning job succeeded. false: it does not."
    )
    within_s: Duration | None = Field(
        None,
        alias="within",
        description="It became READY, for the last time, no later than this after its creation.",
    )
    reason: str | None = Field(
        None, min_length=1, description="Reason of its condition WorkspaceSucceeded."
    )
    phase: str | None = Field(
        None, min_length=1, description="Name of a phase that is still running."
    )
    absent: bool | None = Field(None, description="true: it is gone. false: it exists.")

    @model_validator(mode="after")
    def _some(self) -> Self:
        wanted = (self.ready, self.within_s, self.reason, self.phase, self.absent)
        if all(value is None for value in wanted):
            raise PydanticCustomError(
                "nothing_expected",
                "says nothing of the Workspace",
                {"remedy": "Add ready, within, reason, phase or absent"},
            )
        return self


class ExpectMachines(Part):
    """How many machines are left at the end of the run."""

    machines: int = Field(ge=0, description="Number of machines that cost money at the end.")


class ExpectPods(Part):
    """How many pods are left at the end of the run."""

    pods: int = Field(ge=0, description="Number of pods at the end, finished ones included.")


class ExpectEvent(Part):
    """An event that was recorded during the run."""

    event: str = Field(min_length=1, description="Reason of the event, such as WorkloadUpdated.")
    workspace: str | None = Field(
        None, min_length=1, description="Only events about the Workspace of this name."
    )
    namespace: str = Field("default", min_length=1, description="The Workspace's namespace.")
    at_least: int = Field(1, ge=1, description="How often it happened, or more.")


def _expectation_name(value: object) -> str | None:
    if isinstance(value, BaseModel):
        return type(value).__name__
    keys = value if isinstance(value, Mapping) else {}
    return next((name for key, name in _EXPECTATION_NAMES.items() if key in keys), None)


_EXPECTATION_NAMES: Final = {
    "event": "ExpectEvent",
    "workspace": "ExpectWorkspace",
    "machines": "ExpectMachines",
    "pods": "ExpectPods",
}
Expect = Annotated[
    Annotated[ExpectWorkspace, Tag("ExpectWorkspace")]
    | Annotated[ExpectMachines, Tag("ExpectMachines")]
    | Annotated[ExpectPods, Tag("ExpectPods")]
    | Annotated[ExpectEvent, Tag("ExpectEvent")],
    Discriminator(
        _expectation_name,
        custom_error_type="expectation",
        custom_error_message="must be a mapping with workspace, machines, pods or event",
    ),
]


class WorldPart(Part):
    """The simulated world, where it differs from the default one."""

    region: str | None = Field(
        None, pattern=r"^[a-z][a-z0-9]*$", description="Cloud region; default eastus."
    )
    latency_scale: float | None = Field(
        None,
        gt=0,
        le=1_000,
        description="Every latency of the world is multiplied by this; default 1.",
    )
    latencies: dict[str, Duration] = Field(
        default_factory=dict,
        description="Phases that always take exactly so long, by name, before the scale.",
    )


class ScenarioFile(Part):
    """A scenario: what happens when, in which world, and what must come of it."""

    model_config = ConfigDict(title="kaito simulation scenario")

    description: str = Field("", description="What the scenario shows, in a sentence.")
    seed: int | None = Field(
        None, ge=0, description="Seed of everything random; default 0. --seed overrides it."
    )
    world: WorldPart = Field(default_factory=WorldPart, description="The simulated world.")
    cloud: CloudPart | None = Field(None, description="How much the cloud sells; unlimited.")
    guards: GuardsPart | None = Field(
        None, description="What the operator lets a namespace have; no limit."
    )
    timeouts: TimeoutsPart | None = Field(
        None, description="How long the operator waits for its machines; default as in production."
    )
    include: tuple[str, ...] = Field(
        (),
        strict=False,
        description="Scenarios and manifests to add, relative to this file. Manifests apply at 0.",
    )
    timeline: tuple[TimelineStep, ...] = Field(
        (), strict=False, description="What happens, each at its time."
    )
    until_s: Duration | None = Field(
        None,
        alias="until",
        description="End of the run; without it, the run ends when nothing more happens.",
    )
    expect: tuple[Expect, ...] = Field(
        (), strict=False, description="What must be true at the end of the run."
    )


def scenario_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a scenario file."""
    schema = ScenarioFile.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
