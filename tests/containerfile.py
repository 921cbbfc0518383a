"""The Containerfile, read as far as this project uses the language: one instruction a line."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
_KNOWN: Final = {"ARG", "FROM", "ENV", "RUN", "COPY", "USER", "ENTRYPOINT"}


@dataclass(frozen=True, slots=True)
class Instruction:
    """Such as `COPY kaito/ /source/kaito/`: its name and the text after it."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


def stages() -> tuple[list[Instruction], list[Instruction]]:
    """The instructions that build, and those of the image itself."""
    lines = (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines()
    found: list[list[Instruction]] = []
    for line in lines:
        if not line or line.startswith("#"):
            continue
        name, _, text = line.partition(" ")
        assert name in _KNOWN, f"tests/containerfile.py does not know {name}"
        assert not text.endswith("\\"), "one instruction a line"
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append(Instruction(name, text))
    build, image = found
    return build, image
