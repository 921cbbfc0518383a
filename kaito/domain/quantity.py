"""Kubernetes quantities: "7.12Gi", "80Gi", "500m", "1e3".

The grammar is the API server's: a decimal number with a binary suffix (Ki ... Ei), a decimal
suffix (n ... E) or an exponent.
Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30

_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL: Final = {
    "n": -9,
    "u": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}
_QUANTITY: Final = re.compile(
    r"(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+))"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?\d{1,3}))?",
    re.ASCII,
)


def parse_quantity(text: str) -> Decimal:
    """The exact value in base units (bytes, cores).

    Raises: ValueError that names the text.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f'{text!r} is not a quantity, such as "80Gi", "500m" or "1.5"')
    number = Decimal(match["number"])
    if match["exponent"]:
        return number.scaleb(int(match["exponent"]))
    suffix = match["suffix"] or ""
    if suffix in _BINARY:
        return number * (1 << _BINARY[suffix])
    return number.scaleb(_DECIMAL[suffix])


def parse_bytes(text: str) -> int:
    """A quantity as whole bytes, rounded up as the API server does.

    Raises: ValueError that names the text, also for a negative amount.
    """
    value = parse_quantity(text)
    if value < 0:
        raise ValueError(f"{text!r} is negative; an amount of memory or disk is not")
    return int(value.to_integral_value(rounding=ROUND_CEILING))


def format_bytes(amount: int) -> str:
    """The shortest exact quantity with a binary suffix: 85899345920 -> "80Gi", 1000 -> "1000"."""
    for suffix, bits in reversed(_BINARY.items()):
        if amount and amount % (1 << bits) == 0:
            return f"{amount >> bits}{suffix}"
    return str(amount)


def gib_text(amount: float) -> str:
    """An amount of bytes for people, in GiB with two decimals: "7.12 GiB"."""
    return f"{amount / GIB:.2f} GiB"
