"""Every port says what it promises, and names only errors that exist."""

import inspect
import re

import pytest

from kaito.domain import errors, ports

PORTS = [ports.WorkspaceStore, ports.MachineStore, ports.MachineCloud, ports.Clock]
KNOWN = {name for name, found in vars(errors).items() if inspect.isclass(found)}


@pytest.mark.parametrize("port", PORTS)
def test_every_call_says_what_it_does_and_raises(port: type) -> None:
    calls = {name: call for name, call in vars(port).items() if inspect.isfunction(call)}
    calls = {name: call for name, call in calls.items() if not name.startswith("_")}
    assert calls
    for name, call in calls.items():
        text = inspect.getdoc(call)
        assert text, name
        _, _, raised = text.partition("Raises:")
        assert set(re.findall(r"\b[A-Z]\w+(?=[,. (])", raised)) - {"Workspace"} <= KNOWN, name
