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
