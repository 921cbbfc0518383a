"""Left-aligned columns, as kubectl prints them."""

from collections.abc import Sequence
from typing import Final

GAP: Final = 3  # spaces between columns, kubectl's


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line for each row; every column is as wide as its longest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    gap = " " * GAP
    return [
        gap.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
