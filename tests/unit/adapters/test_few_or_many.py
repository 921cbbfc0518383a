"""As a set, however many there are."""

from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.few_or_many import added, removed


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9))))
def test_it_holds_what_a_set_would(changes: list[tuple[bool, int]]) -> None:
    kept: Collection[int] = ()
    expected: set[int] = set()
    for adds, item in changes:
        if adds:
            kept = added(kept, item)
            expected.add(item)
        else:
            kept = removed(kept, item)
            expected.discard(item)
        assert sorted(kept) == sorted(expected)
        assert bool(kept) is bool(expected)
