from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.domain.conditions import Condition, find, is_true, merge
from tests.unit.domain.builders import NOW_S, condition

KINDS = ["A", "B", "C", "D"]


def sets_of_conditions() -> st.SearchStrategy[list[Condition]]:
    one = st.builds(
        condition,
        st.sampled_from(KINDS),
        st.sampled_from(["True", "False", "Unknown"]),
        st.sampled_from(["X", "Y"]),
        since_s=st.sampled_from([1.0, 2.0]),
    )
    return st.lists(one, max_size=4, unique_by=lambda found: found.type)


def test_find_and_is_true() -> None:
    found = [condition("A", "False"), condition("B", "True"), condition("C", "Unknown")]
    assert find(found, "B") == condition("B", "True")
    assert find(found, "Z") is None
    assert [is_true(found, kind) for kind in ("A", "B", "C", "Z")] == [False, True, False, False]


def test_the_transition_time_moves_only_with_the_status() -> None:
    old = [condition("A", "True", since_s=1.0), condition("B", "False", since_s=2.0)]
    new = [
        condition("B", "True", "Changed"),
        condition("A", "True", "OtherReason", message="m"),
        condition("C", "True"),
    ]
    merged = merge(old, new, now_s=NOW_S + 0.9)
    assert merged == (
        condition("A", "True", "OtherReason", message="m", since_s=1.0),
        condition("B", "True", "Changed", since_s=NOW_S),
        condition("C", "True", since_s=NOW_S),
    )


@settings(deadline=None)
@given(old=sets_of_conditions(), new=sets_of_conditions())
def test_merging_twice_is_merging_once(old: list[Condition], new: list[Condition]) -> None:
    once = merge(old, new, now_s=NOW_S)
    assert merge(once, new, now_s=NOW_S + 100) == once
    assert len({found.type for found in once}) == len(once)
    assert [found.type for found in once][: len(old)] == [found.type for found in old]
    unmentioned = [found for found in old if find(new, found.type) is None]
    assert all(found in once for found in unmentioned)


def test_what_a_clock_that_was_ahead_wrote_counts_from_now_on() -> None:
    old = [condition("A", "False", since_s=NOW_S + 3600.0)]
    merged = merge(old, [condition("A", "False")], now_s=NOW_S + 0.5)
    assert merged == (condition("A", "False", since_s=NOW_S),)
    assert merge(merged, [condition("A", "False")], now_s=NOW_S + 60.0) == merged
