"""Where weights live: local disks where every machine that may be bought has some, once and for all
machines of a Workspace."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.domain.cluster_view import ClusterView
from kaito.domain.decision import Wanted, decide
from kaito.domain.machine import Machine
from kaito.domain.model import ModelProfile
from kaito.domain.own_nodes import OwnNodes, find_nodes
from kaito.domain.quantity import GIB
from kaito.domain.weights_volume import (
    SYSTEM_DISK_BYTES,
    LocalDisks,
    WeightsVolume,
    local_disks,
    os_disk_bytes,
    weights_volume,
)
from kaito.domain.workload_plan import WEIGHTS_DIR
from kaito.domain.workspace_machines import machine_specs
from tests.unit.domain.builders import (
    A10,
    A100,
    CATALOGUE,
    H100,
    TUNING,
    TWO_A100,
    V100,
    machine,
    machine_spec,
    node,
    seen,
    workspace,
)

MISTRAL = "mistral-7b-instruct-v0.3"  # 13.5 GiB of weights, a disk of 93 GiB
NVME = "kaito-local-nvme-disk"
THERE = LocalDisks(storage_class=NVME)
BOUGHT = LocalDisks(storage_class=NVME, bought=True)


def decided(disks: LocalDisks, **parts: Any) -> Wanted:
    parts.setdefault("instance_type", A100)
    found = decide(workspace(**parts), CATALOGUE, None, disks=disks)
    assert isinstance(found, Wanted), found
    return found


def ordered(storage_class: str, slot: int = 0, instance_type: str = A100, **more: Any) -> Machine:
    spec = machine_spec(slot, instance_type=instance_type, weights_class=storage_class)
    return machine(spec=spec, **more)


def test_on_local_disks() -> None:
    found = decided(THERE, inference={"preset": {"name": MISTRAL}})
    assert found.workload.weights == WeightsVolume(storage_class=NVME, size_bytes=16 * GIB)
    (spec,) = machine_specs(seen(workspace()), found.sizing)
    assert (spec.weights_class, spec.disk_bytes) == (NVME, 80 * GIB)


def test_on_the_os_disk() -> None:
    found = decided(LocalDisks(), inference={"preset": {"name": MISTRAL}})
    assert found.workload.weights is None
    (spec,) = machine_specs(seen(workspace()), found.sizing)
    assert (spec.weights_class, spec.disk_bytes) == ("", 93 * GIB)


def test_an_instance_type_without_local_disks() -> None:
    found = decided(THERE, instance_type=A10)
    assert found.workload.weights is None
    assert found.sizing.disk_bytes == decided(LocalDisks(), instance_type=A10).sizing.disk_bytes


@pytest.mark.parametrize(("fallback", "used"), [(H100, True), (A10, False)])
def test_before_it_is_known_what_is_bought_every_offer_must_have_some(
    fallback: str, *, used: bool
) -> None:
    annotations = {"kaito.sh/fallback-instance-types": fallback}
    assert bool(decided(THERE, annotations=annotations).workload.weights) is used


def test_what_was_bought_counts_and_no_longer_what_might_have_been() -> None:
    annotations = {"kaito.sh/fallback-instance-types": A10}
    found = decided(BOUGHT, annotations=annotations)
    assert found.workload.weights is not None
    other = decide(
        workspace(instance_type=A100, annotations=annotations),
        CATALOGUE,
        None,
        bought=A10,
        disks=BOUGHT,
    )
    assert isinstance(other, Wanted)
    assert other.workload.weights is None


def test_every_machine_of_a_group_downloads_everything() -> None:
    model = CATALOGUE.model("llama-3.3-70b-instruct")
    options = {"modelAccessSecret": "hugging-face"}
    preset = {"name": model.name, "presetOptions": options}
    found = decided(THERE, instance_type=TWO_A100, inference={"preset": preset})
    assert found.sizing.nodes == 2
    assert found.workload.weights is not None
    assert found.workload.weights.size_bytes > model.weight_bytes
    specs = machine_specs(seen(workspace()), found.sizing)
    assert {spec.weights_class for spec in specs} == {NVME}


def test_data_and_results_of_tuning_stay_on_the_os_disk() -> None:
    model = "phi-4"
    found = decided(THERE, tuning={**TUNING, "preset": {"name": model}}, instance_type=A100)
    whole = decided(LocalDisks(), tuning={**TUNING, "preset": {"name": model}})
    tuning = CATALOGUE.model(model).tuning
    assert tuning is not None
    assert whole.sizing.disk_bytes == tuning.disk_bytes
    assert found.sizing.disk_bytes == tuning.disk_bytes - 28 * GIB
    assert found.workload.weights is not None


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({}, False),  # vLLM has an option for it
        ({"annotations": {"kaito.sh/runtime": "transformers"}}, True),
        ({"tuning": TUNING}, True),
    ],
)
def test_whoever_downloads_by_itself_is_told_where_to(parts: dict[str, Any], *, told: bool) -> None:
    variable = ("HF_HUB_CACHE", WEIGHTS_DIR)
    assert (variable in decided(THERE, **parts).workload.environment) is told
    assert variable not in decided(LocalDisks(), **parts).workload.environment


def test_a_templates_volumes_are_its_own() -> None:
    template = {"spec": {"containers": [{"name": "server", "image": "registry.test/server:1"}]}}
    found = decided(THERE, inference={"template": template})
    assert found.workload.weights is None
    (spec,) = machine_specs(seen(workspace()), found.sizing)
    assert (spec.weights_class, spec.disk_bytes) == ("", 1024 * GIB)


def test_those_of_nodes_that_users_bring_are_not_used() -> None:
    found = decide(
        workspace(instance_type=A100, finalizers=()),
        CATALOGUE,
        None,
        own_nodes(A100),
        disks=THERE,
    )
    assert isinstance(found, Wanted)
    assert found.workload.weights is None


def own_nodes(instance_type: str) -> OwnNodes:
    told = {"apps": "phi", "node.kubernetes.io/instance-type": instance_type}
    view = ClusterView(nodes=(node(machine(), labels=told),))
    return find_nodes(workspace(instance_type=instance_type), view, CATALOGUE)


@pytest.mark.parametrize(
    ("machines", "available", "expected"),
    [
        ((), "", LocalDisks()),
        ((), NVME, THERE),
        # What the first machine was ordered for stays, whatever the cluster has by now.
        ((ordered(""),), NVME, LocalDisks(bought=True)),
        ((ordered(NVME),), "", BOUGHT),
        ((ordered(NVME, instance_type=A100.upper()),), "", BOUGHT),
        ((ordered(""), ordered(NVME, 1)), "", BOUGHT),
        # A machine that goes, or will, says nothing about the next.
        ((ordered("", deleting=True),), NVME, THERE),
        ((ordered(NVME, instance_type=V100),), "", LocalDisks()),
        ((ordered(NVME, deleting=True), ordered("", 1)), NVME, LocalDisks(bought=True)),
    ],
)
def test_what_machines_were_ordered_for(
    machines: tuple[Machine, ...], available: str, expected: LocalDisks
) -> None:
    assert local_disks(machines, A100, available) == expected


@given(st.lists(st.sampled_from(["", NVME]), min_size=1, max_size=4), st.sampled_from(["", NVME]))
def test_machines_that_stay_keep_the_answer(recorded: list[str], available: str) -> None:
    machines = [ordered(one, slot) for slot, one in enumerate(recorded)]
    first = local_disks(machines, A100, available)
    assert first == local_disks(machines, A100, "" if available else NVME)
    more = [*machines, ordered(first.storage_class, len(machines))]
    assert local_disks(more, A100, available) == first


@given(
    model=st.sampled_from(CATALOGUE.models),
    disk_gib=st.integers(min_value=1, max_value=2000),
    weights_gib=st.integers(min_value=1, max_value=2000),
)
def test_everything_has_room(model: ModelProfile, disk_gib: int, weights_gib: int) -> None:
    own = replace(model, disk_bytes=disk_gib * GIB, weight_bytes=weights_gib * GIB)
    for one in (model, own):
        volume = weights_volume(one, NVME)
        assert volume is not None
        usable = volume.size_bytes * 93 // 100
        assert volume.size_bytes % GIB == 0
        assert usable >= max(one.weight_bytes, one.disk_bytes - SYSTEM_DISK_BYTES)
        left = os_disk_bytes(one, one.disk_bytes)
        assert min(SYSTEM_DISK_BYTES, one.disk_bytes) <= left <= one.disk_bytes
        assert left + volume.size_bytes >= one.disk_bytes


def test_published_local_disks_hold_the_largest_model_of_their_gpus() -> None:
    """g5.xlarge has 250 GB (https://aws.amazon.com/ec2/instance-types/g5/); at most eight of them
    hold a model together."""
    machine_type = CATALOGUE.instance_type("g5.xlarge")
    largest = max(
        model.disk_bytes
        for model in CATALOGUE.models
        if model.weight_bytes < 8 * machine_type.total_gpu_memory_bytes
    )
    found = next(model for model in CATALOGUE.models if model.disk_bytes == largest)
    volume = weights_volume(found, NVME)
    assert volume is not None
    assert volume.size_bytes < 250 * 10**9
