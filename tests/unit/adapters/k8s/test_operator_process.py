import pytest

from kaito.adapters.k8s.operator_process import readiness


@pytest.mark.parametrize(
    ("state", "code", "told"),
    [
        ({}, 200, "standing by"),
        ({"leading": True, "synced": True}, 200, "leading"),
        ({"leading": True}, 503, "cannot list everything yet: see the log"),
        ({"lease_problem": "forbidden"}, 503, "leader election: forbidden"),
        ({"leading": True, "synced": True, "lease_problem": "away"}, 200, "leading"),
        ({"leading": True, "synced": True, "stopping": True}, 503, "stopping"),
    ],
)
def test_ready_means_that_it_does_its_work_or_could(
    state: dict[str, object], code: int, told: str
) -> None:
    usual: dict[str, object] = {
        "stopping": False,
        "leading": False,
        "synced": False,
        "lease_problem": "",
    }
    assert readiness(**{**usual, **state}) == (code, told)  # type: ignore[arg-type]  # by name
