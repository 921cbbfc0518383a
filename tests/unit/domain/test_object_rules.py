"""Labels and volume sources, as the API server would judge them later."""

from typing import Any

import pytest

from kaito.domain import labels
from kaito.domain.object_rules import label_problems, volume_problems


@pytest.mark.parametrize(
    "found",
    [
        {"apps": "phi-3"},
        {"example.com/team": "a_b.c", "A.b_c-d": ""},
        {"x": "v" * 63, "k" * 63: "1"},
        dict.fromkeys(labels.RESERVED, "left out"),
        {"mykubernetes.io/x": "1"},
    ],
)
def test_labels_of_ones_own(found: dict[str, str]) -> None:
    assert list(label_problems("f", found)) == []


@pytest.mark.parametrize(
    ("key", "value", "field", "message"),
    [
        ("", "1", "f", "'' is not a label key"),
        ("a b", "1", "f", "'a b' is not a label key"),
        ("-a", "1", "f", "'-a' is not a label key"),
        ("k" * 64, "1", "f", f"{'k' * 64!r} is not a label key"),
        ("Example.com/a", "1", "f", "'Example.com/a' is not a label key"),
        ("a/b/c", "1", "f", "'a/b/c' is not a label key"),
        ("kubernetes.io/os", "1", "f", "'kubernetes.io/os' is a label of the system"),
        (
            "node.kubernetes.io/x",
            "1",
            "f",
            "'node.kubernetes.io/x' is a label of the system",
        ),
        ("karpenter.sh/x", "1", "f", "'karpenter.sh/x' is a label of the system"),
        (labels.ACCELERATOR, "amd", "f", "'accelerator' is a label of the system"),
        ("apps", "a b", "f.apps", "'a b' is not a label value"),
        ("apps", "v" * 64, "f.apps", f"{'v' * 64!r} is not a label value"),
        ("apps", "$(x)", "f.apps", "'$(x)' is not a label value"),
    ],
)
def test_labels_that_cannot_be(key: str, value: str, field: str, message: str) -> None:
    (problem,) = label_problems("f", {key: value})
    assert (problem.field, problem.message) == (field, message)
    assert problem.remedy.startswith("Use ")


@pytest.mark.parametrize(
    "source",
    [
        None,
        {"emptyDir": {}},
        {"persistentVolumeClaim": {"claimName": "data", "readOnly": True}},
        {"nfs": {"server": "nfs.example.com", "path": "/"}},
    ],
)
def test_volumes(source: dict[str, Any] | None) -> None:
    assert list(volume_problems("f", source)) == []


@pytest.mark.parametrize(
    ("source", "field", "text"),
    [
        ({}, "f", "needs exactly one kind of volume, has none. For example persistent"),
        (
            {"emptyDir": {}, "nfs": {}},
            "f",
            "needs exactly one kind of volume, has emptyDir, nfs. For example",
        ),
        (
            {"persistentVolumeClaims": {}},
            "f.persistentVolumeClaims",
            "unknown kind of volume. Did you mean persistentVolumeClaim?",
        ),
        ({"nfs": "server"}, "f.nfs", "must be a mapping, got 'server'"),
        ({"persistentVolumeClaim": {}}, "f.persistentVolumeClaim.claimName", "is required"),
        ({"hostPath": {"path": ""}}, "f.hostPath.path", "is required"),
    ],
)
def test_volumes_that_cannot_be(source: dict[str, Any], field: str, text: str) -> None:
    (problem,) = volume_problems("f", source)
    assert problem.field == field
    assert text in str(problem)
