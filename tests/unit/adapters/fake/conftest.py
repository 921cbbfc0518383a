"""A cluster of the twin's components, and what its containers do."""

import pytest

from tests.unit.adapters.fake.cluster import Cluster, Script


@pytest.fixture
def script() -> Script:
    """What images do; empty plans run for ever."""
    return Script()


@pytest.fixture
def cluster(script: Script) -> Cluster:
    return Cluster(script)
