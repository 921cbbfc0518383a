"""A share of a Node's GPUs: some whole ones, or one MIG slice."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from kaito.domain import labels
from kaito.domain.change_rules import change_problems
from kaito.domain.cluster_view import ClusterView
from kaito.domain.decision import Refusal, Wanted, decide
from kaito.domain.gpu import USABLE_SHARE_PRIOR
from kaito.domain.machine import NodeView
from kaito.domain.own_nodes import OwnNodes, find_nodes
from kaito.domain.partition import mig_slices, slice_of
from kaito.domain.provisioner import Provisioner
from kaito.domain.quantity import MIB
from kaito.domain.template_sizing import size_workspace
from kaito.domain.validation import can_be_sized, validate
from kaito.domain.workspace import Workspace
from tests.unit.domain.builders import (
    A10,
    CATALOGUE,
    FOUR_T4,
    FOUR_T4_LABELS,
    TUNING,
    V100,
    byo,
    own_node,
    template,
    workspace,
)

A100_CARD = CATALOGUE.gpu("NVIDIA A100 80GB")
PROFILE = "2g.20gb"
RESOURCE = f"nvidia.com/mig-{PROFILE}"
# A100 cards of 80 GB with the device plugin's strategy "mixed".
MIG_LABELS: Mapping[str, str] = {
    labels.GPU_PRODUCT: "NVIDIA-A100-SXM4-80GB",
    labels.GPU_COUNT: "2",
    labels.GPU_MEMORY: "81920",
    f"{RESOURCE}.count": "3",
    f"{RESOURCE}.memory": "19968",
    f"{RESOURCE}.product": f"NVIDIA-A100-SXM4-80GB-MIG-{PROFILE}",
}
MIG = {"partition": {"mode": "mig", "profile": PROFILE}}
TWO = {"partition": {"mode": "accelerator", "count": 2}}


def sliced(name: str = "gpu-0", found: Mapping[str, str] = MIG_LABELS, count: int = 3) -> NodeView:
    return replace(own_node(name, found), gpus=0, slices=((RESOURCE, count),))


def find(found: Workspace, *nodes: NodeView, **more: Any) -> OwnNodes:
    return find_nodes(found, ClusterView(nodes=nodes, **more), CATALOGUE)


def wanted_on(found: Workspace, *nodes: NodeView) -> Wanted:
    own = find(found, *nodes)
    decided = decide(found, CATALOGUE, None, own)
    assert isinstance(decided, Wanted), decided
    return decided


def told(found: Workspace) -> list[str]:
    at = "resource.partition"
    return [
        str(one).removeprefix(at) for one in validate(found, CATALOGUE, provisioner=Provisioner.BYO)
    ]


# --- what may be asked for ---


@pytest.mark.parametrize("found", [byo(MIG), byo(TWO), byo({"partition": None})])
def test_what_is_accepted(found: Workspace) -> None:
    assert told(found) == []


@pytest.mark.parametrize(
    ("partition", "words"),
    [
        ({"mode": "mig"}, ".profile: is required with mode mig"),
        (
            {"mode": "mig", "profile": "1g.11gb"},
            ".profile: unknown MIG profile '1g.11gb'. Did you mean 1g.",
        ),
        (
            {"mode": "mig", "profile": PROFILE, "count": 2},
            ".count: is for mode accelerator: a pod gets one MIG slice",
        ),
        ({"mode": "accelerator"}, ".count: is required with mode accelerator"),
        (
            {"mode": "accelerator", "count": 1, "profile": PROFILE},
            ".profile: is for mode mig. Remove it, or set mode: mig",
        ),
    ],
)
def test_what_a_partition_needs(partition: dict[str, Any], words: str) -> None:
    (problem,) = told(byo({"partition": partition}))
    assert problem.startswith(words)


@pytest.mark.parametrize("parts", [{"tuning": TUNING}, {"inference": {"template": template()}}])
def test_only_presets_are_served_on_a_share(parts: dict[str, Any]) -> None:
    (problem,) = told(byo(MIG, **parts))
    assert problem.startswith(": is ")


def test_machines_that_are_ordered_are_whole() -> None:
    (problem,) = validate(workspace(resource=TWO), CATALOGUE)
    assert problem.message == "is only possible on machines that you bring yourself"


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, TWO), (MIG, {}), (TWO, {"partition": {"mode": "accelerator", "count": 1}}), (TWO, MIG)],
)
def test_it_stays(before: dict[str, Any], after: dict[str, Any]) -> None:
    (problem,) = change_problems(byo(before), byo(after))
    assert problem.field == "resource.partition"
    assert change_problems(byo(before), byo(before)) == []


# --- whole GPUs ---


def test_as_many_gpus_as_asked_for_of_those_there_are() -> None:
    decided = wanted_on(byo(TWO), replace(own_node("gpu-0", FOUR_T4_LABELS), gpus=3))
    assert decided.sizing.instance_type.gpu_count == 2
    assert decided.sizing.instance_type.name == "own node (4 x NVIDIA T4) (2 of 4 GPUs)"
    assert (decided.workload.gpus, decided.workload.gpu_resource) == (2, labels.GPU_RESOURCE)
    place = decided.workload.own_place
    assert place is not None
    assert dict(place.shape.alternatives[0])[labels.GPU_COUNT] == "4", "the Nodes stay whole"


def test_the_workload_is_found_again_by_the_nodes_it_was_made_for() -> None:
    first = find(byo(TWO), own_node("gpu-0", FOUR_T4_LABELS))
    assert first.shape is not None
    again = find(
        byo(TWO), own_node("gpu-0", FOUR_T4_LABELS, ready=False), made_for=first.shape.to_text()
    )
    assert again.shape == first.shape
    assert again.usable == ()


def test_a_node_with_fewer_is_of_no_use() -> None:
    found = find(byo({"partition": {"mode": "accelerator", "count": 8}}), own_node())
    assert found.shape is None
    assert "has 1 x NVIDIA A10, fewer than the 8 of resource.partition" in str(
        found.missing.problem
    )
    made_for = "nvidia.com/gpu.count=1,nvidia.com/gpu.product=NVIDIA-A10"
    kept = find(byo(TWO), own_node(), made_for=made_for)
    assert kept.usable == ()


def test_all_of_them_is_the_whole_node() -> None:
    four = {"partition": {"mode": "accelerator", "count": 4}}
    node = own_node("gpu-0", FOUR_T4_LABELS)
    asked = find(byo(four), node).shape
    assert asked == find(byo(), node).shape


def test_where_the_instance_type_is_named_admission_sizes_for_the_share() -> None:
    large = {"inference": {"preset": {"name": "phi-4"}}}
    found = workspace(instance_type=FOUR_T4, resource=TWO)
    assert size_workspace(found, CATALOGUE).instance_type.gpu_count == 2
    assert told(workspace(instance_type=FOUR_T4, **large)) == []
    spread = size_workspace(workspace(instance_type=FOUR_T4, resource=TWO, **large), CATALOGUE)
    assert spread.nodes == 2
    assert "2 of 4 GPUs" in spread.summary
    (problem,) = told(workspace(instance_type=V100, resource=TWO))
    assert problem.startswith(".count: is 2, but Standard_NC6s_v3 has 1 GPUs. Ask for fewer")


# --- MIG ---


def test_a_slice_is_a_gpu_with_the_memory_that_the_node_reports() -> None:
    decided = wanted_on(byo(MIG), sliced())
    gpu = decided.sizing.instance_type.gpu
    assert gpu.name == "NVIDIA A100 80GB MIG 2g.20gb"
    assert gpu.usable_bytes == 19968 * MIB
    assert gpu.memory_bytes == 20 << 30
    assert not gpu.usable_is_prior
    assert gpu.memory_bandwidth_bytes_per_s == A100_CARD.memory_bandwidth_bytes_per_s // 4
    assert gpu.fp16_flops == pytest.approx(A100_CARD.fp16_flops * 2 / 7)
    assert decided.sizing.instance_type.gpu_count == 1
    assert (decided.workload.gpus, decided.workload.gpu_resource) == (1, RESOURCE)
    assert "--kaito-kv-cache-cpu-memory-utilization=0" in decided.workload.arguments
    place = decided.workload.own_place
    assert place is not None
    assert place.shape.alternatives == (
        ((labels.GPU_PRODUCT, "NVIDIA-A100-SXM4-80GB"), (f"{RESOURCE}.memory", "19968")),
    )


def test_what_does_not_fit_a_slice_is_refused_for_it() -> None:
    found = byo(MIG, inference={"preset": {"name": "phi-4"}})
    decided = decide(found, CATALOGUE, None, find(found, sliced()))
    assert isinstance(decided, Refusal)
    assert decided.reason == "ModelDoesNotFit"
    assert "MIG 2g.20gb" in decided.message


def test_how_much_memory_a_slice_has_is_not_known_at_admission() -> None:
    large = {"inference": {"preset": {"name": "phi-4"}}}
    found = workspace(instance_type=A10, resource=MIG, **large)
    assert not can_be_sized(found, CATALOGUE)
    assert told(found) == []


def test_the_shape_of_slices_is_read_again() -> None:
    first = find(byo(MIG), sliced())
    assert first.shape is not None
    again = find(byo(MIG), made_for=first.shape.to_text())
    assert again.shape == first.shape
    whole = find(byo(), made_for=first.shape.to_text())
    assert whole.shape is None, "of slices, where whole GPUs are asked for"
    changed = find(byo(MIG), made_for="nvidia.com/gpu.count=1,nvidia.com/gpu.product=NVIDIA-A10")
    assert changed.shape is None


def test_an_instance_type_is_one_more_label() -> None:
    asking = workspace(instance_type="p4de.24xlarge", resource=MIG)
    node = sliced(found={**MIG_LABELS, labels.INSTANCE_TYPE: "p4de.24xlarge"})
    shape = find(asking, node).shape
    assert shape is not None
    assert dict(shape.alternatives[0])[labels.INSTANCE_TYPE] == "p4de.24xlarge"


@pytest.mark.parametrize(
    ("change", "count", "words"),
    [
        ({}, 0, "has 1 x NVIDIA A100 80GB MIG 2g.20gb, of which 0 can be allocated"),
        ({f"{RESOURCE}.memory": ""}, 3, f"has no label {RESOURCE}.memory"),
        ({labels.GPU_PRODUCT: ""}, 3, f"has no label {labels.GPU_PRODUCT}"),
        ({labels.GPU_PRODUCT: "NVIDIA-X"}, 3, "has a GPU that kaito does not know"),
        ({f"{RESOURCE}.memory": "99999"}, 3, "which no NVIDIA A100 80GB has"),
        ({f"{RESOURCE}.memory": "much"}, 3, f"has {RESOURCE}.memory=much (MiB), which no"),
        ({labels.GPU_PRODUCT: "NVIDIA-A10"}, 3, "its MIG profiles: none"),
        (
            {labels.GPU_PRODUCT: f"NVIDIA-A100-SXM4-80GB-MIG-{PROFILE}"},
            3,
            "offers its slices as nvidia.com/gpu",
        ),
        ({f"{RESOURCE}.product": "A100-MIG-2g.20gb-SHARED"}, 3, "has slices that are shared"),
    ],
)
def test_nodes_without_such_a_slice(change: Mapping[str, str], count: int, words: str) -> None:
    found = find(byo(MIG), sliced(found={**MIG_LABELS, **change}, count=count))
    assert found.shape is None
    assert words in str(found.missing.problem)


@pytest.mark.parametrize("card", [gpu for gpu in CATALOGUE.gpus if gpu.mig_memory_eighths])
def test_slices_of_every_card_are_parts_of_it(card: Any) -> None:
    for profile, eighths in card.mig_memory_eighths:
        named_gib = int(profile.partition(".")[2].removesuffix("gb"))
        share = Fraction(eighths, 8)
        assert abs(card.memory_bytes * share / 2**30 - named_gib) < 1, profile
        reported = int(card.memory_bytes * share / MIB)
        part = slice_of(card, profile, reported)
        assert part is not None
        assert part.memory_bytes <= card.memory_bytes
        assert slice_of(card, profile, reported + 1) is None
    assert dict(card.mig_memory_eighths)[card.mig_memory_eighths[-1][0]] == 8
    assert slice_of(card, "1g.1gb", 1024) is None


def test_a_card_is_cut_into_as_many_slices_as_its_memory_and_processors_allow() -> None:
    card = CATALOGUE.gpu("NVIDIA A100 40GB")
    counts = {name: count for name, count, _ in mig_slices(card, USABLE_SHARE_PRIOR)}
    assert counts == {
        "1g.5gb": 7,
        "1g.10gb": 4,
        "2g.10gb": 3,
        "3g.20gb": 2,
        "4g.20gb": 1,
        "7g.40gb": 1,
    }


def test_a_slice_is_a_gpu_whose_memory_is_assumed() -> None:
    card = CATALOGUE.gpu("NVIDIA A100 40GB")
    slices = {name: gpu for name, _, gpu in mig_slices(card, USABLE_SHARE_PRIOR)}
    half = slices["3g.20gb"]
    assert half.memory_bytes == card.memory_bytes // 2
    assert 0.90 < half.usable_bytes / half.memory_bytes <= 0.91
    assert half.usable_is_prior
    assert half.name == "NVIDIA A100 40GB MIG 3g.20gb"


def test_a_card_without_mig_has_none() -> None:
    assert list(mig_slices(CATALOGUE.gpu("NVIDIA A10"), USABLE_SHARE_PRIOR)) == []
