from dataclasses import fields
from pathlib import Path

import pytest

from kaito.adapters.files import load_catalogue
from kaito.adapters.latency_table import load_latency_table
from kaito.domain.calibrated_speed import CALIBRATED
from kaito.domain.errors import InvalidInput
from kaito.domain.measured_latency import Load, Predictor
from kaito.domain.speed_calibration import calibrate
from kaito.domain.step_time import Efficiency

CATALOGUE = load_catalogue()


def test_nothing_in_the_table_waited() -> None:
    rows = load_latency_table(CATALOGUE)
    assert len(rows) > 250
    assert {one.load for one in rows} == {Load.CLOSED, Load.BATCH}
    assert not any(one.waited for one in rows)


def test_the_efficiencies_in_use_are_those_that_the_table_gives() -> None:
    found = calibrate(load_latency_table(CATALOGUE), CALIBRATED.common)
    assert set(found.by_capability) == set(CALIBRATED.by_capability)
    pairs = [(found.common, CALIBRATED.common)]
    pairs += [
        (found.by_capability[key], CALIBRATED.by_capability[key]) for key in found.by_capability
    ]
    for again, used in pairs:
        for field in fields(Efficiency):
            expected = getattr(used, field.name)
            assert getattr(again, field.name) == pytest.approx(expected, rel=0.02), field.name


def test_the_table_is_explained() -> None:
    """In-sample, most rows are within 10 % per output token."""
    predictors = {key: Predictor(one) for key, one in CALIBRATED.by_capability.items()}
    errors = []
    for one in load_latency_table(CATALOGUE):
        assert one.gpu.compute_capability is not None
        latency = predictors[one.gpu.compute_capability].predict(one).latency
        errors.append(abs(latency.tpot_s / one.tpot_s - 1))
    assert sorted(errors)[len(errors) // 2] < 0.10


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("phi-4", "phi-none", "unknown model 'phi-none'"),
        ("NVIDIA A10", "NVIDIA A11", "unknown GPU 'NVIDIA A11'"),
        ("[1, 1,", "[0, 1,", "greater than 0"),
        ("rows:", "lines:", "rows"),
        ("blocks:", "{", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = (
        "source: made up\nblocks:\n  - source: made up\n    protocol: closed\n"
        "    gpu: NVIDIA A10\n    measured: phi\n    model: phi-4\n    rows:\n"
        "      - [1, 1, 1000, 100, 4, 50.0, 20.0]\n"
    )
    file = tmp_path / "latency.yaml"
    file.write_text(text)
    assert len(load_latency_table(CATALOGUE, file)) == 1
    file.write_text(text.replace(old, new))
    with pytest.raises(InvalidInput, match=message):
        load_latency_table(CATALOGUE, file)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_latency_table(CATALOGUE, tmp_path / "none.yaml")
