"""Time-outs as flags give them."""

import pytest

from kaito.domain.errors import InvalidInput
from kaito.domain.machine_limits import FLAGS, MachineLimits, limits_from


def test_what_is_not_given_is_as_ever() -> None:
    assert limits_from({}) == MachineLimits()
    given = limits_from({"launch_s": "90s", "drain_s": "1h30m"})
    assert given == MachineLimits(launch_s=90.0, drain_s=5400.0)


@pytest.mark.parametrize("text", ["0", "0m", "-5m", "soon", ""])
def test_a_time_out_is_a_length_of_time_above_zero(text: str) -> None:
    for name, flag in FLAGS.items():
        with pytest.raises(InvalidInput) as caught:
            limits_from({name: text})
        (problem,) = caught.value.problems
        assert problem.field == flag
        assert f"got {text!r}" in problem.message
        assert "5m" in problem.remedy


def test_every_bad_flag_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        limits_from(dict.fromkeys(FLAGS, "never"))
    assert [problem.field for problem in caught.value.problems] == list(FLAGS.values())
