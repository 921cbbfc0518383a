import pytest

from kaito.adapters.fake.active_faults import ActiveFaults
from kaito.adapters.fake.faults import FailAfter, FailBefore, StaleBy


class Died(Exception):
    pass


class Now:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def faults(now: Now) -> ActiveFaults:
    return ActiveFaults(now)


def test_nothing_goes_wrong_by_itself(faults: ActiveFaults) -> None:
    assert faults.of_kube_call("create") is None
    assert faults.of_cloud_call("launch") is None


def test_so_many_calls_fail(faults: ActiveFaults) -> None:
    faults.fail("after", count=2)
    answers = [faults.of_kube_call("list") for _ in range(3)]
    assert answers == [FailAfter(), FailAfter(), None]
    assert faults.of_cloud_call("launch") is None


def test_calls_fail_until_then(faults: ActiveFaults, now: Now) -> None:
    faults.fail("before", until_s=1010.0)
    now.seconds = 1009.9
    assert faults.of_kube_call("delete") == FailBefore()
    now.seconds = 1010.0
    assert faults.of_kube_call("delete") is None


def test_reads_are_old_until_then_and_writes_are_not(faults: ActiveFaults, now: Now) -> None:
    faults.read_old_state(30.0, until_s=1010.0)
    assert faults.of_kube_call("get") == StaleBy(30.0)
    assert faults.of_kube_call("patch") is None
    now.seconds = 1010.0
    assert faults.of_kube_call("get") is None


def test_the_first_of_two_faults_decides_and_the_other_goes_on(faults: ActiveFaults) -> None:
    faults.fail("before", count=1)
    faults.read_old_state(30.0, until_s=1010.0)
    assert faults.of_kube_call("get") == FailBefore()
    assert faults.of_kube_call("get") == StaleBy(30.0)


def test_the_process_dies_at_the_call_after_the_last_write(faults: ActiveFaults) -> None:
    assert faults.of_kube_call("create") is None, "before it counts"
    faults.die_after_writes(2, Died())
    assert faults.of_kube_call("list") is None
    assert faults.of_kube_call("create") is None
    assert faults.of_cloud_call("list_machines") is None
    assert faults.of_cloud_call("launch") is None
    with pytest.raises(Died):
        faults.of_kube_call("get")
    assert faults.of_kube_call("get") is None, "it dies once"


def test_a_write_that_was_lost_is_none(faults: ActiveFaults) -> None:
    faults.fail("before", count=1)
    faults.die_after_writes(1, Died())
    assert faults.of_kube_call("create") == FailBefore()
    assert faults.of_kube_call("create") is None
    with pytest.raises(Died):
        faults.of_cloud_call("launch")
