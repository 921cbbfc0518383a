from typing import Any

from kaito.adapters.k8s.operator_metrics import OperatorMetrics, phase_of, preset_of
from kaito.domain import status as st


def workspace(preset: str = "phi-4", **more: Any) -> dict[str, Any]:
    return {"metadata": {}, "inference": {"preset": {"name": preset}}, **more}


def succeeded(status: str, reason: str = "x") -> dict[str, Any]:
    condition = {"type": st.SUCCEEDED, "status": status, "reason": reason}
    return {"conditions": [condition]}


def test_phases_are_honest() -> None:
    assert phase_of(workspace()) == "pending"
    assert phase_of(workspace(status=succeeded("False", "Waiting"))) == "pending"
    assert phase_of(workspace(status=succeeded("False", "ModelDoesNotFit"))) == "error"
    assert phase_of(workspace(status=succeeded("True"))) == "succeeded"
    deleting = workspace(status=succeeded("True"))
    deleting["metadata"] = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    assert phase_of(deleting) == "deleting"


def test_the_preset_is_found_wherever_it_stands() -> None:
    assert preset_of(workspace("phi-4")) == "phi-4"
    assert preset_of({"tuning": {"preset": {"name": "falcon-7b"}}}) == "falcon-7b"
    assert preset_of({"inference": {"template": {}}}) == ""


def test_workspaces_are_counted_as_they_come_change_and_go() -> None:
    metrics = OperatorMetrics()

    def count(phase: str) -> float | None:
        return metrics.registry.get_sample_value("kaito_workspace_count", {"phase": phase})

    def presets(name: str) -> float | None:
        return metrics.registry.get_sample_value(
            "kaito_workspace_preset_count", {"preset_name": name}
        )

    assert [count(phase) for phase in ("pending", "error")] == [0, 0]
    metrics.workspace_is("a", workspace())
    metrics.workspace_is("b", workspace())
    assert (count("pending"), presets("phi-4")) == (2, 2)
    metrics.workspace_is("a", workspace(status=succeeded("True")))
    assert (count("pending"), count("succeeded"), presets("phi-4")) == (1, 1, 2)
    metrics.workspace_is("b", workspace("falcon-7b"))
    assert (presets("phi-4"), presets("falcon-7b")) == (1, 1)
    metrics.workspace_is("a", None)
    metrics.workspace_is("never seen", None)
    assert (count("pending"), count("succeeded"), presets("phi-4")) == (1, 0, 0)


def test_requests_to_azure_are_told_as_they_stand() -> None:
    metrics, made = OperatorMetrics(), {"list": 1}
    metrics.count_arm_requests(lambda: made)

    def told(call: str) -> float | None:
        return metrics.registry.get_sample_value("kaito_arm_requests_total", {"call": call})

    assert (told("list"), told("put")) == (1, None)
    made |= {"list": 2, "put": 1}
    assert (told("list"), told("put")) == (2, 1)
