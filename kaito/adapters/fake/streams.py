"""Named, seeded streams of randomness: a new draw in one does not shift the others."""

import hashlib
from random import Random
from typing import Final

KEPT: Final = 64  # streams that are kept whole; each takes 2.5 KB
_BLOCK_WORDS: Final = 624  # the Mersenne Twister makes so many at a time, and counts them


class Streams:
    """One run's randomness. The same (seed, name) gives the same draws in any process.

    There is one for each machine and pod, and few draws from each: of most, only how many words
    were drawn is kept.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, Random] = {}  # the last used ones last
        self._drawn_words: dict[str, int] = {}
        self._long: dict[str, Random] = {}  # of which more was drawn than is counted

    def get(self, name: str) -> Random:
        """The stream of that name, such as `cloud/ws0a1b2c3d4`; a second call continues it.

        Use names that are stable between runs (an object's name), never its UID. Do not keep it
        while others are asked for, unless it is drawn from without end.
        """
        if name in self._long:
            return self._long[name]
        stream = self._streams.pop(name, None)
        if stream is None:
            stream = self._drawn(name, self._drawn_words.pop(name, 0))
        self._streams[name] = stream
        if len(self._streams) > KEPT:
            self._put_away(next(iter(self._streams)))
        return stream

    def fresh(self, name: str) -> Random:
        """The stream of that name from its beginning: for what is drawn once."""
        seed = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        return Random(int.from_bytes(seed, "big"))

    def _drawn(self, name: str, words: int) -> Random:
        stream = self.fresh(name)
        for _ in range(words):
            stream.getrandbits(32)
        return stream

    def _put_away(self, name: str) -> None:
        stream = self._streams.pop(name)
        words = stream.getstate()[1][-1] % _BLOCK_WORDS
        if self._drawn(name, words).getstate() == stream.getstate():
            self._drawn_words[name] = words
        else:
            self._long[name] = stream
