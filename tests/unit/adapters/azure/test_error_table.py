"""The table knows what it says it knows, and finds it wherever it stands in an error."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.azure.error_bodies import nodes_of
from kaito.adapters.azure.error_table import (
    ROWS,
    Reaction,
    Row,
    known_codes,
    reaction_to_status,
    row_of,
)
from tests.unit.adapters.azure.arm_stub import Json, error

QUOTA = "Operation could not be completed as it results in exceeding approved {} quota. Details"
PENDING = "Another agentpool operation (pool1 - Creating) is in progress, please wait"
# The codes of classes, each with a message that makes it mean something, and what.
BY_TEXT = [
    ("OperationNotAllowed", QUOTA.format("Total Regional Cores"), Reaction.QUOTA),
    ("OperationNotAllowed", QUOTA.format("LowPriorityCores"), Reaction.QUOTA),
    ("OperationNotAllowed", "Submit a request for Quota increase", Reaction.QUOTA),
    ("OperationNotAllowed", "too many requests have been received", Reaction.THROTTLED),
    ("OperationNotAllowed", f"Operation is not allowed: {PENDING}", Reaction.BUSY),
    (
        "OperationNotAllowed",
        "Operation is not allowed because there's an in progress create node pool operation",
        Reaction.BUSY,
    ),
    ("OperationNotAllowed", "There has to be at least one agent pool.", Reaction.REJECTED),
    ("BadRequest", "The VM size of X is not allowed in your subscription", Reaction.CAPACITY),
    ("ScopeLocked", "The scope cannot perform delete operation: it is locked", Reaction.REJECTED),
    ("BadRequest", "size 'x' is not supported for subscription y", Reaction.REJECTED),
    ("BadRequest", "exceeds the maximum of agent pools per cluster (100)", Reaction.MACHINE_LIMIT),
    ("OperationNotAllowed", "the limit of 100 node pools is reached", Reaction.MACHINE_LIMIT),
    ("BadRequest", "the agent pool's maxPods exceeds its maximum of 250", Reaction.REJECTED),
    ("BadRequest", "", Reaction.REJECTED),
    ("Conflict", "", Reaction.BUSY),
    ("ResourceNotFound", "'managedClusters/c/agentPools/p' was not found", Reaction.GONE),
    ("ResourceNotFound", "'/x/managedClusters/c' under resource group 'g'", Reaction.REJECTED),
    ("NotFound", "Agent Pool not found", Reaction.GONE),
]


def found(body: object) -> tuple[Reaction, str] | None:
    row = row_of(nodes_of(body))
    return None if row is None else (row[0].reaction, row[1].code)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.codes[0])
def test_every_row_has_a_public_source(row: Row) -> None:
    assert "https://" in row.source


def test_no_row_hides_another() -> None:
    """A code stands twice only where the message decides between the rows, the plain one last."""
    plain = Counter(code.lower() for row in ROWS if not row.text for code in row.codes)
    assert [code for code, count in plain.items() if count > 1] == []
    seen: set[str] = set()
    for row in ROWS:
        hidden = {code.lower() for code in row.codes} & seen
        assert not hidden, f"{hidden} has been decided before"
        if not row.text:
            seen |= {code.lower() for code in row.codes}


@pytest.mark.parametrize("code", sorted(set(known_codes())))
def test_every_code_is_found_in_every_form(code: str) -> None:
    code = code.replace("*", "_Something")
    expected = found(error(code))
    assert expected is not None or any(code in row.codes and row.text for row in ROWS)
    forms: list[Json] = [
        {"code": code.upper(), "message": "", "details": None, "subcode": ""},
        error("Unheard", "", [error(code)["error"]]),
        error("Unheard", f'VMSSAgentPoolReconciler retry failed: Code="{code}" Message=""'),
        error("Unheard", f'{{\\"code\\": \\"{code}\\"}}'),
        {"error": {"code": "Unheard", "innererror": {"code": code}}},
        {"code": "Unheard", "message": "", "subcode": code},
    ]
    for form in forms:
        got = found(form)
        assert (got and got[0]) == (expected and expected[0]), form


@pytest.mark.parametrize(("code", "message", "expected"), BY_TEXT)
def test_codes_that_mean_many_things(code: str, message: str, expected: Reaction) -> None:
    assert found(error(code, message)) == (expected, code)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            error(
                "ReconcileVMSSAgentPoolFailed",
                'Code="AllocationFailed" Message="Allocation failed. We do not have"',
            ),
            (Reaction.CAPACITY, "AllocationFailed"),
        ),
        (
            error("BadRequest", "", [{"code": "Conflict"}, {"code": "SubnetIsFull"}]),
            (Reaction.MACHINE_LIMIT, "SubnetIsFull"),
        ),
        (
            error("QuotaExceeded", "", [{"code": "BadRequest"}]),
            (Reaction.QUOTA, "QuotaExceeded"),
        ),
        (
            error("Conflict", "", [{"code": "BadRequest", "details": [{"code": "Conflict"}]}]),
            (Reaction.BUSY, "Conflict"),
        ),
        (
            error("InternalServerError", "", [{"code": "New"}]),
            (Reaction.TRANSIENT, "InternalServerError"),
        ),
    ],
)
def test_the_innermost_that_is_not_generic(body: Json, expected: tuple[Reaction, str]) -> None:
    assert found(body) == expected


@pytest.mark.parametrize("body", [None, [], "text", {}, {"error": None}, {"code": 7}, {"x": {}}])
def test_what_is_no_error_has_no_code(body: object) -> None:
    assert nodes_of(body) == ()
    assert found(body) is None


def test_an_unknown_code_is_not_guessed() -> None:
    assert found(error("NeverHeardOf", "of such a thing: code is missing")) is None


BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "message", "details", "innererror", "subcode"]),
            inner,
            max_size=4,
        )
    ),
)


@given(BODIES)
def test_any_body_can_be_read(body: object) -> None:
    for node in nodes_of(body):
        assert node.code
        assert node.depth >= 0
    row_of(nodes_of(body))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, None),
        (400, None),
        (401, Reaction.TRANSIENT),
        (403, None),
        (404, Reaction.GONE),
        (412, Reaction.EXISTS),
        (429, Reaction.THROTTLED),
        (500, Reaction.TRANSIENT),
        (599, Reaction.TRANSIENT),
    ],
)
def test_what_a_status_says(status: int | None, expected: Reaction | None) -> None:
    assert reaction_to_status(status) is expected
