"""Randomness by name."""

from kaito.adapters.fake.streams import Streams


def test_a_stream_is_continued_and_does_not_shift_others() -> None:
    streams = Streams(1)
    first = streams.get("a").random()
    streams.get("b").random()
    assert streams.get("a").random() != first
    again = Streams(1)
    assert again.get("a").random() == first
    assert Streams(2).get("a").random() != first


def test_a_fresh_stream_begins_where_the_kept_one_began() -> None:
    streams = Streams(1)
    first = streams.get("a").random()
    assert streams.fresh("a").random() == streams.fresh("a").random() == first
