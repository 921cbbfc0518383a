"""Which actions a role gives, with wildcards and exceptions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.azure.permissions import (
    DELETE_POOLS,
    OF_CLUSTER,
    OF_SUBSCRIPTION,
    READ_POOLS,
    WRITE_POOLS,
    Permission,
    allows,
    matches,
    read_permissions,
)
from tests.unit.adapters.azure.arm_documents import DocumentArm, reader

TEXT = st.text("aB/.*", max_size=12)
ACTION = st.text("aB/.?[", max_size=12)


def reference(pattern: str, action: str) -> bool:
    """Character by character: which parts of the pattern may have been read up to here."""
    open_at = {0}
    for at in range(len(pattern)):
        if at in open_at and pattern[at] == "*":
            open_at.add(at + 1)
    for letter in action.casefold():
        after = set()
        for at in open_at:
            if at < len(pattern) and pattern[at] == "*":
                after.add(at)
            elif at < len(pattern) and pattern[at].casefold() == letter:
                after.add(at + 1)
        for at in range(len(pattern)):
            if at in after and pattern[at] == "*":
                after.add(at + 1)
        open_at = after
    return len(pattern) in open_at


@given(TEXT, ACTION)
def test_wildcards_match_as_a_slow_matcher_does(pattern: str, action: str) -> None:
    assert matches(pattern, action) == reference(pattern, action)


@given(
    st.lists(st.text("aB/", max_size=4), min_size=1, max_size=4),
    TEXT.filter(lambda t: "*" not in t),
)
def test_whatever_a_star_stands_for(parts: list[str], filled: str) -> None:
    assert matches("*".join(parts), filled.join(parts).swapcase())


@given(
    st.lists(st.tuples(st.lists(TEXT, max_size=3), st.lists(TEXT, max_size=3)), max_size=4),
    ACTION,
)
def test_a_role_takes_away_only_what_it_gives(
    roles: list[tuple[list[str], list[str]]], action: str
) -> None:
    found = [Permission(actions=tuple(yes), not_actions=tuple(no)) for yes, no in roles]
    assert allows(found, action) == any(each.allows(action) for each in found)
    more = [*found, Permission(actions=("*",))]
    assert allows(more, action), "another role gives it back"


@given(st.text("*", min_size=1), ACTION)
def test_any_number_of_stars_is_one(stars: str, action: str) -> None:
    assert matches(stars, action)


@pytest.mark.parametrize(
    ("actions", "not_actions", "given_"),
    [
        (("*",), (), {READ_POOLS, WRITE_POOLS, DELETE_POOLS}),
        (("*/read",), (), {READ_POOLS}),
        (("Microsoft.ContainerService/*",), ("*/delete",), {READ_POOLS, WRITE_POOLS}),
        (
            ("microsoft.containerservice/managedclusters/AGENTPOOLS/*",),
            (),
            {READ_POOLS, WRITE_POOLS, DELETE_POOLS},
        ),
        (("Microsoft.ContainerService/managedClusters/*/write",), (), {WRITE_POOLS}),
        (("Microsoft.ContainerService/managedClusters",), (), set()),
        (("Microsoft.Compute/*",), (), set()),
    ],
)
def test_roles_as_they_are_written(
    actions: tuple[str, ...], not_actions: tuple[str, ...], given_: set[str]
) -> None:
    role = [Permission(actions=actions, not_actions=not_actions)]
    vital = {need.action for need in OF_CLUSTER if need.vital}
    assert {action for action in vital if allows(role, action)} == given_


def test_no_action_is_asked_for_twice_and_only_machines_are_vital() -> None:
    needs = [*OF_CLUSTER, *OF_SUBSCRIPTION]
    assert len({need.action for need in needs}) == len(needs)
    assert {need.action for need in needs if need.vital} == {READ_POOLS, WRITE_POOLS, DELETE_POOLS}


def test_what_azure_answers() -> None:
    roles = [
        {"actions": ["*/read", 3], "notActions": None, "dataActions": []},
        {"notActions": ["*"]},
    ]
    arm = DocumentArm({"/permissions": {"value": roles}})
    assert read_permissions(reader(arm), "/subscriptions/s") == (
        Permission(actions=("*/read",)),
        Permission(actions=(), not_actions=("*",)),
    )
