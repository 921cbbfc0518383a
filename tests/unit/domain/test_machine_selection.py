"""matchExpressions for machines that are ordered: what they can keep, and what they cannot."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.domain import labels
from kaito.domain.change_rules import change_problems
from kaito.domain.decision import Wanted, decide
from kaito.domain.validation import validate
from kaito.domain.workspace import Workspace
from kaito.domain.workspace_plan import machine_specs
from tests.unit.domain.builders import A10, A100, CATALOGUE, seen, wanted, workspace

ZONE = "topology.kubernetes.io/zone"


def selecting(*expressions: tuple[Any, ...], **match_labels: str) -> Workspace:
    found = [
        {"key": key, "operator": operator, **({"values": values} if values else {})}
        for key, operator, *values in expressions
    ]
    return workspace(
        resource={"labelSelector": {"matchLabels": match_labels, "matchExpressions": found}}
    )


def told(found: Workspace) -> list[str]:
    at = "resource.labelSelector.matchExpressions"
    return [str(one).removeprefix(at) for one in validate(found, CATALOGUE)]


@pytest.mark.parametrize(
    ("found", "given"),
    [
        (selecting(("team", "In", "a")), {"team": "a"}),
        (selecting(("team", "In", "a"), apps="phi"), {"apps": "phi", "team": "a"}),
        (selecting(("apps", "In", "phi"), apps="phi"), {"apps": "phi"}),
        (selecting(("apps", "In", "phi", "other"), apps="phi"), {"apps": "phi"}),
        (selecting(("apps", "Exists"), apps="phi"), {"apps": "phi"}),
        (selecting(("team", "In", "a"), ("team", "Exists")), {"team": "a"}),
        (selecting(("apps", "NotIn", "other"), apps="phi"), {"apps": "phi"}),
        (selecting(("legacy", "DoesNotExist"), apps="phi"), {"apps": "phi"}),
        (selecting(("legacy", "NotIn", "yes"), apps="phi"), {"apps": "phi"}),
        (selecting((labels.INSTANCE_TYPE, "In", A10), apps="phi"), {"apps": "phi"}),
        (selecting((labels.ARCHITECTURE, "NotIn", "arm64"), apps="phi"), {"apps": "phi"}),
        (selecting((labels.ACCELERATOR, "In", "nvidia"), apps="phi"), {"apps": "phi"}),
    ],
)
def test_what_machines_keep(found: Workspace, given: dict[str, str]) -> None:
    assert told(found) == []
    decided = wanted(found)
    assert decided.workload.node_labels == given
    (spec,) = machine_specs(seen(found), decided.sizing)
    assert given.items() <= spec.labels.items()
    assert not {labels.INSTANCE_TYPE, labels.ARCHITECTURE} & set(spec.labels)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (selecting(("a", "In")), "[0].values: is required with In"),
        (
            selecting(("team", "Exists"), apps="phi"),
            "[0]: team: machines that are made have only the labels that they are given. "
            "Give one: team In with one value, or matchLabels",
        ),
        (selecting(("team", "In", "a", "b"), apps="phi"), "[0]: team in (a,b): machines that"),
        (
            selecting(("apps", "NotIn", "phi"), apps="phi"),
            "[0]: apps notin (phi): the machines will have apps=phi. Remove it, or correct",
        ),
        (selecting(("apps", "DoesNotExist"), apps="phi"), "[0]: !apps: the machines will have"),
        (selecting(("apps", "In", "other"), apps="phi"), "[0]: apps in (other): the machines"),
        (
            selecting((labels.INSTANCE_TYPE, "In", A100), apps="phi"),
            f"[0]: {labels.INSTANCE_TYPE} in ({A100}): the machines will have",
        ),
        (
            selecting((ZONE, "Exists"), apps="phi"),
            f"[0]: {ZONE}: {ZONE} is only known once a machine is there",
        ),
        (
            selecting((ZONE, "NotIn", "eastus-1"), apps="phi"),
            f"[0]: {ZONE} notin (eastus-1): {ZONE} is only known once",
        ),
        (
            selecting((ZONE, "In", "eastus-1"), apps="phi"),
            f"[0]: '{ZONE}' is a label of the system",
        ),
        (
            selecting((labels.WORKSPACE, "In", "other"), apps="phi"),
            f"[0]: {labels.WORKSPACE} in (other): kaito itself sets {labels.WORKSPACE}",
        ),
        (
            selecting(("a", "In", "1"), ("a", "In", "2")),
            "[0]: a in (1): the machines will have a=2",
        ),
    ],
)
def test_what_they_cannot(found: Workspace, words: str) -> None:
    (problem,) = told(found)
    assert problem.startswith(words)


def test_what_machines_carry_stays() -> None:
    before = selecting(("team", "In", "a"), apps="phi")
    (problem,) = change_problems(before, selecting(("team", "In", "b"), apps="phi"))
    assert problem.field == "resource.labelSelector.matchExpressions"


EXPRESSIONS = st.tuples(
    st.sampled_from(["apps", "team", "other", labels.INSTANCE_TYPE, ZONE, labels.SLOT]),
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    st.sampled_from(["phi", "a", A10]),
    st.sampled_from(["", "phi", "b"]),
).map(
    lambda one: (one[0], one[1], *([value for value in one[2:] if value] if "I" in one[1] else ()))
)


@given(st.lists(EXPRESSIONS, max_size=3))
def test_what_is_accepted_selects_the_machines(expressions: list[tuple[str, ...]]) -> None:
    """As the scheduler would see their Nodes."""
    found = selecting(*expressions, apps="phi")
    decided = decide(found, CATALOGUE, None)
    if isinstance(decided, Wanted):
        (spec,) = machine_specs(seen(found), decided.sizing)
        node = {**spec.labels, labels.INSTANCE_TYPE: A10, ZONE: "eastus-1"}
        assert found.resource.label_selector.matches(node)
