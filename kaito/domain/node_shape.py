"""What a Node that a user brings offers, read from its labels.

The instance type says it where the catalogue knows it, else the labels of NVIDIA's GPU feature
discovery do. Labels are all there is to it, so that what a workload was sized for can be written
down as labels, looked for by the scheduler, and read again when the Nodes are gone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Final, TypeAlias

from kaito.domain import labels
from kaito.domain.catalogue import Catalogue, UnknownGpu, UnknownInstanceType
from kaito.domain.errors import DomainError
from kaito.domain.gpu import Gpu, InstanceType
from kaito.domain.partition import memory_label, sharing_label, slice_of
from kaito.domain.quantity import GIB, MIB

OWN_CLOUD: Final = "own"  # the cloud of an instance type that stands for Nodes that users bring

# What a card reports is a few percent less than the brochure's; a slice or a vGPU has far less.
_LEAST_MEMORY_SHARE: Final = Fraction(9, 10)

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Keys and values of labels, sorted."""


class NotTold(DomainError):
    """The Node's labels do not say what GPUs it has; the text goes on after its name."""


class NotKnown(DomainError):
    """They say something that kaito cannot size for; the text goes on after the Node's name."""

    def __init__(self, text: str, *, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The GPUs of a Node; `by` are the labels that tell of them."""

    gpu: Gpu
    count: int
    by: Labels
    instance_type: InstanceType | None = None

    def __str__(self) -> str:
        """Such as "2 x NVIDIA A10"."""
        return f"{self.count} x {self.gpu.name}"

    @property
    def hardware(self) -> tuple[str, int]:
        """What makes two Nodes alike."""
        return self.gpu.name, self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeShape:
    """Nodes with the same GPUs, which `instance_type` stands for. A Node is of this shape if it
    has all labels of one of `alternatives`."""

    instance_type: InstanceType
    alternatives: tuple[Labels, ...]

    @property
    def hardware(self) -> tuple[str, int]:
        """As of an offer."""
        return self.instance_type.gpu.name, self.instance_type.gpu_count

    def has(self, found: Mapping[str, str]) -> bool:
        """Whether a Node with these labels is of this shape."""
        return any(set(one) <= found.items() for one in self.alternatives)

    def to_text(self) -> str:
        """What `parse_shape` reads; labels hold none of the separators."""
        return ";".join(
            ",".join(f"{key}={value}" for key, value in one) for one in self.alternatives
        )

    def __str__(self) -> str:
        """Such as "2 x NVIDIA A10"."""
        return f"{self.instance_type.gpu_count} x {self.instance_type.gpu.name}"


def offer_of(
    found: Mapping[str, str], catalogue: Catalogue, *, by_type: bool = False, profile: str = ""
) -> Offer:
    """What a Node with these labels has: whole GPUs, or with a MIG `profile` one such slice.
    `by_type`: its instance type was asked for, and counts among the labels that tell.

    Raises: NotTold, NotKnown.
    """
    product = found.get(labels.GPU_PRODUCT, "")
    if profile:
        return _slice_offer(found, catalogue, product, profile, by_type=by_type)
    if product.endswith("-SHARED") or "-MIG-" in product:
        raise NotKnown(
            f"has GPUs that are shared ({labels.GPU_PRODUCT}={product})",
            remedy="kaito gives a model whole GPUs: turn time-slicing or MIG off on that Node",
        )
    named = {labels.INSTANCE_TYPE: found.get(labels.INSTANCE_TYPE, "")}
    try:
        known = catalogue.instance_type(named[labels.INSTANCE_TYPE])
    except UnknownInstanceType:
        gpu, count = _discovered(found, catalogue)
        by = {labels.GPU_PRODUCT: product, labels.GPU_COUNT: found[labels.GPU_COUNT]}
        return Offer(gpu=gpu, count=count, by=_sorted(by | named if by_type else by))
    return Offer(gpu=known.gpu, count=known.gpu_count, by=_sorted(named), instance_type=known)


def shapes_of(offers: Iterable[Offer]) -> list[NodeShape]:
    """One shape for each kind and number of GPUs, in order of the GPU's name and number."""
    ordered = sorted(offers, key=lambda one: one.hardware)
    return [_shape(list(same)) for _, same in groupby(ordered, key=lambda one: one.hardware)]


def parse_shape(text: str, catalogue: Catalogue, profile: str = "") -> NodeShape | None:
    """The shape, of the MIG profile if one is asked for, that `to_text` wrote down; None of any
    other text, or when the catalogue no longer knows its GPUs."""
    offers: list[Offer] = []
    for part in text.split(";"):
        found = {key: value for key, _, value in (pair.partition("=") for pair in part.split(","))}
        try:
            by_type = labels.INSTANCE_TYPE in found
            offer = offer_of(found, catalogue, by_type=by_type, profile=profile)
        except (NotTold, NotKnown):
            return None
        offers.append(offer)
    shapes = shapes_of(offers)
    return shapes[0] if len(shapes) == 1 and shapes[0].to_text() == text else None


def _slice_offer(
    found: Mapping[str, str], catalogue: Catalogue, product: str, profile: str, *, by_type: bool
) -> Offer:
    """One slice, by the labels of the strategy "mixed". Raises: NotTold, NotKnown."""
    if "-MIG-" in product:
        raise NotKnown(
            f"offers its slices as {labels.GPU_RESOURCE} ({labels.GPU_PRODUCT}={product})",
            remedy="Set MIG_STRATEGY=mixed for the device plugin and GPU feature discovery",
        )
    if found.get(sharing_label(profile), "").endswith("-SHARED"):
        raise NotKnown(
            f"has slices that are shared ({sharing_label(profile)})",
            remedy="kaito gives a model a whole slice: turn time-slicing off on that Node",
        )
    by = {labels.GPU_PRODUCT: product, memory_label(profile): found.get(memory_label(profile), "")}
    missing = next((key for key, value in by.items() if not value), None)
    if missing is not None:
        raise NotTold(f"has no label {missing}")
    memory = by[memory_label(profile)]
    try:
        card = catalogue.gpu_product(product)
    except UnknownGpu as error:
        text = f"has a GPU that kaito does not know ({labels.GPU_PRODUCT}={product})"
        raise NotKnown(text, remedy=error.remedy) from error
    gpu = slice_of(card, profile, int(memory)) if _is_number(memory) else None
    if gpu is None:
        profiles = ", ".join(name for name, _ in card.mig_memory_eighths) or "none"
        raise NotKnown(
            f"has {memory_label(profile)}={memory} (MiB), which no {card.name} has",
            remedy=f"Correct the label; its MIG profiles: {profiles}",
        )
    named = {labels.INSTANCE_TYPE: found.get(labels.INSTANCE_TYPE, "")} if by_type else {}
    return Offer(gpu=gpu, count=1, by=_sorted(by | named))


def _discovered(found: Mapping[str, str], catalogue: Catalogue) -> tuple[Gpu, int]:
    """Kind and number of GPUs by NVIDIA's labels. Raises: NotTold, NotKnown."""
    product, count = found.get(labels.GPU_PRODUCT, ""), found.get(labels.GPU_COUNT, "")
    if not product or not count:
        raise NotTold(f"has no label {labels.GPU_COUNT if product else labels.GPU_PRODUCT}")
    if not _is_number(count):
        raise NotTold(f"has {labels.GPU_COUNT}={count}")
    try:
        gpu = catalogue.gpu_product(product)
    except UnknownGpu as error:
        text = f"has a GPU that kaito does not know ({labels.GPU_PRODUCT}={product})"
        raise NotKnown(text, remedy=error.remedy) from error
    memory = found.get(labels.GPU_MEMORY, "")
    if _is_number(memory) and int(memory) * MIB < gpu.memory_bytes * _LEAST_MEMORY_SHARE:
        raise NotKnown(
            f"has {labels.GPU_MEMORY}={memory} (MiB), where a whole {gpu.name} has "
            f"{gpu.memory_bytes // GIB} GiB",
            remedy="kaito gives a model whole GPUs: remove the slices, or correct the label",
        )
    return gpu, int(count)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def _sorted(found: Mapping[str, str]) -> Labels:
    return tuple(sorted(found.items()))


def _shape(same: Sequence[Offer]) -> NodeShape:
    types = {one.instance_type.name if one.instance_type else "": one for one in same}
    only = next(iter(types.values())).instance_type if len(types) == 1 else None
    return NodeShape(
        instance_type=only or _stand_in(same[0]),
        alternatives=tuple(sorted({one.by for one in same})),
    )


def _stand_in(offer: Offer) -> InstanceType:
    """An instance type for Nodes of which only the GPUs are known."""
    return InstanceType(
        name=f"own node ({offer})",
        cloud=OWN_CLOUD,
        gpu=offer.gpu,
        gpu_count=offer.count,
        nvme=False,
        vcpus=0,
        memory_bytes=0,
        source="labels of the Node",
    )
