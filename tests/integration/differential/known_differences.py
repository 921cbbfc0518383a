"""Where the servers differ for a reason that is not the twin's: the one table.

The twin is Kubernetes 1.28; most entries are what 1.20 lacks. An entry that no run comes across any
more must go.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.integration.differential.comparison import ABSENT, Difference

Values = Callable[[object, object], bool]


@dataclass(frozen=True, slots=True)
class KnownDifference:
    """One entry: at a path of these kinds that matches wholly, values as told.

    `path` is a regular expression over what is below the object, or below the answer for `result`
    and `error`. `ends`: the servers' states go apart, so that a program cannot go on. `is_all`: one
    server refused what the other did, and whatever else is different follows from that.
    """

    name: str
    reason: str
    kinds: tuple[str, ...]
    path: str
    values: Values
    ends: bool = False
    is_all: bool = False

    def covers(self, kind: str, difference: Difference) -> bool:
        """Whether this entry explains a difference of that kind of object."""
        return (
            kind in self.kinds
            and re.fullmatch(self.path, difference.path) is not None
            and self.values(difference.real, difference.twin)
        )


def _absent_in_real(real: object, twin: object) -> bool:
    return real == ABSENT and twin != ABSENT


def _absent_in_twin(real: object, twin: object) -> bool:
    return twin == ABSENT and real != ABSENT


def _one_of(*pairs: tuple[object, object]) -> Values:
    """`_FIELDS` stands for the causes of an invalid object."""

    def holds(real: object, twin: object) -> bool:
        its = _FIELDS if str(real).startswith(("spec.", "metadata.")) else real
        return (its, twin) in pairs

    return holds


def _without_index(real: object, twin: object) -> bool:
    """The twin's causes name the item of a list, the real ones only the list."""
    return isinstance(twin, str) and _causes(real) == _causes(re.sub(r"\[\d+\]", "", twin))


def _causes(text: object) -> set[str]:
    return set(re.sub(r"\[\d+\]", "", str(text)).split(", "))


_FIELDS: Final = "fields"
_NOTHING_AT_LABEL: Final = re.compile(r"nothing at '(app|tier|more)'")
_VERSION: Final = "metadata.resourceVersion"
_IN_OBJECT: Final = r"(.*\.)?"
_CUSTOM: Final = ("Workspace", "NodeClaim")
_BUILT_IN: Final = ("ConfigMap", "Pod", "Service", "StatefulSet", "Job", "Node")

KNOWN: Final[tuple[KnownDifference, ...]] = (
    KnownDifference(
        name="Service fields of dual stack",
        reason="ipFamilies and ipFamilyPolicy are on by default since 1.21",
        kinds=("Service",),
        path=_IN_OBJECT + r"spec\.ipFamil(ies|yPolicy)",
        values=_absent_in_real,
    ),
    KnownDifference(
        name="Service internalTrafficPolicy",
        reason="not in 1.20",
        kinds=("Service",),
        path=_IN_OBJECT + r"spec\.internalTrafficPolicy",
        values=_absent_in_real,
    ),
    KnownDifference(
        name="Service allocateLoadBalancerNodePorts",
        reason="on by default since 1.22",
        kinds=("Service",),
        path=_IN_OBJECT + r"spec\.allocateLoadBalancerNodePorts",
        values=_absent_in_real,
    ),
    KnownDifference(
        name="Service looked at before its version",
        reason="1.20 holds a write against the rules first, then against the stored version",
        kinds=("Service",),
        path=r"error\.(class|code|causes)",
        values=_one_of(
            ("InvalidObject", "ObjectConflict"),
            ("InvalidObject", "ObjectNotFound"),
            ("ObjectNotFound", "ObjectConflict"),
            (422, 409),
            (422, 404),
            (404, 409),
            (_FIELDS, ""),
        ),
    ),
    KnownDifference(
        name="Service written without a version",
        reason="in 1.20 an update must have the version",
        kinds=("Service",),
        path=r"error(\.causes)?|result|after.*",
        values=lambda real, twin: _VERSION in str(real) and _VERSION not in str(twin),
        ends=True,
        is_all=True,
    ),
    KnownDifference(
        name="StatefulSet persistentVolumeClaimRetentionPolicy",
        reason="on by default since 1.27",
        kinds=("StatefulSet",),
        path=_IN_OBJECT + r"spec\.persistentVolumeClaimRetentionPolicy",
        values=_absent_in_real,
    ),
    KnownDifference(
        name="StatefulSet availableReplicas",
        reason="not in 1.20",
        kinds=("StatefulSet",),
        path=_IN_OBJECT + r"status\.availableReplicas",
        values=_absent_in_real,
    ),
    KnownDifference(
        name="Job generation",
        reason="1.20 does not count it, and keeps a writer's number",
        kinds=("Job",),
        path=_IN_OBJECT + r"metadata\.generation",
        values=lambda real, twin: real in {ABSENT, 7, 8} and isinstance(twin, int),
    ),
    KnownDifference(
        name="Job completionMode and suspend",
        reason="not in 1.20",
        kinds=("Job",),
        path=_IN_OBJECT + r"spec\.(completionMode|suspend)",
        values=_absent_in_real,
    ),
    KnownDifference(
        name="Job labels with a domain",
        reason="batch.kubernetes.io/controller-uid and job-name are set since 1.27",
        kinds=("Job",),
        path=_IN_OBJECT + r"(labels|matchLabels)\.batch\.kubernetes\.io/(controller-uid|job-name)",
        values=_absent_in_real,
    ),
    KnownDifference(
        name="Job selector without a domain",
        reason="controller-uid in the selector became batch.kubernetes.io/controller-uid in 1.27",
        kinds=("Job",),
        path=_IN_OBJECT + r"matchLabels\.controller-uid",
        values=_absent_in_twin,
    ),
    KnownDifference(
        name="Job's first write",
        reason="a Job without labels gets its pods' when it is read; so the first write, even one"
        " that changes nothing, stores something new",
        kinds=("Job",),
        path=r"(result|after)\.metadata\.resourceVersion",
        values=_one_of(("<newer>", "<the same>")),
        ends=True,
    ),
    KnownDifference(
        name="causes without an index",
        reason="a schema's complaint in 1.20 does not say which item of a list it is about",
        kinds=("Workspace",),
        path=r"error\.causes",
        values=_without_index,
    ),
    KnownDifference(
        name="owner of an ignored status",
        reason="1.20 records a write as the owner of fields that are ignored in it, such as those"
        " of the status; so the version changes",
        kinds=(*_CUSTOM, *(kind for kind in _BUILT_IN if kind != "Job")),
        path=r"(result|after)\.metadata\.resourceVersion",
        values=_one_of(("<newer>", "<the same>")),
        ends=True,
    ),
    KnownDifference(
        name="JSON patch replaces what is not there",
        reason="1.20 adds a key that is not there",
        kinds=(*_CUSTOM, *_BUILT_IN),
        path=r"error|result|after.*",
        values=lambda real, twin: _NOTHING_AT_LABEL.search(str(twin)) is not None,
        ends=True,
        is_all=True,
    ),
    KnownDifference(
        name="version on create",
        reason="a real server answers 500, by an oversight; the twin says that it is the client's"
        " mistake (400)",
        kinds=(*_CUSTOM, *_BUILT_IN),
        path=r"error\.(class|code)",
        values=lambda real, twin: (
            (real, twin) in {("ServerUnavailable", "InvalidObject"), (500, 400)}
        ),
    ),
)
