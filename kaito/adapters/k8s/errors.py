"""Kubernetes API errors as the domain's reactions, in one table."""

from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def as_port_errors() -> Iterator[None]:
    """Raise the domain's error for any KubeApiError from inside.

    One that the table does not name counts as Unavailable: the outcome is unknown.
    """
    try:
        yield
    except kube_api.ServerUnavailable as error:
        raise errors.Unavailable(str(error), retry_after_s=error.retry_after_s) from error
    except kube_api.KubeApiError as error:
        reaction = _REACTIONS.get(type(error), errors.Unavailable)
        raise reaction(str(error)) from error
