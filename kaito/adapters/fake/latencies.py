"""How long the world takes: one distribution per phase, read from `presets/latencies.yaml`."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from random import Random
from statistics import NormalDist
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kaito.adapters import yaml_values
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.names import did_you_mean
from kaito.domain.parsing import problems_of

GIB: Final = 1024**3
_Z_P95: Final = NormalDist().inv_cdf(0.95)
# pydantic puts the kind of a distribution into a location: `seconds.uniform.min`.
_KIND_TAG: Final = re.compile(
    r"\b(seconds|gib_per_s)\.(?:constant|uniform|triangular|lognormal|empirical)\b"
)
_WITHOUT_TAG: Final = r"\1"
_SMALLEST_SHARE: Final = 1e-12  # a quantile of 0 or 1 would be infinite

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Constant(_Strict):
    """Always `value`."""

    kind: Literal["constant"]
    value: Amount

    def sample(self, rng: Random) -> float:
        return self.value

    def bounds(self) -> tuple[float, float]:
        return self.value, self.value


class Uniform(_Strict):
    """Anything between `min` and `max`, equally likely."""

    kind: Literal["uniform"]
    min: Amount
    max: Amount

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _must(self.min <= self.max, f"min {self.min:g} is above max {self.max:g}")
        return self

    def sample(self, rng: Random) -> float:
        return rng.uniform(self.min, self.max)

    def bounds(self) -> tuple[float, float]:
        return self.min, self.max


class Triangular(_Strict):
    """Between `min` and `max`, most likely near `mode`."""

    kind: Literal["triangular"]
    min: Amount
    mode: Amount
    max: Amount

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _must(
            self.min <= self.mode <= self.max,
            f"min {self.min:g}, mode {self.mode:g}, max {self.max:g} are not in order",
        )
        return self

    def sample(self, rng: Random) -> float:
        return rng.triangular(self.min, self.max, self.mode)

    def bounds(self) -> tuple[float, float]:
        return self.min, self.max


class LogNormal(_Strict):
    """Log-normal through its median and 95th percentile, cut off at `min` and `max`."""

    kind: Literal["lognormal"]
    p50: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    p95: Amount
    min: Amount
    max: Amount

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _must(
            self.min <= self.p50 < self.p95 <= self.max,
            f"min {self.min:g}, p50 {self.p50:g}, p95 {self.p95:g} and max {self.max:g}"
            " are not in order",
        )
        return self

    def sample(self, rng: Random) -> float:
        in_log = NormalDist(math.log(self.p50), math.log(self.p95 / self.p50) / _Z_P95)
        low = in_log.cdf(math.log(self.min)) if self.min > 0 else 0.0
        high = in_log.cdf(math.log(self.max))
        share = min(max(rng.uniform(low, high), _SMALLEST_SHARE), 1 - _SMALLEST_SHARE)
        return min(max(math.exp(in_log.inv_cdf(share)), self.min), self.max)

    def bounds(self) -> tuple[float, float]:
        return self.min, self.max


class Empirical(_Strict):
    """`samples`, in rising order, as equally spaced quantiles with linear interpolation."""

    kind: Literal["empirical"]
    samples: Annotated[tuple[Amount, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _must(list(self.samples) == sorted(self.samples), "samples are not in rising order")
        return self

    def sample(self, rng: Random) -> float:
        position = rng.random() * (len(self.samples) - 1)
        index = int(position)
        below, above = self.samples[index], self.samples[index + 1]
        return below + (above - below) * (position - index)

    def bounds(self) -> tuple[float, float]:
        return self.samples[0], self.samples[-1]


Distribution = Annotated[
    Constant | Uniform | Triangular | LogNormal | Empirical, Field(discriminator="kind")
]


class Timing(_Strict):
    """How long one phase takes: in seconds, or by the size it moves."""

    seconds: Distribution | None = None
    gib_per_s: Distribution | None = None
    assumed_gib: Annotated[float | None, Field(gt=0)] = None
    """The size where the caller knows none."""
    cited_min_s: Amount | None = None
    cited_max_s: Amount | None = None
    cited_min_gib_per_s: Amount | None = None
    cited_max_gib_per_s: Amount | None = None
    source: str = ""
    prior: bool = False
    """The shape of the distribution is an assumption, not a measurement."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        _must(
            (self.seconds is None) != (self.gib_per_s is None),
            "needs either seconds or gib_per_s",
        )
        _must(bool(self.source) or self.prior, "needs a source, or prior: true")
        if self.gib_per_s is not None:
            _must(self.gib_per_s.bounds()[0] > 0, "a rate must be above 0 GiB/s")
        else:
            _must(self.assumed_gib is None, "assumed_gib goes with gib_per_s")
        return self

    def cited_s(self, size_bytes: int | None) -> tuple[float | None, float | None]:
        """The published range in seconds, for this size; None where nothing is published."""
        if self.gib_per_s is None:
            return self.cited_min_s, self.cited_max_s
        size_gib = self.assumed_gib if size_bytes is None else size_bytes / GIB
        if size_gib is None:
            return None, None
        fastest, slowest = self.cited_max_gib_per_s, self.cited_min_gib_per_s
        return size_gib / fastest if fastest else None, size_gib / slowest if slowest else None

    def duration_s(self, rng: Random, size_bytes: int | None) -> float:
        """One draw. A phase with a rate needs a size, the caller's or the assumed one."""
        if self.seconds is not None:
            return self.seconds.sample(rng)
        assert self.gib_per_s is not None, "either seconds or gib_per_s"
        size_gib = self.assumed_gib if size_bytes is None else size_bytes / GIB
        assert size_gib is not None, "a phase with a rate and no assumed size needs size_bytes"
        return size_gib / self.gib_per_s.sample(rng)


class Phases(_Strict):
    """Every phase the twin knows. Each is required."""

    machine_launch: Timing
    node_provision: Timing
    gpu_driver: Timing
    machine_release: Timing
    image_pull: Timing
    small_image_pull: Timing
    adapter_pull: Timing
    data_download: Timing
    weights_download: Timing
    weights_load: Timing
    weights_load_multi_gpu: Timing
    torch_compile: Timing
    memory_profiling: Timing
    cuda_graph_capture: Timing
    engine_init_vllm: Timing
    engine_init_vllm_multi_gpu: Timing
    engine_init: Timing
    ray_start: Timing
    volume_provision: Timing
    training: Timing
    results_push: Timing
    container_stop: Timing


class Latencies(_Strict):
    """The file: `source` says where what no phase cites is from."""

    source: str
    phases: Phases
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Every draw is multiplied by this."""

    def adjusted(self, *, scale: float, fixed_s: Mapping[str, float]) -> "Latencies":
        """These latencies with `scale`, and with the phases of `fixed_s` always that long.

        Raises: InvalidInput (no such phase).
        """
        timings = {}
        for phase, seconds in fixed_s.items():
            self.timing(phase)
            constant = Constant(kind="constant", value=seconds)
            timings[phase] = Timing(seconds=constant, source="fixed by the scenario")
        phases = self.phases.model_copy(update=timings)
        return self.model_copy(update={"phases": phases, "scale": scale})

    def timing(self, phase: str) -> Timing:
        """Raises: InvalidInput (no such phase)."""
        if phase not in Phases.model_fields:
            problem = Problem(
                field="phase",
                message=f"no latency is known for {phase!r}",
                remedy=did_you_mean(phase, Phases.model_fields),
            )
            raise InvalidInput([problem])
        timing = getattr(self.phases, phase)
        assert isinstance(timing, Timing)
        return timing

    def sample_s(self, phase: str, rng: Random, *, size_bytes: int | None = None) -> float:
        """Seconds that one run of `phase` takes; `size_bytes` is what a rate is applied to.

        Raises: InvalidInput (no such phase).
        """
        return self.timing(phase).duration_s(rng, size_bytes) * self.scale

    def priors(self) -> tuple[str, ...]:
        """The phases whose distribution is an assumption, for reports that use them."""
        return tuple(name for name in Phases.model_fields if self.timing(name).prior)


def parse_latencies(data: Mapping[str, Any], *, origin: str) -> Latencies:
    """`data` as the file's content; `origin` names it in messages.

    Raises: InvalidInput (every problem, each with file, key and value).
    """
    try:
        return Latencies.model_validate(data)
    except ValidationError as error:
        problems = [
            Problem(
                field=f"{origin}: {_KIND_TAG.sub(_WITHOUT_TAG, problem.field)}",
                message=problem.message.removeprefix("Value error, "),
                remedy=problem.remedy,
            )
            for problem in problems_of(error, Latencies)
        ]
        raise InvalidInput(problems) from error


def load_latencies(path: Path) -> Latencies:
    """Read and check a file. Raises: InvalidInput (unreadable, no YAML, or wrong content)."""
    try:
        data = yaml_values.parse_mapping(path.read_text(encoding="utf-8"))
    except OSError as error:
        problem = Problem(field=path.name, message=f"cannot be read: {error.strerror}")
        raise InvalidInput([problem]) from error
    except yaml_values.BadText as error:
        raise InvalidInput(
            Problem(field=f"{path.name}:{flaw.line}", message=flaw.message, remedy=flaw.remedy)
            for flaw in error.flaws
        ) from error
    return parse_latencies(data, origin=path.name)


def _must(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
