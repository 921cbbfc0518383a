"""What of a scenario `sim attach` plays on somebody else's cluster."""

from pathlib import Path

import pytest

from kaito.domain.errors import InvalidInput
from sim.attach import AttachSettings, attach
from sim.loading import load

SCENARIO = """
cloud:
  quota: {NCads_A100_v4: 0}
guards:
  max_machines: 3
timeline:
  - at: 1h
    cloud: {quota: {NCads_A100_v4: 24}}
  - at: 2h
    apply: {apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: b}}
"""


def test_only_the_cloud_can_be_played_there(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(SCENARIO, encoding="utf-8")
    settings = AttachSettings(kubeconfig=tmp_path / "nowhere", speed=60.0)
    with pytest.raises(InvalidInput) as refused:
        attach(
            load([str(file)]),
            settings,
            on_ready=lambda _url, _found: None,
            on_phase=lambda *_phase: None,
            on_error=lambda _key, _error: None,
        )
    first, second = refused.value.problems
    assert first.field.endswith("scenario.yaml:10")
    assert first.message == "only what happens to the cloud can be played on a cluster of yours"
    assert (second.field, second.message) == ("guards", "are the operator's")
