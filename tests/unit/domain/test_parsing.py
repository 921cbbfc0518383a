"""Problems from pydantic's errors, on models that a Workspace does not have."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from kaito.domain.parsing import field_path, newer_fields, problems_of, shown


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Circle(Strict):
    kind: Literal["circle"]
    radius: float


class Square(Strict):
    kind: Literal["square"]
    side: float


class Cube(Strict):
    edge: int


class Stack(Strict):
    cube: Cube


class Drawing(Strict):
    shapes: list[Annotated[Circle | Square, Field(discriminator="kind")]] = []
    # Two models that pydantic tries one after the other, naming each in the location.
    either: Cube | Stack | None = None
    one: Circle | None = None
    fill: bool = True
    colour: str = "red"
    sizes: dict[str, Cube] = {}

    @field_validator("colour")
    @classmethod
    def _known(cls, text: str) -> str:
        if text != "red":
            raise PydanticCustomError("colour", "is not a colour", {"remedy": "Use red"})
        return text


def found(document: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate(document)
    return {
        problem.field: f"{problem.message} | {problem.remedy}"
        for problem in problems_of(caught.value, Drawing)
    }


def test_a_tagged_union_speaks_of_the_chosen_member() -> None:
    shapes = [{"kind": "circle", "radious": 1}, {"kind": "square", "side": "x"}]
    assert found({"shapes": shapes}) == {
        "shapes[0].radius": "is required | ",
        "shapes[0].radious": "unknown key | Did you mean radius?",
        "shapes[1].side": "must be a number, got 'x' | ",
    }


def test_a_plain_union_hides_the_names_of_its_members() -> None:
    assert found({"either": {"edge": "x"}}) == {
        "either.cube": "is required | ",
        "either.edge": "unknown key | Known: cube",
    }


def test_a_remedy_of_our_own_validators_is_kept() -> None:
    assert found({"colour": "blue"}) == {"colour": "is not a colour, got 'blue' | Use red"}


def test_keys_of_a_mapping_are_part_of_the_path() -> None:
    problems = found({"sizes": {"big": {"edge": 1, "edges": 2}}})
    assert list(problems) == ["sizes.big.edges"]


def test_each_kind_of_value_is_asked_for_in_words() -> None:
    assert found({"fill": "maybe"})["fill"] == "must be true or false, got 'maybe' | "
    assert found({"sizes": []})["sizes"] == "must be a mapping, got [] | "
    assert found({"shapes": {}})["shapes"] == "must be a list, got {} | "
    assert (
        found({"colour": True})["colour"] == 'must be a text, got True | Put it in quotes: "True"'
    )
    missing = found({"one": {"kind": "circle"}})
    assert missing == {"one.radius": "is required | "}


def test_field_path() -> None:
    assert field_path(("adapters", 0, "source")) == "adapters[0].source"
    assert field_path((0, "a")) == "[0].a"
    assert field_path(()) == ""


def test_shown_is_short() -> None:
    assert shown("abc") == "'abc'"
    assert len(shown(list(range(1000)))) == 60


def test_newer_fields_asks_only_about_what_is_given() -> None:
    assert newer_fields({"shapes": None}, Drawing) == []
