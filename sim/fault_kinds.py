"""Faults of nodes, registries, watches and clocks, as a scenario file says them."""

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from sim.scenario_parts import Duration, Part


class NodeLoss(Part):
    """One of a Workspace's machines goes, or its Node stops being of use."""

    kind: Literal["node-loss"] = Field(description="A Node is lost, with or without its machine.")
    workspace: str = Field(min_length=1, description="The Workspace that the machine belongs to.")
    namespace: str = Field("default", min_length=1, description="The Workspace's namespace.")
    index: int = Field(0, ge=0, description="Which of its machines, in order of their orders.")
    how: Literal["vanishes", "not-ready", "without-gpus"] = Field(
        "vanishes",
        description="vanishes: the machine is gone. not-ready: it hangs, and is paid for. "
        "without-gpus: its Node offers no GPUs any more.",
    )
    for_s: Duration | None = Field(
        None,
        alias="for",
        description="The Node recovers after so long; without it, never.",
    )

    @model_validator(mode="after")
    def _what_vanishes_stays_away(self) -> Self:
        if self.how == "vanishes" and self.for_s is not None:
            raise PydanticCustomError(
                "vanished_for",
                "a machine that vanishes does not come back",
                {"remedy": "Remove for, or write how: not-ready"},
            )
        return self


class ImagePullFailure(Part):
    """Images cannot be pulled; what runs and what a node has already is not affected."""

    kind: Literal["image-pull-failure"] = Field(description="Images cannot be pulled.")
    for_s: Duration = Field(alias="for", description="How long.")
    registry: str | None = Field(
        None, min_length=1, description="Only from this registry, such as mcr.microsoft.com."
    )
    image: str | None = Field(
        None, min_length=1, description="Only this image, with or without its tag."
    )

    @model_validator(mode="after")
    def _registry_or_image(self) -> Self:
        if self.registry is not None and self.image is not None:
            raise PydanticCustomError(
                "registry_or_image",
                "must have at most one of registry and image",
                {"remedy": "Make one fault of each"},
            )
        return self


class ContainerExit(Part):
    """A container of a Workspace's pods ends with an error, each of the next times it starts."""

    kind: Literal["container-exit"] = Field(description="A container ends with an error.")
    workspace: str = Field(min_length=1, description="The Workspace that the pod belongs to.")
    namespace: str = Field("default", min_length=1, description="The Workspace's namespace.")
    container: str | None = Field(
        None,
        min_length=1,
        description="The container, such as data-downloader; without it, the one with the GPUs.",
    )
    code: int = Field(1, ge=1, le=255, description="The exit code.")
    reason: Literal["Error", "OOMKilled"] = Field(
        "Error", description="What Kubernetes calls it; OOMKilled goes with code: 137."
    )
    message: str = Field("", description="What it leaves behind, as its termination message.")
    after_s: Duration = Field(
        10.0, alias="after", description="How long after its start, at the latest at its end."
    )
    count: int = Field(1, ge=1, description="How many starts end so.")


class DroppedWatch(Part):
    """The operator's watches break: what changes in the meantime is not told."""

    kind: Literal["dropped-watch"] = Field(description="The operator's watches break.")
    for_s: Duration = Field(
        0.0,
        alias="for",
        description="So long nothing arrives and nobody notices, as on a half-open connection; "
        "then the API server says that it has forgotten what was missed.",
    )


class ClockJump(Part):
    """The operator's clock is set to another time; the rest of the world keeps its own."""

    kind: Literal["clock-jump"] = Field(description="The operator's clock jumps.")
    forward_s: Duration | None = Field(None, alias="forward", description="So far ahead.")
    back_s: Duration | None = Field(None, alias="back", description="So far back.")
    for_s: Duration | None = Field(
        None, alias="for", description="It is set right after so long; without it, never."
    )

    @model_validator(mode="after")
    def _forward_or_back(self) -> Self:
        if (self.forward_s is None) == (self.back_s is None):
            raise PydanticCustomError(
                "forward_or_back", "must have exactly one of forward and back", {"remedy": ""}
            )
        return self

    @property
    def by_s(self) -> float:
        """Seconds that it jumps; negative: back."""
        return self.forward_s if self.forward_s is not None else -(self.back_s or 0.0)
