"""Named, seeded streams of randomness: a new draw in one does not shift the others."""

import hashlib
from random import Random


class Streams:
    """One run's randomness. The same (seed, name) gives the same draws in any process."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, Random] = {}

    def get(self, name: str) -> Random:
        """The stream of that name, such as `cloud/ws0a1b2c3d4`; a second call continues it.

        Use names that are stable between runs (an object's name), never its UID.
        """
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = self.fresh(name)
        return stream

    def fresh(self, name: str) -> Random:
        """The stream of that name from its beginning: for what is drawn once, and need not be kept
        (a stream takes 2.5 KB)."""
        seed = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        return Random(int.from_bytes(seed, "big"))
