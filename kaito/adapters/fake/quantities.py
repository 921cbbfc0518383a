"""Resource quantities in the canonical text that the API server stores: `1024Mi` is `1Gi`."""

import re
from decimal import ROUND_UP, Decimal

from kaito.adapters.kube_api import Json

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d{1,3}|)"
)
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = {-9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}
_EXPONENT_OF = {suffix: exponent for exponent, suffix in _DECIMAL.items()}


def is_quantity(text: str) -> bool:
    """Whether the text says an amount, such as `1Gi`, `250m` or `1e3`."""
    return _QUANTITY.fullmatch(text) is not None


def canonical_quantity(value: Json) -> Json:
    """`value` as the server would hand it out; what is no quantity stays as it is."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    found = _QUANTITY.fullmatch(str(value).strip())
    if found is None:
        return value
    number, suffix = Decimal(found["number"]), found["suffix"]
    if suffix in _BINARY[1:]:
        amount = number * 1024 ** _BINARY.index(suffix)
        if amount == int(amount) and abs(amount) >= 1024:
            return _binary(int(amount))
        return _decimal(amount, exponent_form=False)
    exponential = suffix[:1] in {"e", "E"} and suffix != "E"
    exponent = int(suffix[1:]) if exponential else _EXPONENT_OF[suffix]
    return _decimal(number.scaleb(exponent), exponent_form=exponential)


def _binary(amount: int) -> str:
    power = 0
    while amount % 1024 == 0 and power < len(_BINARY) - 1:
        amount //= 1024
        power += 1
    return f"{amount}{_BINARY[power]}"


def _decimal(amount: Decimal, *, exponent_form: bool) -> str:
    if amount == 0:
        return "0"
    nano = int((amount * 10**9).to_integral_value(rounding=ROUND_UP))
    exponent = -9
    while nano % 1000 == 0 and exponent < 18:
        nano //= 1000
        exponent += 3
    if exponent_form:
        return f"{nano}e{exponent}" if exponent else str(nano)
    return f"{nano}{_DECIMAL[exponent]}"
