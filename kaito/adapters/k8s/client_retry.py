"""How long to wait before a call is repeated: a pure function, time and randomness passed in."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Pauses that double from `first_s` up to `longest_s`, each shortened by up to half at random.

    A call is given up after `attempts` (None: never), or when the next one would begin more than
    `budget_s` after the first, or when the server asks for more than `longest_retry_after_s`.
    """

    attempts: int | None = 4
    first_s: float = 0.2
    longest_s: float = 5.0
    budget_s: float = 20.0
    longest_retry_after_s: float = 10.0

    def __post_init__(self) -> None:
        if self.attempts is not None and self.attempts < 1:
            raise ValueError(f"RetryPolicy: attempts must be >= 1, got {self.attempts}")
        if not 0 < self.first_s <= self.longest_s:
            raise ValueError(
                f"RetryPolicy: need 0 < first_s <= longest_s, got {self.first_s}, {self.longest_s}"
            )


FOREVER: Final = RetryPolicy(
    attempts=None,
    longest_s=30.0,
    budget_s=float("inf"),
    longest_retry_after_s=float("inf"),
)
"""For a watch, which has nobody to give up to."""


def retry_pause_s(
    policy: RetryPolicy,
    *,
    failed: int,
    elapsed_s: float,
    retry_after_s: float | None,
    uniform: float,
) -> float | None:
    """Seconds until the next attempt after `failed` attempts in `elapsed_s`; None is to give up.

    `retry_after_s` is what the server asked for, if anything: the pause is never shorter.
    `uniform` is a random number from 0 to 1.
    """
    assert failed >= 1, failed
    assert 0 <= uniform <= 1, uniform
    if policy.attempts is not None and failed >= policy.attempts:
        return None
    doublings = min(failed - 1, 32)  # beyond that, only the floating-point number grows
    pause_s = min(policy.longest_s, policy.first_s * 2**doublings) * (1 - uniform / 2)
    if retry_after_s is not None:
        if retry_after_s > policy.longest_retry_after_s:
            return None
        pause_s = max(pause_s, retry_after_s + policy.first_s * uniform)
    return pause_s if elapsed_s + pause_s <= policy.budget_s else None
