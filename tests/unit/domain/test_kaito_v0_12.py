"""KAITO v0.12's own unit cases, and its catalogue's figures.

Cases: kaito-project/kaito@056b8280b pkg/workspace/estimator/nodesestimator/estimator_test.go and
pkg/workspace/inference/preset_inferences_test.go; the numbers are lines there.
"""

from typing import Final

import pytest

from kaito.domain import labels
from kaito.domain.kaito_v0_12 import (
    KaitoModel,
    KaitoNode,
    KaitoRefuses,
    kaito_model,
    kaito_node,
    kaito_own_node,
    kaito_v0_12_nodes,
)
from kaito.domain.quantity import GIB
from tests.unit.adapters.listed_by_kaito import MODELS, ListedModel
from tests.unit.domain.builders import A10, A100, CATALOGUE, V100

SMALL: Final = KaitoModel(
    name="test-model", size_bytes=8 * GIB, kv_bytes_per_token=0, distributable=False
)
FALCON: Final = KaitoModel(
    name="test-falcon-7b",
    size_bytes=-int(-13.44 * GIB // 1),
    kv_bytes_per_token=8192,
    distributable=False,
)
QWEN: Final = KaitoModel(
    name="test-qwen2.5-coder-32b-instruct",
    size_bytes=int(62.5 * GIB),
    kv_bytes_per_token=163840,
)
LARGE: Final = KaitoModel(name="test-model-download", size_bytes=64 * GIB, kv_bytes_per_token=0)
FOUR_A100: Final = "Standard_NC96ads_A100_v4"


@pytest.mark.parametrize(("asked", "nodes"), [(3, 3), (None, 1), (2, 2), (4, 4)])
def test_without_a_preset_the_user_decides(asked: int | None, nodes: int) -> None:
    """61, 77, 93, 111."""
    assert kaito_v0_12_nodes(None, None, asked=asked) == nodes


@pytest.mark.parametrize(
    ("model", "machine", "asked", "nodes"),
    [
        pytest.param(SMALL, FOUR_A100, 4, 1, id="156"),
        pytest.param(SMALL, A10, 1, 1, id="178"),
        pytest.param(SMALL, A10, None, 1, id="200"),
        pytest.param(FALCON, A10, 3, 1, id="469"),
        pytest.param(FALCON, A10, 1, 1, id="491"),
        pytest.param(FALCON, A100, 4, 1, id="513"),
        pytest.param(QWEN, A100, 3, 2, id="578"),
        pytest.param(LARGE, A10, 2, 4, id="219"),
        pytest.param(LARGE, A10, 8, 4, id="251"),
    ],
)
def test_with_a_preset_the_formula_does(
    model: KaitoModel, machine: str, asked: int | None, nodes: int
) -> None:
    node = kaito_node(machine, CATALOGUE)
    assert kaito_v0_12_nodes(model, node, context_tokens=2048, asked=asked) == nodes
    assert kaito_v0_12_nodes(model, node) == nodes


def test_the_first_own_node_speaks_for_all() -> None:
    """322."""
    found = {
        labels.GPU_PRODUCT: "NVIDIA-A100-SXM4-80GB",
        labels.GPU_COUNT: "4",
        labels.GPU_MEMORY: "81920",
    }
    node = kaito_own_node([found, {}])
    assert node == KaitoNode(gpus=4, memory_bytes=320 * GIB)
    assert kaito_v0_12_nodes(SMALL, node) == 1
    odd = kaito_own_node([{**found, labels.GPU_COUNT: "3", labels.GPU_MEMORY: "24064"}])
    assert odd.memory_bytes == 3 * 24 * GIB  # 23.5 GiB


@pytest.mark.parametrize(
    ("profile", "gib", "context"),
    [
        pytest.param("2g.24gb", 24, 2048, id="648"),
        pytest.param("3g.47gb", 47, 2048, id="654"),
        pytest.param("1g.24gb", 24, 131072, id="740"),
        pytest.param("1g.16.5gb", 16, 2048, id="fraction"),
    ],
)
def test_a_mig_slice_counts_as_one_gpu(profile: str, gib: int, context: int) -> None:
    node = kaito_own_node([], profile)
    assert (node.gpus, node.memory_bytes) == (1, gib * GIB)
    assert kaito_v0_12_nodes(SMALL, node, context_tokens=context) == 1


def test_a_slice_that_is_too_small() -> None:
    """660."""
    with pytest.raises(KaitoRefuses, match=r"MIG profile 1g\.10gb only provides 10GB"):
        kaito_v0_12_nodes(SMALL, kaito_own_node([], "1g.10gb"))


@pytest.mark.parametrize("profile", ["bogus", "1g.10gb+me", "0g.10gb", "1g.0gb", "1G.10GB", "1g"])
def test_no_such_slice(profile: str) -> None:
    """667."""
    with pytest.raises(KaitoRefuses, match="failed to get MIG GPU config"):
        kaito_own_node([], profile)


@pytest.mark.parametrize("machine", ["Invalid_Instance_Type", V100])
def test_no_such_machine(machine: str) -> None:
    """133. What v0.12 no longer lists is as unknown to it."""
    with pytest.raises(KaitoRefuses, match=f"failed to get GPU config for .* {machine}"):
        kaito_node(machine, CATALOGUE)


@pytest.mark.parametrize(
    "found",
    [
        {},
        {labels.GPU_COUNT: "1", labels.GPU_MEMORY: "16384"},
        {labels.GPU_PRODUCT: "Tesla-T4", labels.GPU_MEMORY: "16384"},
        {labels.GPU_PRODUCT: "Tesla-T4", labels.GPU_COUNT: "1", labels.GPU_MEMORY: "invalid"},
    ],
)
def test_nodes_that_say_nothing(found: dict[str, str]) -> None:
    """266 and 374. Line 296, a list call that fails, is not the formula's."""
    with pytest.raises(KaitoRefuses, match="no ready nodes found, unable to determine GPU config"):
        kaito_own_node([])
    with pytest.raises(KaitoRefuses, match="failed to get GPU config from existing nodes"):
        kaito_own_node([found])


def test_a_model_that_cannot_be_spread() -> None:
    single = KaitoModel(name="one", size_bytes=64 * GIB, kv_bytes_per_token=0, distributable=False)
    with pytest.raises(KaitoRefuses, match="cannot be distributed across more than 1 GPU node"):
        kaito_v0_12_nodes(single, kaito_node(A10, CATALOGUE))


def test_a_gpu_that_the_overhead_fills() -> None:
    with pytest.raises(KaitoRefuses, match="is too small, needs at least"):
        kaito_v0_12_nodes(SMALL, KaitoNode(gpus=1, memory_bytes=2 * GIB))


def test_a_weight_that_divides_exactly_takes_one_more_gpu() -> None:
    """The formula rounds down and adds one."""
    node = KaitoNode(gpus=1, memory_bytes=80 * GIB)
    budget = (80 * GIB * 0.84 - 2.3 * GIB) / 1.05
    for gpus in (1, 2, 5):
        below = KaitoModel(
            name="x", size_bytes=int((gpus - 0.001) * budget / 1.02), kv_bytes_per_token=0
        )
        above = KaitoModel(
            name="x", size_bytes=int((gpus + 0.001) * budget / 1.02), kv_bytes_per_token=0
        )
        assert kaito_v0_12_nodes(below, node) == gpus
        assert kaito_v0_12_nodes(above, node) == gpus + 1


@pytest.mark.parametrize("listed", MODELS, ids=lambda listed: listed.hf_id)
def test_our_profiles_give_kaitos_figures(listed: ListedModel) -> None:
    found = kaito_model(CATALOGUE.model(listed.hf_id))
    assert found.size_bytes == -int(-listed.size_gib * GIB // 1)
    assert found.kv_bytes_per_token == listed.kv_bytes_per_token
    assert found.distributable


def test_counting_files_twice_takes_more_nodes() -> None:
    """gpt-oss-120b, whose files are in its repository twice, fits one A100 once loaded."""
    twice = kaito_model(CATALOGUE.model("gpt-oss-120b"))
    assert kaito_v0_12_nodes(twice, kaito_node(A100, CATALOGUE)) == 3
