"""What is kept, and for how long."""

from kaito.recently_used import RecentlyUsed


def test_what_is_asked_for_stays_and_what_is_not_goes() -> None:
    kept: RecentlyUsed[str, int] = RecentlyUsed()
    kept.put("a", 1)
    kept.put("b", 2)
    kept.forget_unused()
    assert kept.get("a") == 1
    kept.forget_unused()
    assert kept.get("a") == 1
    assert kept.get("b") is None
    assert len(kept) == 1


def test_a_newer_value_takes_the_place_of_one_from_before() -> None:
    kept: RecentlyUsed[str, int] = RecentlyUsed()
    kept.put("a", 1)
    kept.forget_unused()
    kept.put("a", 2)
    assert kept.get("a") == 2
    kept.drop("a")
    assert kept.get("a") is None
    assert len(kept) == 0
