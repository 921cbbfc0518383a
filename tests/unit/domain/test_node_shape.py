"""What the labels of a Node say of its GPUs."""

import pytest

from kaito.domain import labels
from kaito.domain.node_shape import NotKnown, NotTold, Offer, offer_of, parse_shape, shapes_of
from tests.unit.domain.builders import A10, A10_LABELS, A100, CATALOGUE, FOUR_T4_LABELS

KNOWN_TYPE = {labels.INSTANCE_TYPE: A100}
UNKNOWN_TYPE = {labels.INSTANCE_TYPE: "g9.xlarge"}


def offer(found: dict[str, str], *, by_type: bool = False) -> Offer:
    return offer_of(found, CATALOGUE, by_type=by_type)


def test_the_instance_type_says_it_where_the_catalogue_knows_it() -> None:
    found = offer({**KNOWN_TYPE, **A10_LABELS})
    assert str(found) == "1 x NVIDIA A100 80GB"
    assert found.instance_type is CATALOGUE.instance_type(A100)
    assert found.by == ((labels.INSTANCE_TYPE, A100),)


def test_the_case_of_a_type_does_not_matter_but_its_label_is_kept() -> None:
    lower = offer({labels.INSTANCE_TYPE: A100.lower()})
    assert lower.instance_type is CATALOGUE.instance_type(A100)
    assert lower.by == ((labels.INSTANCE_TYPE, A100.lower()),)


@pytest.mark.parametrize(
    ("product", "gpu"),
    [
        ("NVIDIA-A10", "NVIDIA A10"),
        ("NVIDIA-A100-SXM4-40GB", "NVIDIA A100 40GB"),
        ("NVIDIA-A100-80GB-PCIe", "NVIDIA A100 80GB"),
        ("A100-SXM4-80GB", "NVIDIA A100 80GB"),
        ("NVIDIA-H100-NVL", "NVIDIA H100 NVL 94GB"),
        ("NVIDIA-H100-80GB-HBM3", "NVIDIA H100 SXM 80GB"),
        ("NVIDIA-H200", "NVIDIA H200 SXM 141GB"),
        ("Tesla-T4", "NVIDIA T4"),
        ("tesla-v100-sxm2-16gb", "NVIDIA V100 16GB"),
    ],
)
def test_else_nvidias_labels_say_it(product: str, gpu: str) -> None:
    found = offer({**UNKNOWN_TYPE, labels.GPU_PRODUCT: product, labels.GPU_COUNT: "2"})
    assert found.hardware == (gpu, 2)
    assert found.by == ((labels.GPU_COUNT, "2"), (labels.GPU_PRODUCT, product))


def test_a_type_that_was_asked_for_is_among_the_labels_that_tell() -> None:
    found = offer({**UNKNOWN_TYPE, **A10_LABELS}, by_type=True)
    assert (labels.INSTANCE_TYPE, "g9.xlarge") in found.by
    assert labels.GPU_MEMORY not in dict(found.by)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({}, "has no label nvidia.com/gpu.product"),
        (UNKNOWN_TYPE, "has no label nvidia.com/gpu.product"),
        ({labels.GPU_COUNT: "1"}, "has no label nvidia.com/gpu.product"),
        ({labels.GPU_PRODUCT: "Tesla-T4"}, "has no label nvidia.com/gpu.count"),
        ({**A10_LABELS, labels.GPU_COUNT: "0"}, "has nvidia.com/gpu.count=0"),
        ({**A10_LABELS, labels.GPU_COUNT: "many"}, "has nvidia.com/gpu.count=many"),
    ],
)
def test_labels_that_do_not_tell(found: dict[str, str], why: str) -> None:
    with pytest.raises(NotTold) as error:
        offer(found)
    assert str(error.value) == why


@pytest.mark.parametrize(
    ("changed", "why", "remedy"),
    [
        (
            {labels.GPU_PRODUCT: "NVIDIA-A10X"},
            "has a GPU that kaito does not know (nvidia.com/gpu.product=NVIDIA-A10X)",
            "Did you mean NVIDIA-A10",
        ),
        (
            {labels.GPU_PRODUCT: "NVIDIA-A10-SHARED"},
            "has GPUs that are shared (nvidia.com/gpu.product=NVIDIA-A10-SHARED)",
            "turn time-slicing or MIG off",
        ),
        (
            {**KNOWN_TYPE, labels.GPU_PRODUCT: "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb"},
            "has GPUs that are shared",
            "whole GPUs",
        ),
        (
            {labels.GPU_MEMORY: "11514"},
            "has nvidia.com/gpu.memory=11514 (MiB), where a whole NVIDIA A10 has 24 GiB",
            "whole GPUs",
        ),
    ],
)
def test_labels_that_cannot_be_sized_for(changed: dict[str, str], why: str, remedy: str) -> None:
    with pytest.raises(NotKnown) as error:
        offer({**A10_LABELS, **changed})
    assert str(error.value).startswith(why)
    assert remedy in error.value.remedy


@pytest.mark.parametrize("memory", ["", "unknown", "22731", "24576"])
def test_memory_a_little_below_the_brochures_is_normal(memory: str) -> None:
    assert offer({**A10_LABELS, labels.GPU_MEMORY: memory}).hardware == ("NVIDIA A10", 1)


def test_one_shape_for_each_kind_and_number_of_gpus() -> None:
    a10, t4 = offer(dict(A10_LABELS)), offer(dict(FOUR_T4_LABELS))
    by_type = offer({labels.INSTANCE_TYPE: A10})
    first, second = shapes_of([t4, by_type, a10, a10])
    assert (str(first), str(second)) == ("1 x NVIDIA A10", "4 x NVIDIA T4")
    assert first.alternatives == (by_type.by, a10.by)
    assert first.hardware == a10.hardware
    for found in (A10_LABELS, {labels.INSTANCE_TYPE: A10, "more": "labels"}):
        assert first.has(found)
    assert not first.has(FOUR_T4_LABELS)
    assert not first.has({**A10_LABELS, labels.GPU_COUNT: "2"})


def test_a_shape_of_one_known_type_is_sized_as_that_type() -> None:
    (shape,) = shapes_of([offer(dict(KNOWN_TYPE))] * 2)
    assert shape.instance_type is CATALOGUE.instance_type(A100)
    product = {labels.GPU_PRODUCT: "NVIDIA-A100-SXM4-80GB", labels.GPU_COUNT: "1"}
    (mixed,) = shapes_of([offer(dict(KNOWN_TYPE)), offer(product)])
    assert mixed.instance_type.name == "own node (1 x NVIDIA A100 80GB)"
    assert mixed.instance_type.gpu == shape.instance_type.gpu


@pytest.mark.parametrize("by_type", [False, True])
def test_what_is_written_down_is_read_again(by_type: bool) -> None:
    found = [
        offer({**UNKNOWN_TYPE, **A10_LABELS}, by_type=by_type),
        offer({labels.INSTANCE_TYPE: A10}, by_type=by_type),
    ]
    for offers in (found, found[:1], found[1:]):
        (shape,) = shapes_of(offers)
        assert parse_shape(shape.to_text(), CATALOGUE) == shape


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 x NVIDIA A10",
        f"{labels.GPU_PRODUCT}=NVIDIA-A10",
        f"{labels.GPU_PRODUCT}=NVIDIA-Unheard-Of,{labels.GPU_COUNT}=1",
        f"{labels.GPU_PRODUCT}=NVIDIA-A10,{labels.GPU_COUNT}=1",  # not in order
        f"{labels.GPU_COUNT}=1,{labels.GPU_PRODUCT}=NVIDIA-A10,team=a",
        f"{labels.INSTANCE_TYPE}={A10};{labels.INSTANCE_TYPE}={A100}",
    ],
)
def test_another_text_is_no_shape(text: str) -> None:
    assert parse_shape(text, CATALOGUE) is None


def test_every_gpu_of_the_catalogue_can_be_brought() -> None:
    for gpu in CATALOGUE.gpus:
        assert bool(gpu.products) == (gpu.vendor == "NVIDIA"), gpu.name
        for product in gpu.products:
            assert offer({labels.GPU_PRODUCT: product, labels.GPU_COUNT: "8"}).gpu is gpu
