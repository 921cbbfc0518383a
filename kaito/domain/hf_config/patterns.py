"""Which modules a quantization_config means by the names, globs and expressions that it lists."""

import re
from collections.abc import Iterable, Mapping
from fnmatch import translate
from typing import Final

_EXPRESSION: Final = "re:"
_LAYER: Final = re.compile(r"(?<=layers\.)\d+(?=\.)")
_CONTAINERS: Final = ("model.language_model.", "language_model.model.")


def plain(name: str) -> str:
    """A module's name as a model of text alone has it: multi-modal checkpoints nest it."""
    for container in _CONTAINERS:
        if name.startswith(container):
            return "model." + name.removeprefix(container)
    return name.removeprefix("language_model.")


class Patterns:
    """Names of modules, which mean what is below them too; or the ends of such names, or their
    middle parts (gate, self_attn); globs; and regular expressions after `re:`.

    Raises: re.error (an expression that is none).
    """

    def __init__(self, names: Iterable[str]) -> None:
        listed = tuple(names)
        self._exact = frozenset(
            plain(name) for name in listed if not name.startswith(_EXPRESSION) and "*" not in name
        )
        globs = (
            translate(plain(name))
            for name in listed
            if not name.startswith(_EXPRESSION) and "*" in name
        )
        expressions = (
            name.removeprefix(_EXPRESSION) for name in listed if name.startswith(_EXPRESSION)
        )
        self._globs = tuple(re.compile(glob) for glob in globs)
        self._expressions = tuple(re.compile(one) for one in expressions)

    def match(self, name: str) -> bool:
        """Whether the module of that (plain) name is meant."""
        return (
            self._names(name)
            or any(glob.match(above) for glob in self._globs for above in _above(name))
            or any(one.match(name) or one.match(_nested(name)) for one in self._expressions)
        )

    def _names(self, name: str) -> bool:
        if not self._exact:
            return False
        words = name.split(".")
        return any(
            ".".join(words[first:last]) in self._exact
            for first in range(len(words))
            for last in range(first + 1, len(words) + 1)
        )


def _above(name: str) -> Iterable[str]:
    """The name and those of the modules that it is in."""
    words = name.split(".")
    return (".".join(words[:last]) for last in range(len(words), 0, -1))


def _nested(name: str) -> str:
    return _CONTAINERS[0] + name.removeprefix("model.")


def unfolded(counts: Mapping[str, int], modules: Iterable[str]) -> tuple[str, ...]:
    """The names behind a list that was folded: numbers replaced by `*`, with how many there were.

    A pattern that stands for fewer blocks than it matches is taken to mean the first ones.
    """
    names: list[str] = []
    known = tuple(modules)
    for pattern, count in counts.items():
        if "layers.*" not in pattern or pattern.startswith(_EXPRESSION):
            names.append(pattern)
            continue
        glob = Patterns([pattern])
        layers = dict.fromkeys(
            found.group() for name in known if glob.match(name) and (found := _LAYER.search(name))
        )
        names += [pattern.replace("layers.*", f"layers.{layer}", 1) for layer in [*layers][:count]]
    return tuple(names)
