"""The time-outs of machines that kaito itself orders, as options of commands."""

from typing import Annotated

import typer

LaunchOption = Annotated[
    str,
    typer.Option(
        metavar="DURATION",
        envvar="KAITO_LAUNCH_TIMEOUT",
        help="How long the cloud may take to show a machine that kaito itself ordered, such as "
        "5m or 1h30m; then it is ordered again.",
    ),
]
RegistrationOption = Annotated[
    str,
    typer.Option(
        metavar="DURATION",
        envvar="KAITO_REGISTRATION_TIMEOUT",
        help="From then until its Node is there; then it is given back, and another one is "
        "ordered.",
    ),
]
InitializationOption = Annotated[
    str,
    typer.Option(
        metavar="DURATION",
        envvar="KAITO_INITIALIZATION_TIMEOUT",
        help="From then until its Node is ready with all GPUs; then likewise.",
    ),
]
UnhealthyOption = Annotated[
    str,
    typer.Option(
        metavar="DURATION",
        envvar="KAITO_UNHEALTHY_TIMEOUT",
        help="How long the Node of a machine that was ready may not be ready; then likewise.",
    ),
]
DrainOption = Annotated[
    str,
    typer.Option(
        metavar="DURATION",
        envvar="KAITO_DRAIN_TIMEOUT",
        help="How long a machine that is given back waits for the pods on its Node to leave.",
    ),
]
