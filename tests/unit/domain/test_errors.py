import pytest

from kaito.domain import errors
from kaito.domain.errors import InvalidInput, Problem


def test_a_problem_in_one_line() -> None:
    assert str(Problem(field="a.b", message="is odd")) == "a.b: is odd"
    assert str(Problem(field="", message="is odd", remedy="Mend it")) == "is odd. Mend it"


def test_every_problem_of_an_input_is_in_its_message() -> None:
    found = InvalidInput([Problem(field="a", message="x"), Problem(field="b", message="y")])
    assert str(found) == "a: x\nb: y"
    with pytest.raises(AssertionError):
        InvalidInput([])


def test_the_tree_in_the_module_names_every_error() -> None:
    assert errors.__doc__ is not None
    for name, found in vars(errors).items():
        if isinstance(found, type) and issubclass(found, Exception):
            assert name in errors.__doc__, name


def test_only_an_unknown_outcome_can_say_when_to_come_back() -> None:
    assert errors.Unavailable("busy", retry_after_s=3).retry_after_s == 3
    assert errors.Unavailable("busy").retry_after_s is None
