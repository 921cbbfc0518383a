"""Whether vLLM takes the command lines that kaito writes, for every model of the catalogue.

vLLM is newer here than in KAITO's image, so a flag that it is about to remove is seen early.
"""

from collections.abc import Callable

import pytest

from tests.integration.vllm_python import ask_vllm
from tests.unit.domain.builders import CATALOGUE, wanted, workspace

LEFT_OUT = ("--kaito-", "--chat-template=")  # for KAITO's program alone; a file of its image
MACHINE = "Standard_ND96isr_H200_v5"  # every model fits on it


def command_line(model: str) -> list[str]:
    preset = {"name": model, "presetOptions": {"modelAccessSecret": "a-token"}}
    found = wanted(workspace(instance_type=MACHINE, inference={"preset": preset})).workload
    return [one for one in found.arguments if not one.startswith(LEFT_OUT)]


def test_every_command_line_is_taken(
    tmp_path_factory: pytest.TempPathFactory, record_property: Callable[[str, object], None]
) -> None:
    lines = {model.name: command_line(model.name) for model in CATALOGUE.models}
    answer = ask_vllm("vllm_flags.py", lines, tmp_path_factory.mktemp("vllm"))
    assert answer["complaints"] == dict.fromkeys(lines)
    record_property(
        "measured", f"command lines of {len(lines)} models: taken by vLLM {answer['version']}"
    )
