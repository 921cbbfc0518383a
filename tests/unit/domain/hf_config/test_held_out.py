"""Families that nothing was fitted on."""

import pytest

from kaito.domain.hf_config import profile_from_config
from tests.unit.domain.hf_config.held_out import DENSE
from tests.unit.domain.hf_config.held_out_mixtures import MIXTURES

MODELS = DENSE | MIXTURES


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_those_published_and_those_of_vllms_module(name: str) -> None:
    config, billions, made = MODELS[name]
    found = profile_from_config(config, name="m", source="a test")
    assert found.parameters / 1e9 == pytest.approx(billions, rel=0.005)
    assert found.weights is not None
    if made is not None:
        # vLLM keeps some routers in float32.
        assert found.weights.total == pytest.approx(made, rel=0.0003)
