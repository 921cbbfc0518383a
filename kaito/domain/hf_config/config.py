"""Reading a model's config.json: typed values, and errors that name key, value and remedy."""

from collections.abc import Mapping
from math import inf
from typing import Any, Final, TypeGuard

from kaito.domain.errors import InvalidModel, Problem

_AS_PUBLISHED: Final = "Take config.json as the model's authors publish it"


def invalid(key: str, message: str, remedy: str = _AS_PUBLISHED) -> InvalidModel:
    """The error to raise for one key."""
    return InvalidModel([Problem(field=key, message=message, remedy=remedy)])


class Config:
    """One level of a config.json; `path` names the level in errors.

    A key may have several spellings over the years and families: the first one that is there and
    not null counts.
    """

    def __init__(self, values: Mapping[str, Any], path: str = "") -> None:
        self.values = values
        self.path = path

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def field(self, key: str) -> str:
        """The key as errors call it."""
        return f"{self.path}.{key}" if self.path else key

    def integer(
        self, *keys: str, default: int | None = None, least: int = 1, most: int | None = None
    ) -> int:
        """A whole number from `least` to `most`. Raises: InvalidModel (missing without a default,
        not a whole number, out of range)."""
        for key in keys:
            value = self.values.get(key)
            if value is None:
                continue
            if not _is_integer(value):
                raise invalid(self.field(key), f"must be a whole number, got {value!r}")
            if value < least:
                raise invalid(self.field(key), f"must be at least {least}, got {value}")
            if most is not None and value > most:
                raise invalid(self.field(key), f"must be at most {most}, got {value}")
            return value
        if default is None:
            others = f" (or {', '.join(keys[1:])})" if keys[1:] else ""
            raise invalid(self.field(keys[0]), f"is missing{others}")
        return default

    def optional(self, *keys: str, least: int = 1) -> int | None:
        """As `integer`; None where it is missing."""
        if not any(key in self for key in keys):
            return None
        return self.integer(*keys, least=least)

    def switch(self, key: str, *, default: bool = False) -> bool:
        """A boolean. Raises: InvalidModel (something else)."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise invalid(self.field(key), f"must be true or false, got {value!r}")
        return value

    def text(self, *keys: str, default: str = "") -> str:
        """A string. Raises: InvalidModel (something else)."""
        for key in keys:
            value = self.values.get(key)
            if value is not None:
                if not isinstance(value, str):
                    raise invalid(self.field(key), f"must be a string, got {value!r}")
                return value
        return default

    def number(self, key: str, *, default: float) -> float:
        """A finite number above 0. Raises: InvalidModel (something else)."""
        value = self.values.get(key)
        if value is None:
            return default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < value < inf:
            raise invalid(self.field(key), f"must be a number above 0, got {value!r}")
        return float(value)

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of strings, or nothing. Raises: InvalidModel (something else)."""
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise invalid(self.field(key), f"must be a list of strings, got {value!r}")
        return tuple(value)

    def integers(self, key: str) -> tuple[int, ...] | None:
        """A list of whole numbers, None where it is missing. Raises: InvalidModel."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(_is_integer(one) for one in value):
            raise invalid(self.field(key), f"must be a list of whole numbers, got {value!r}")
        return tuple(value)

    def section(self, *keys: str) -> "Config | None":
        """A nested object, None where it is missing. Raises: InvalidModel (something else)."""
        for key in keys:
            value = self.values.get(key)
            if value is not None:
                if not isinstance(value, Mapping):
                    raise invalid(self.field(key), f"must be an object, got {value!r}")
                return Config(value, self.field(key))
        return None


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
