import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.k8s.client_retry import FOREVER, RetryPolicy, retry_pause_s

POLICY = RetryPolicy(attempts=5, first_s=0.2, longest_s=1.0, budget_s=20, longest_retry_after_s=10)


def pause(
    failed: int,
    *,
    policy: RetryPolicy = POLICY,
    elapsed_s: float = 0,
    retry_after_s: float | None = None,
    uniform: float = 0,
) -> float | None:
    return retry_pause_s(
        policy,
        failed=failed,
        elapsed_s=elapsed_s,
        retry_after_s=retry_after_s,
        uniform=uniform,
    )


def test_pauses_double_up_to_the_longest() -> None:
    assert [pause(failed) for failed in range(1, 6)] == [0.2, 0.4, 0.8, 1.0, None]


def test_chance_takes_off_up_to_half() -> None:
    assert pause(2, uniform=1) == 0.2
    assert pause(2, uniform=0.5) == pytest.approx(0.3)


def test_what_the_server_asks_for_is_the_least() -> None:
    assert pause(1, retry_after_s=3) == 3
    assert pause(1, retry_after_s=3, uniform=1) == 3.2
    assert pause(3, retry_after_s=0) == 0.8
    assert pause(1, retry_after_s=10.5) is None


def test_the_budget_counts_the_pause() -> None:
    assert pause(1, elapsed_s=19.8) == 0.2
    assert pause(1, elapsed_s=19.9) is None
    assert pause(1, elapsed_s=12, retry_after_s=9) is None


@given(
    failed=st.integers(1, 10_000),
    elapsed_s=st.floats(0, 1e6),
    retry_after_s=st.none() | st.floats(0, 1e6),
    uniform=st.floats(0, 1),
)
def test_a_watch_never_gives_up(
    failed: int, elapsed_s: float, retry_after_s: float | None, uniform: float
) -> None:
    found = pause(
        failed, policy=FOREVER, elapsed_s=elapsed_s, retry_after_s=retry_after_s, uniform=uniform
    )
    assert found is not None
    assert FOREVER.first_s / 2 <= found <= max(FOREVER.longest_s, (retry_after_s or 0) + 1)
    assert math.isfinite(found)


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first_s": 0}, {"first_s": 2, "longest_s": 1}])
def test_policies_make_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="RetryPolicy"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]
