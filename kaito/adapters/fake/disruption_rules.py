"""What the API server refuses in a PodDisruptionBudget (pkg/apis/policy/validation)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kaito.adapters.fake.api_errors import Problem
from kaito.adapters.fake.pod_defaults import Fields
from kaito.adapters.fake.selectors import EXPRESSION_OPERATORS
from kaito.adapters.kube_api import KubeObject

_PERCENT: Final = re.compile(r"[0-9]+%")
_AMOUNTS: Final = ("minAvailable", "maxUnavailable")
_WHOLE: Final = 100


def create_budget(draft: Fields) -> list[Problem]:
    """What is wrong with a budget; nothing is filled in."""
    spec = draft.setdefault("spec", {})
    found = [problem for key in _AMOUNTS for problem in _amount_problems(spec, key)]
    if all(key in spec for key in _AMOUNTS):
        detail = "Invalid value: minAvailable and maxUnavailable cannot be both set"
        found.append(Problem("spec", detail))
    return [*found, *_selector_problems(spec.get("selector") or {})]


def update_budget(draft: Fields, _old: KubeObject) -> list[Problem]:
    """All of it may change."""
    return create_budget(draft)


def _amount_problems(spec: Mapping[str, Any], key: str) -> Iterator[Problem]:
    amount, field = spec.get(key, 0), f"spec.{key}"
    if isinstance(amount, str):
        shown = f'Invalid value: "{amount}"'
        if not _PERCENT.fullmatch(amount):
            detail = "a valid percent string must be a numeric string followed by an ending '%'"
            yield Problem(field, f"{shown}: {detail}")
        elif int(amount[:-1]) > _WHOLE:
            yield Problem(field, f"{shown}: must not be greater than 100%")
    elif isinstance(amount, bool) or not isinstance(amount, int) or amount < 0:
        yield Problem(field, f"Invalid value: {amount}: must be greater than or equal to 0")


def _selector_problems(selector: Mapping[str, Any]) -> Iterator[Problem]:
    for index, one in enumerate(selector.get("matchExpressions") or ()):
        operator = one.get("operator")
        if operator not in EXPRESSION_OPERATORS:
            field = f"spec.selector.matchExpressions[{index}].operator"
            yield Problem(field, f'Invalid value: "{operator}": not a valid selector operator')
