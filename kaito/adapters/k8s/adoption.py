"""What KAITO v0.12 left running: recognised, marked, and kept until something else is wanted.

A StatefulSet or Job that the Workspace owns and that carries no mark of kaito's is KAITO's. It is
adopted by writing metadata only: in the place of the pod template's hash, the hash of the template
that kaito would have written, as `adopted-<hash>`. While that is what is wanted, its pods stay as
they are; once another template is wanted, the mark differs and the ordinary roll-out begins, which
overwrites it.
"""

from typing import Any, Final

from kaito.adapters.k8s.manifests import MANAGED_BY, Desired
from kaito.adapters.kube_api import JOB, KubeObject, annotations_of, labels_of
from kaito.domain import labels

_ADOPTED: Final = "adopted-"


def is_unmarked(live: KubeObject) -> bool:
    """Whether nothing on it says that kaito wrote or adopted it."""
    return labels.TEMPLATE_HASH not in annotations_of(live) and MANAGED_BY not in labels_of(live)


def is_inherited(want: Desired, live: KubeObject) -> bool:
    """Whether KAITO made `live`, the pods' owner, and what it was adopted for is still wanted."""
    return is_unmarked(live) or annotations_of(live).get(labels.TEMPLATE_HASH) == _mark(want)


def adoption_patch(want: Desired, live: KubeObject) -> dict[str, Any]:
    """The JSON merge patch that marks `live` as standing for `want`, at the version read.

    A Job is also told which generation and which config it stands for, as kaito's own are.
    """
    wanted = want.body["metadata"]
    annotations = {labels.TEMPLATE_HASH: _mark(want)}
    if labels.NODE_SHAPE in wanted["annotations"]:
        annotations[labels.NODE_SHAPE] = wanted["annotations"][labels.NODE_SHAPE]
    if want.resource is JOB:
        pods = want.body["spec"]["template"]["metadata"].get("annotations", {})
        annotations[labels.GENERATION] = wanted["annotations"][labels.GENERATION]
        annotations[labels.CONFIG_HASH] = pods.get(labels.CONFIG_HASH, "")
    return {
        "metadata": {
            "resourceVersion": live["metadata"]["resourceVersion"],
            "labels": dict(wanted["labels"]),
            "annotations": annotations,
        }
    }


def _mark(want: Desired) -> str:
    return f"{_ADOPTED}{want.body['metadata']['annotations'][labels.TEMPLATE_HASH]}"
