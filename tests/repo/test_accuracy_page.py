"""docs/accuracy.md holds what `kaito accuracy` prints."""

from pathlib import Path

from typer.testing import CliRunner

from kaito.cli import app

PAGE = Path(__file__).parents[2] / "docs/accuracy.md"


def test_the_tables_are_those_of_the_command() -> None:
    """Made anew by `kaito accuracy`: replace what is between "## Memory" and "## Files" by it."""
    printed = CliRunner().invoke(app, ["accuracy"]).stdout
    assert printed in PAGE.read_text(encoding="utf-8")
