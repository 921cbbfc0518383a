from kaito.adapters.k8s.conditions_json import from_json, to_json
from kaito.domain.conditions import Condition
from tests.unit.domain.builders import NOW_S, condition


def test_there_and_back() -> None:
    found = (
        condition("Ready", "False", "Why", message="because", observed_generation=3, since_s=NOW_S),
        condition("Launched", "Unknown", since_s=NOW_S + 1),
    )
    assert to_json(found)[0] == {
        "type": "Ready",
        "status": "False",
        "reason": "Why",
        "message": "because",
        "observedGeneration": 3,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    assert from_json({"conditions": to_json(found)}) == found


def test_what_another_writer_left_out_is_empty() -> None:
    bare = Condition(type="Ready", status="True", reason="")
    assert from_json({"conditions": [{"type": "Ready", "status": "True"}]}) == (bare,)
    unset = {"type": "Ready", "status": "True", "lastTransitionTime": None}
    assert from_json({"conditions": [unset]}) == (bare,)
    garbled = {"type": "Ready", "status": "True", "lastTransitionTime": "yesterday"}
    assert from_json({"conditions": [garbled]}) == (bare,)
    assert from_json({}) == from_json({"conditions": None}) == ()
