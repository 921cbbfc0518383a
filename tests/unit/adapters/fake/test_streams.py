"""Randomness by name."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.adapters.fake.streams import KEPT, Streams


def test_a_stream_is_continued_and_does_not_shift_others() -> None:
    streams = Streams(1)
    first = streams.get("a").random()
    streams.get("b").random()
    assert streams.get("a").random() != first
    assert Streams(1).get("a").random() == first
    assert Streams(2).get("a").random() != first


def test_a_fresh_stream_begins_where_the_kept_one_began() -> None:
    streams = Streams(1)
    first = streams.get("a").random()
    assert streams.fresh("a").random() == streams.fresh("a").random() == first


def draw(stream: Random, how: str) -> float:
    if how == "gauss":  # keeps a second number for the next call
        return stream.gauss(0.0, 1.0)
    if how == "choice":
        return float(stream.choice(range(1000)))
    if how == "many":
        return [stream.random() for _ in range(400)][-1]
    return stream.lognormvariate(0.0, 1.0)


@settings(deadline=None)  # each draw puts a stream away and takes it up again
@given(st.lists(st.sampled_from(["one", "gauss", "choice", "many"]), max_size=6))
def test_a_stream_that_was_put_away_goes_on_as_if_it_had_not_been(draws: list[str]) -> None:
    crowded, quiet = Streams(1), Streams(1)
    for how in draws:
        assert draw(crowded.get("a"), how) == draw(quiet.get("a"), how)
        for number in range(KEPT + 1):
            crowded.get(f"other-{number}").random()
