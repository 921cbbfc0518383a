"""Errors, named by what the caller does next.

DomainError
├── InvalidInput           fix the named fields and try again; carries every problem found
│   ├── InvalidConfig      the same, in the ConfigMap that a Workspace names
│   └── InvalidModel       the same, in a model's config.json or weight files
└── PortError              something outside said no
    ├── Conflict           the object changed since it was read: observe again
    ├── NotFound           the object is gone: observe again
    ├── Unavailable        outcome unknown: repeat the same call
    ├── CapacityUnavailable  sold out: wait, or try another instance type or zone
    ├── QuotaExceeded      a human must raise a limit, or another instance type is tried
    ├── MachineLimitReached  the cluster takes no more machines of any type: some must go first
    └── Rejected           the request itself is wrong: a human must act
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with an input: which field, what is wrong, what to do about it. `rule` is the
    id of the broken rule in docs/validation.md; empty where no rule of a manifest is broken."""

    field: str
    message: str
    remedy: str = ""
    rule: str = ""

    def __str__(self) -> str:
        text = f"{self.field}: {self.message}" if self.field else self.message
        return f"{text}. {self.remedy}" if self.remedy else text


class DomainError(Exception):
    """Base of every error that kaito raises on purpose."""


class InvalidInput(DomainError):
    """An input was refused and changed nothing; `problems` lists every reason at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        assert self.problems, "InvalidInput needs at least one problem"
        super().__init__("\n".join(str(problem) for problem in self.problems))


class InvalidConfig(InvalidInput):
    """The content of a ConfigMap was refused; nothing was changed."""


class InvalidModel(InvalidInput):
    """A model's config or weight files were refused; nothing is known about its memory."""


class PortError(DomainError):
    """A call through a port failed; the subclass says what to do next."""


class Conflict(PortError):
    """The object changed since it was read, or exists with other content: observe again."""


class NotFound(PortError):
    """The object does not exist (any more): observe again."""


class Unavailable(PortError):
    """The outcome is unknown (time-out, throttling, 5xx): repeat the same call later."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CapacityUnavailable(PortError):
    """The cloud has none of this instance type left: wait, or try another type or zone.

    `zone` is where it has none, `other_zones` where it may have some; without them it has none
    anywhere.
    """

    def __init__(self, message: str, *, zone: str = "", other_zones: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.zone = zone
        self.other_zones = tuple(other_zones)


class QuotaExceeded(PortError):
    """A limit of the account for this kind of machine is reached: a human must raise it, or
    another instance type must do."""


class MachineLimitReached(PortError):
    """The cluster takes no more machines, of whatever type: some must go first."""


class Rejected(PortError):
    """The request is wrong or not permitted, and repeating it cannot help: a human must act."""
