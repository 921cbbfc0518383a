"""Quantities as the API server writes them."""

from typing import Any

import pytest

from kaito.adapters.fake.quantities import canonical_quantity


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1Ki", "1Ki"),
        ("1536", "1536"),
        (1, "1"),
        (0, "0"),
        ("0", "0"),
        ("0.5", "500m"),
        (0.1, "100m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1000", "1k"),
        ("1e3", "1e3"),
        ("12e6", "12e6"),
        ("2E", "2E"),
        ("1T", "1T"),
        ("0.1m", "100u"),
        ("-1", "-1"),
        ("not a quantity", "not a quantity"),
        (True, True),
    ],
)
def test_canonical_quantity(given: Any, wanted: Any) -> None:
    assert canonical_quantity(given) == wanted
    assert canonical_quantity(wanted) == wanted
