from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import pytest
import yaml

from kaito.adapters.fake.latencies import (
    GIB,
    Latencies,
    Phases,
    load_latencies,
    parse_latencies,
)
from kaito.adapters.fake.streams import Streams
from kaito.domain.errors import InvalidInput

FILE = Path(__file__).parents[4] / "presets" / "latencies.yaml"


@pytest.fixture(scope="module")
def latencies() -> Latencies:
    return load_latencies(FILE)


def samples(latencies: Latencies, phase: str, size_bytes: int | None = None) -> list[float]:
    rng = Random(7)
    return sorted(latencies.sample_s(phase, rng, size_bytes=size_bytes) for _ in range(4001))


def timing(**fields: Any) -> Latencies:
    data = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    data["phases"]["training"] = {"prior": True, **fields}
    return parse_latencies(data, origin="latencies.yaml")


@pytest.mark.parametrize("phase", sorted(Phases.model_fields))
def test_samples_stay_in_what_is_cited(latencies: Latencies, phase: str) -> None:
    known = latencies.timing(phase)
    size = None if known.seconds else 10 * GIB
    drawn = samples(latencies, phase, size)
    assert drawn[0] > 0
    low, high = known.cited_min_s, known.cited_max_s
    if known.gib_per_s and known.cited_max_gib_per_s and known.cited_min_gib_per_s:
        low, high = 10 / known.cited_max_gib_per_s, 10 / known.cited_min_gib_per_s
    assert low is None or drawn[0] >= low - 1e-9
    assert high is None or drawn[-1] <= high + 1e-9


def test_every_phase_has_a_source_or_is_a_prior(latencies: Latencies) -> None:
    for phase in Phases.model_fields:
        known = latencies.timing(phase)
        assert known.prior or known.source, phase
    assert "node_provision" in latencies.priors()
    assert "torch_compile" not in latencies.priors()


def test_the_phases_of_a_start_add_up_to_measured_starts(latencies: Latencies) -> None:
    """Measured: engine initialisation 25.7 s, process start to ready 70 s at the median (59 starts
    of vLLM 0.19.0 on H100, most of them of 15 GiB and with the files at hand)."""
    rng = Random(3)

    def draw(*phases: str) -> float:
        return sum(
            latencies.sample_s(phase, rng, size_bytes=15 * GIB if phase == "weights_load" else None)
            for phase in phases
        )

    init = ("torch_compile", "memory_profiling", "cuda_graph_capture")
    assert median(draw(*init) for _ in range(2000)) == pytest.approx(25.7, rel=0.15)
    start = (*init, "engine_init_vllm", "weights_load")
    assert median(draw(*start) for _ in range(2000)) == pytest.approx(70, rel=0.15)


def test_a_rate_is_applied_to_the_size(latencies: Latencies) -> None:
    small, large = (
        samples(latencies, "weights_download", size_bytes=size * GIB) for size in (10, 20)
    )
    assert large[2000] == pytest.approx(2 * small[2000])


@pytest.mark.parametrize(
    ("distribution", "low", "middle", "high"),
    [
        ({"kind": "constant", "value": 4}, 4, 4, 4),
        ({"kind": "uniform", "min": 2, "max": 6}, 2, 4, 6),
        ({"kind": "triangular", "min": 0, "mode": 5, "max": 10}, 0, 5, 10),
        ({"kind": "lognormal", "p50": 60, "p95": 240, "min": 15, "max": 900}, 15, 60, 900),
        ({"kind": "empirical", "samples": [1, 2, 10]}, 1, 2, 10),
    ],
)
def test_distributions(
    distribution: dict[str, Any], low: float, middle: float, high: float
) -> None:
    drawn = samples(timing(seconds=distribution), "training")
    assert drawn[0] >= low
    assert drawn[-1] <= high
    assert drawn[2000] == pytest.approx(middle, rel=0.12)


def test_a_lognormal_has_its_quantiles() -> None:
    wide = {"kind": "lognormal", "p50": 60, "p95": 240, "min": 0, "max": 100_000}
    drawn = samples(timing(seconds=wide), "training")
    assert drawn[2000] == pytest.approx(60, rel=0.1)
    assert drawn[3800] == pytest.approx(240, rel=0.1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"seconds": {"kind": "uniform", "min": "x", "max": 1}}, "training.seconds.min: must be a"),
        ({"seconds": {"kind": "uniform", "min": 2, "max": 1}}, "min 2 is above max 1"),
        ({"seconds": {"kind": "constant", "value": -1}}, "training.seconds.value: "),
        ({"seconds": {"kind": "normal"}}, "normal"),
        ({"seconds": {"kind": "empirical", "samples": [2, 1]}}, "not in rising order"),
        ({"seconds": {"kind": "constant", "value": 1}, "speed": 1}, "training.speed: unknown key"),
        ({}, "training: needs either seconds or gib_per_s"),
        (
            {"seconds": {"kind": "constant", "value": 1}, "prior": False},
            "training: needs a source, or prior: true",
        ),
        ({"gib_per_s": {"kind": "uniform", "min": 0, "max": 1}}, "a rate must be above 0"),
    ],
)
def test_a_wrong_file_is_refused_with_file_key_and_value(
    fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        timing(**fields)
    assert words in str(caught.value)
    assert "latencies.yaml: phases.training" in str(caught.value)


def test_a_file_that_is_missing_or_no_yaml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"absent\.yaml: cannot be read"):
        load_latencies(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"broken\.yaml:2: is not valid YAML"):
        load_latencies(broken)
    broken.write_text("- 1", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"broken\.yaml:1: must be a mapping"):
        load_latencies(broken)


def test_an_unknown_phase_is_refused(latencies: Latencies) -> None:
    with pytest.raises(InvalidInput, match="Did you mean node_provision"):
        latencies.sample_s("node_provison", Random(0))


def test_streams_are_repeatable_and_independent() -> None:
    first, second = Streams(1), Streams(1)
    first.get("cloud/a").random()  # a draw that the other run does not make
    assert first.get("cloud/b").random() == second.get("cloud/b").random()
    assert first.get("cloud/a").random() != second.get("cloud/a").random()
    assert first.get("cloud/a") is first.get("cloud/a")
    assert Streams(1).get("x").random() != Streams(2).get("x").random()
    assert Streams(1).get("x").random() != Streams(1).get("y").random()


def test_a_stream_is_the_same_in_every_process() -> None:
    assert Streams(42).get("cloud/ws0").random() == 0.5044683307085105
