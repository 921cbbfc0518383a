"""Kubernetes API errors as the domain's reactions, in one table."""

from contextlib import AbstractContextManager
from typing import Final

from kaito.adapters import kube_api
from kaito.domain import errors

_REACTIONS: Final[dict[type[kube_api.KubeApiError], type[errors.PortError]]] = {
    kube_api.ObjectNotFound: errors.NotFound,
    kube_api.AlreadyExists: errors.Conflict,
    kube_api.ObjectConflict: errors.Conflict,
    kube_api.Gone: errors.Conflict,
    kube_api.InvalidObject: errors.Rejected,
    kube_api.Forbidden: errors.Rejected,
}


class _AsPortErrors:
    def __enter__(self) -> None:
        return None

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: object
    ) -> None:
        if isinstance(error, kube_api.ServerUnavailable):
            raise errors.Unavailable(str(error), retry_after_s=error.retry_after_s) from error
        if isinstance(error, kube_api.KubeApiError):
            reaction = _REACTIONS.get(type(error), errors.Unavailable)
            raise reaction(str(error)) from error


_AS_PORT_ERRORS: Final = _AsPortErrors()  # it keeps nothing: one serves all


def as_port_errors() -> AbstractContextManager[None]:
    """Raise the domain's error for any KubeApiError from inside.

    One that the table does not name counts as Unavailable: the outcome is unknown.
    """
    return _AS_PORT_ERRORS
