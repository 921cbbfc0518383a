"""The matrices and vectors that a decoder block is made of."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from kaito.domain.model import Attention, Experts, Indexer


class Share(StrEnum):
    """What tensor parallelism does with a part."""

    SPLIT = "split"  # each rank holds its share
    WHOLE = "whole"  # each rank holds all of it
    EXPERTS = "experts"  # a routed expert: split, or dealt out by expert parallelism


class Cache(StrEnum):
    """What a block keeps of the tokens that it has seen."""

    FULL = "full"  # a key and a value of every token
    LOCAL = "local"  # of those in a window
    STATE = "state"  # a state of fixed size
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """`copies` matrices of outputs x inputs elements, or vectors where `inputs` is 1.

    `name` is that of the checkpoint, below its block. A `linear` part is quantised where the
    checkpoint is; everything else, biases included, is in the model's number format, or takes
    `element_bytes`.
    """

    name: str
    outputs: int
    inputs: int = 1
    bias: bool = False
    share: Share = Share.SPLIT
    copies: int = 1
    linear: bool = True
    element_bytes: int | None = None

    @property
    def parameters(self) -> int:
        return self.copies * self.outputs * (self.inputs + self.bias)

    def below(self, prefix: str) -> "Part":
        return replace(self, name=f"{prefix}.{self.name}")


def matrix(name: str, outputs: int, inputs: int, *, bias: bool = False) -> Part:
    """A linear layer that tensor parallelism splits."""
    return Part(name=name, outputs=outputs, inputs=inputs, bias=bias)


def whole(name: str, outputs: int, inputs: int, *, bias: bool = False) -> Part:
    """A linear layer that every rank holds, and that is quantised."""
    return Part(name=name, outputs=outputs, inputs=inputs, bias=bias, share=Share.WHOLE)


def router(name: str, outputs: int, inputs: int, *, bias: bool = False) -> Part:
    """A small linear layer that every rank holds and that is never quantised."""
    part = whole(name, outputs, inputs, bias=bias)
    return replace(part, linear=False)


def vector(
    name: str, size: int, *, share: Share = Share.WHOLE, element_bytes: int | None = None
) -> Part:
    """A norm or the like: never quantised."""
    return Part(name=name, outputs=size, share=share, linear=False, element_bytes=element_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One decoder block; its parts are named below `name`."""

    name: str
    parts: tuple[Part, ...]
    cache: Cache

    @property
    def linears(self) -> tuple[str, ...]:
        """The full names of its linear layers."""
        return tuple(f"{self.name}.{part.name}" for part in self.parts if part.linear)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a recurrent block keeps of a sequence, in bytes; `whole` of them lie on every rank."""

    size: int
    whole: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """A language model without embedding and lm_head; sizes are elements.

    `attention` is of the blocks that cache the whole context, `local` of those with a window of
    `window` tokens (`chunked`: of the chunk that a token is in), `state` of those with
    one. `beside` are parts outside of blocks, held with the embedding.
    """

    hidden: int
    intermediate: int
    attention: Attention
    blocks: tuple[Block, ...]
    local: Attention | None = None
    window: int | None = None
    chunked: bool = False
    state: State | None = None
    indexer: Indexer | None = None
    experts: Experts | None = None
    final_norm: int = 0
    beside: tuple[Part, ...] = ()
    head_bias: bool = False
    rotary: bool = True  # whether positions are rotated into queries and keys

    def count(self, cache: Cache) -> int:
        return sum(block.cache is cache for block in self.blocks)


def below(prefix: str, parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts with their names under a module of that name."""
    return tuple(part.below(prefix) for part in parts)
