"""The Nodes that users bring: which of them a Workspace can use, and what it is sized for.

Pure, and the same in whatever order the Nodes come. A bad Node is left out and does not hold up
the good ones. A workload keeps the shape of Nodes that it was made for, which is written on it: it
is neither changed nor moved because Nodes come and go. Who wants it on other Nodes deletes it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kaito.domain import labels
from kaito.domain.catalogue import Catalogue
from kaito.domain.cluster_view import ClusterView
from kaito.domain.errors import Problem
from kaito.domain.machine import NodeView, Taint
from kaito.domain.node_shape import (
    NodeShape,
    NotKnown,
    NotTold,
    Offer,
    offer_of,
    parse_shape,
    shapes_of,
)
from kaito.domain.partition import gpu_resource, mig_profile, shared, whole_gpus
from kaito.domain.workspace import Workspace

NOT_FOUND: Final = "NodesNotFound"
NOT_READY: Final = "NodesNotReady"
WITHOUT_GPUS: Final = "NodesWithoutGpus"
UNKNOWN_GPU: Final = "UnknownGpu"
AMBIGUOUS: Final = "AmbiguousNodes"
NODE_REASONS: Final = frozenset({NOT_FOUND, NOT_READY, WITHOUT_GPUS, UNKNOWN_GPU, AMBIGUOUS})

_NAMED_NODES: Final = 5
_BLOCKING_EFFECTS: Final = frozenset({"NoSchedule", "NoExecute"})
# What passes by itself comes before what needs a human.
_BY_URGENCY: Final = (NOT_READY, WITHOUT_GPUS, UNKNOWN_GPU, NOT_FOUND)
_INSTALL: Final = (
    "Install the NVIDIA GPU operator, or on that Node the driver, the device plugin and GPU "
    "feature discovery"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Why there are no more Nodes to use."""

    reason: str
    problem: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNodes:
    """What a Workspace's selector finds: `usable` are the names of Nodes of one shape, the
    preferred ones first. Without a shape there is nothing to size for, and `missing` says why."""

    shape: NodeShape | None
    usable: tuple[str, ...]
    missing: Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trouble:
    """Why a Node is of no use; `text` goes on after its name."""

    reason: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A Node that is selected: what it offers, where that is known, and what is wrong with it."""

    node: NodeView
    offer: Offer | None = None
    trouble: _Trouble | None = None

    @property
    def usable_offer(self) -> Offer | None:
        return self.offer if self.trouble is None else None


def find_nodes(workspace: Workspace, cluster: ClusterView, catalogue: Catalogue) -> OwnNodes:
    """The Nodes that the Workspace may run on, of the shape that its workload was made for.

    Where none is made yet: of the only shape that usable Nodes have. If they have several, the
    Nodes that its pods run on decide, then the preferred ones.
    """
    selector, asked = workspace.resource.label_selector, workspace.resource.instance_type
    by_name = sorted(cluster.nodes, key=lambda node: node.name)
    selected = [node for node in by_name if selector.matches(node.labels)]
    serving = {pod.node_name for pod in cluster.pods if not pod.deleting}
    found = [
        _judge(node, catalogue, workspace, serves=node.name in serving)
        for node in selected
        if _is_of_type(node.labels.get(labels.INSTANCE_TYPE, ""), asked)
    ]
    profile = mig_profile(workspace.resource.partition)
    made_for = _still_asked(parse_shape(cluster.made_for, catalogue, profile), asked)
    if made_for is not None:
        return _of_shape(workspace, made_for, found, is_made=True)
    shapes = _shapes(found)
    for named in (serving, set(workspace.resource.preferred_nodes)):
        here = _shapes(one for one in found if one.node.name in named)
        if len(here) == 1:
            shapes = [one for one in shapes if one.hardware == here[0].hardware]
            break
    if len(shapes) == 1:
        return _of_shape(workspace, shapes[0], found, is_made=False)
    if shapes:
        missing = _ambiguous(workspace, shapes, found)
    elif found:
        missing = _troubled([(one.node.name, one.trouble) for one in found if one.trouble])
    else:
        missing = _not_found(workspace, selected)
    return OwnNodes(shape=None, usable=(), missing=missing)


def _is_of_type(name: str, asked: str) -> bool:
    """Clouds ignore the case of a type's name."""
    return not asked or name.lower() == asked.lower()


def _still_asked(shape: NodeShape | None, asked: str) -> NodeShape | None:
    """The shape, unless the Workspace asks for another instance type since."""
    if shape is None or not asked:
        return shape
    types = [dict(one).get(labels.INSTANCE_TYPE, "") for one in shape.alternatives]
    return shape if all(_is_of_type(name, asked) for name in types) else None


def _shapes(found: Iterable[_Candidate]) -> list[NodeShape]:
    """Of the usable ones."""
    return shapes_of(one.usable_offer for one in found if one.usable_offer is not None)


def _judge(
    node: NodeView, catalogue: Catalogue, workspace: Workspace, *, serves: bool
) -> _Candidate:
    closed = _closed(node, serves=serves)
    asked, partition = workspace.resource.instance_type, workspace.resource.partition
    profile = mig_profile(partition)
    try:
        offer = offer_of(node.labels, catalogue, by_type=bool(asked), profile=profile)
    except NotTold as error:
        trouble = _Trouble(reason=WITHOUT_GPUS, text=str(error), remedy=_INSTALL)
        return _Candidate(node=node, trouble=closed or trouble)
    except NotKnown as error:
        trouble = _Trouble(reason=UNKNOWN_GPU, text=str(error), remedy=error.remedy)
        return _Candidate(node=node, trouble=closed or trouble)
    there, needed = node.allocatable(gpu_resource(profile)), whole_gpus(partition) or offer.count
    if closed is None and offer.count < needed:
        text = f"has {offer}, fewer than the {needed} of resource.partition"
        closed = _Trouble(reason=WITHOUT_GPUS, text=text, remedy=_more(workspace))
    elif closed is None and there < needed:
        text = f"has {offer}, of which {there} can be allocated"
        closed = _Trouble(reason=WITHOUT_GPUS, text=text, remedy=_INSTALL)
    return _Candidate(node=node, offer=offer, trouble=closed)


def _closed(node: NodeView, *, serves: bool) -> _Trouble | None:
    """Why no pod can run there now. What keeps only new pods off does not count where one of the
    Workspace's runs."""
    if node.deleting or not node.ready:
        remedy = f"See kubectl describe node {node.name}"
        return _Trouble(reason=NOT_READY, text="is not ready", remedy=remedy)
    if serves:
        return None
    if node.cordoned:
        remedy = f"kubectl uncordon {node.name}"
        return _Trouble(reason=NOT_READY, text="is cordoned", remedy=remedy)
    taint = next((one for one in node.taints if not _is_tolerated(one)), None)
    if taint is None:
        return None
    text = f"has the taint {taint}, which the pods do not tolerate"
    remedy = f"kubectl taint node {node.name} {taint}-"
    return _Trouble(reason=NOT_READY, text=text, remedy=remedy)


def _is_tolerated(taint: Taint) -> bool:
    """Whether the workload's tolerations are for it, or it keeps no pod off."""
    own = Taint(key=labels.GPU_TAINT_KEY, value=labels.GPU_TAINT_VALUE, effect="NoSchedule")
    is_harmless = taint.effect not in _BLOCKING_EFFECTS
    return is_harmless or taint.key == labels.GPU_RESOURCE or taint == own


def _of_shape(
    workspace: Workspace, shape: NodeShape, found: Sequence[_Candidate], *, is_made: bool
) -> OwnNodes:
    preferred = list(dict.fromkeys(workspace.resource.preferred_nodes))
    rank = {name: place for place, name in enumerate(preferred)}
    usable, told = [], []
    for one in found:
        name = one.node.name
        if one.trouble is not None:
            told.append((name, one.trouble))
        elif shape.has(one.node.labels):
            usable.append(name)
        else:
            told.append((name, _other_shape(workspace, one.offer, is_made=is_made)))
    usable.sort(key=lambda name: (rank.get(name, len(rank)), name))
    missing = _troubled(told) if told else _no_others(workspace)
    return OwnNodes(shape=_sized_for(workspace, shape), usable=tuple(usable), missing=missing)


def _sized_for(workspace: Workspace, shape: NodeShape) -> NodeShape:
    """The shape with the GPUs that the model may have, where its Nodes have so many."""
    partition = workspace.resource.partition
    if whole_gpus(partition) > shape.instance_type.gpu_count:
        return shape
    return replace(shape, instance_type=shared(shape.instance_type, partition))


def _other_shape(workspace: Workspace, offer: Offer | None, *, is_made: bool) -> _Trouble:
    kind = "StatefulSet" if workspace.tuning is None else "Job"
    remedy = f"Delete the {kind} {workspace.name} to have it sized for other Nodes"
    return _Trouble(
        reason=NOT_FOUND, text=f"has {offer}", remedy=remedy if is_made else _more(workspace)
    )


def _troubled(told: Sequence[tuple[str, _Trouble]]) -> Missing:
    """What is wrong with Nodes, the most hopeful first."""
    ordered = sorted(told, key=lambda one: (_BY_URGENCY.index(one[1].reason), one[0]))
    first = ordered[0][1]
    texts = [f"{name} {trouble.text}" for name, trouble in ordered]
    return _missing(first.reason, _some(texts, "; "), first.remedy, field="")


def _ambiguous(
    workspace: Workspace, shapes: Sequence[NodeShape], found: Sequence[_Candidate]
) -> Missing:
    texts = []
    for shape in shapes:
        names = [
            one.node.name for one in found if one.trouble is None and shape.has(one.node.labels)
        ]
        (key, value), *_ = _telling(shape)
        texts.append(f"{shape} ({key}={value}): {_some(names, ', ')}")
    (key, value), *_ = _telling(shapes[0])
    return _missing(
        AMBIGUOUS,
        f"the Nodes with {workspace.resource.label_selector} have different GPUs: "
        f"{'; '.join(texts)}",
        "Name Nodes of one kind in resource.preferredNodes, or take a label off the others, or "
        f"make the Workspace anew with a label such as {key}: {value} among its matchLabels",
    )


def _telling(shape: NodeShape) -> list[tuple[str, str]]:
    """Labels that only Nodes of that shape have, the most telling first."""
    by_key = dict(shape.alternatives[0])
    order = (labels.GPU_PRODUCT, labels.INSTANCE_TYPE)
    return [(key, by_key[key]) for key in order if key in by_key]


def _not_found(workspace: Workspace, selected: Sequence[NodeView]) -> Missing:
    selector, asked = workspace.resource.label_selector, workspace.resource.instance_type
    if not selected:
        return _missing(NOT_FOUND, f"no Node has {selector}", _more(workspace))
    types = [
        f"{node.name} is {node.labels.get(labels.INSTANCE_TYPE) or 'of no type'}"
        for node in selected
    ]
    return _missing(
        NOT_FOUND,
        f"no Node with {selector} has {labels.INSTANCE_TYPE}={asked}: {_some(types, ', ')}",
        "Label a Node of that type, or make the Workspace anew without resource.instanceType",
    )


def _no_others(workspace: Workspace) -> Missing:
    text = f"no other Node has {workspace.resource.label_selector}"
    return _missing(NOT_FOUND, text, _more(workspace))


def _more(workspace: Workspace) -> str:
    wanted = workspace.resource.label_selector.match_labels
    pairs = " ".join(f"{key}={value}" for key, value in sorted(wanted.items()))
    return f"Label GPU Nodes: kubectl label node NAME {pairs or 'KEY=VALUE'}"


def _missing(
    reason: str, message: str, remedy: str, field: str = "resource.labelSelector"
) -> Missing:
    problem = Problem(field=field, message=message, remedy=remedy, rule="own-nodes")
    return Missing(reason=reason, problem=problem)


def _some(texts: Sequence[str], between: str) -> str:
    left = len(texts) - _NAMED_NODES
    more = f" and {left} more" if left > 0 else ""
    return between.join(texts[:_NAMED_NODES]) + more
