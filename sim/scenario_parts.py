"""What every part of a scenario file is made of: strict keys and types, lengths of time."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from kaito.domain import durations


def _seconds(value: object) -> float:
    try:
        return durations.parse_duration(value)
    except ValueError as error:
        raise PydanticCustomError(
            "duration", "{reason}", {"reason": str(error), "remedy": f"Write {durations.EXAMPLES}"}
        ) from error


Duration = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": durations.PATTERN},
            ]
        }
    ),
]


class Part(BaseModel):
    """A part of the file: strict in keys and types, and fixed once read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
