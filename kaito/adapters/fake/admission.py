"""Admission: who may refuse a write before it is stored."""

from typing import Literal, Protocol, TypeAlias

from kaito.adapters.kube_api import KubeObject, Resource

Operation: TypeAlias = Literal["CREATE", "UPDATE", "DELETE"]


class Admission(Protocol):
    """A validating plug-in or webhook. Status writes do not pass through it."""

    def __call__(
        self,
        operation: Operation,
        resource: Resource,
        new: KubeObject | None,
        old: KubeObject | None,
    ) -> None:
        """Return to accept. `new` is None for DELETE, `old` for CREATE.

        Raises: InvalidObject, Forbidden (the write is refused, with that message).
        """
