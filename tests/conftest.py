"""What every test run says at its end."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured: `record_property("measured", ...)` of each test that passed."""
    for report in terminalreporter.stats.get("passed", []):
        for name, told in report.user_properties:
            if name == "measured":
                terminalreporter.write_line(f"MEASURED {told}")
