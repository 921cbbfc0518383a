"""Options that several commands of `python -m sim` share."""

from pathlib import Path
from typing import Annotated

import typer

ModelsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        envvar="KAITO_MODELS",
        help="Models of your own beside kaito's: a file that describes one, or a folder of them.",
    ),
]

ArmPortOption = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help="Serve the cloud as Azure on this port, too; 0 takes a free one."
    ),
]
