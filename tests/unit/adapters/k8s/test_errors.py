"""What each Kubernetes API error asks of the caller; a new one must be added here."""

import pytest

from kaito.adapters import kube_api
from kaito.adapters.k8s.errors import as_port_errors
from kaito.domain import errors

REACTIONS = {
    kube_api.ObjectNotFound: errors.NotFound,
    kube_api.AlreadyExists: errors.Conflict,
    kube_api.ObjectConflict: errors.Conflict,
    kube_api.Gone: errors.Conflict,
    kube_api.InvalidObject: errors.Rejected,
    kube_api.Forbidden: errors.Rejected,
    kube_api.ServerUnavailable: errors.Unavailable,
}


def subclasses(of: type[Exception]) -> set[type[Exception]]:
    direct = set(of.__subclasses__())
    return direct.union(*(subclasses(one) for one in direct))


def test_every_error_has_a_reaction() -> None:
    ours = {one for one in subclasses(kube_api.KubeApiError) if one.__module__ == kube_api.__name__}
    assert ours == set(REACTIONS)


@pytest.mark.parametrize("error", REACTIONS)
def test_an_error_becomes_its_reaction(error: type[kube_api.KubeApiError]) -> None:
    with pytest.raises(errors.PortError) as caught, as_port_errors():
        raise error("why")
    assert type(caught.value) is REACTIONS[error]
    assert str(caught.value) == "why"
    assert type(caught.value.__cause__) is error


def test_an_unknown_error_has_an_unknown_outcome() -> None:
    with pytest.raises(errors.Unavailable, match="teapot"), as_port_errors():
        raise kube_api.KubeApiError("teapot", code=418)


def test_the_server_says_when_to_come_back() -> None:
    with pytest.raises(errors.Unavailable) as caught, as_port_errors():
        raise kube_api.ServerUnavailable("busy", retry_after_s=7, code=429)
    assert caught.value.retry_after_s == 7


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), as_port_errors():
        raise KeyError("ours")
    with as_port_errors():
        pass
