"""What the API server refuses in built-in kinds, as far as kaito's own objects come near it."""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from kaito.adapters.fake.api_errors import Problem
from kaito.adapters.fake.object_meta import label_key_problem, label_problems
from kaito.adapters.kube_api import JOB, STATEFUL_SET, KubeObject, Resource

Spec = Mapping[str, Any]

_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DATA_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_PORTS: Final = range(1, 65536)
_POD_IMMUTABLE: Final = (
    "spec",
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    " `spec.initContainers[*].image`, `spec.activeDeadlineSeconds`, `spec.tolerations` (only"
    " additions to existing tolerations) or `spec.terminationGracePeriodSeconds`",
)
_NOT_NEGATIVE: Final = "must be greater than or equal to 0"
_COUNTS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    (STATEFUL_SET.group, STATEFUL_SET.plural): (
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
    ),
    (JOB.group, JOB.plural): ("active", "succeeded", "failed"),
}


def config_map_problems(config_map: KubeObject) -> list[Problem]:
    """Keys that cannot be file names, or that are there twice."""
    text, binary = config_map.get("data") or {}, config_map.get("binaryData") or {}
    found = [
        Problem(
            f"{field}[{key}]",
            f'Invalid value: "{key}": a valid config key must consist of'
            " alphanumeric characters, '-', '_' or '.'",
        )
        for field, data in (("data", text), ("binaryData", binary))
        for key in data
        if not _DATA_KEY.fullmatch(key) or key in {".", ".."}
    ]
    both = [key for key in text if key in binary]
    return [*found, *(Problem(f"data[{key}]", "Invalid value: duplicate key") for key in both)]


def frozen_config_map_problems(config_map: KubeObject, old: KubeObject) -> list[Problem]:
    """What may not change once a ConfigMap says that it is immutable."""
    if not old.get("immutable"):
        return []
    detail = "Forbidden: field is immutable when `immutable` is set"
    found = [] if config_map.get("immutable") else [Problem("immutable", detail)]
    return found + [
        Problem(field, detail)
        for field in ("data", "binaryData")
        if (config_map.get(field) or {}) != (old.get(field) or {})
    ]


def pod_problems(spec: Spec, field: str) -> list[Problem]:
    """What is wrong with a pod, or with the pod in a template."""
    problems = list(_container_problems(spec, field))
    if not spec.get("containers"):
        problems.append(Problem(f"{field}.containers", "Required value"))
    problems += _unsupported(
        spec.get("restartPolicy"), ("Always", "OnFailure", "Never"), f"{field}.restartPolicy"
    )
    return problems


def pod_change_problems(spec: Spec, before: Spec) -> list[Problem]:
    """What may not change in a pod: all but images, deadlines, and tolerations that come on top."""
    for key in ("containers", "initContainers"):
        if len(spec.get(key, ())) != len(before.get(key, ())):
            detail = "Forbidden: pod updates may not add or remove containers"
            return [Problem(f"spec.{key}", detail)]
    problems = _deadline_problems(spec.get("activeDeadlineSeconds"), before)
    left = [_without_limit(one) for one in spec.get("tolerations", ())]
    if not all(_without_limit(one) in left for one in before.get("tolerations", ())):
        words = "existing toleration can not be modified except its tolerationSeconds"
        problems.append(Problem("spec.tolerations", f"Forbidden: {words}"))
    if _fixed(spec, before) != _fixed(before, before):
        problems.append(Problem(*_POD_IMMUTABLE))
    return problems


def _deadline_problems(limit_s: int | None, before: Spec) -> list[Problem]:
    """A pod's deadline may come, and come nearer."""
    former_s = before.get("activeDeadlineSeconds")
    field = "spec.activeDeadlineSeconds"
    if limit_s is not None and limit_s < 0:
        return [Problem(field, f"Invalid value: {limit_s}: {_NOT_NEGATIVE}")]
    if former_s is None or (limit_s is not None and limit_s <= former_s):
        return []
    if limit_s is None:
        return [
            Problem(field, "Invalid value: must not update from a positive integer to nil value")
        ]
    return [
        Problem(field, f"Invalid value: {limit_s}: must be less than or equal to previous value")
    ]


def _fixed(spec: Spec, before: Spec) -> Mapping[str, Any]:
    """The part of a pod that stays as it is."""
    free = ["activeDeadlineSeconds", "terminationGracePeriodSeconds", "schedulingGates"]
    free.append("tolerations")
    if not before.get("nodeName"):  # binding; the real server has a sub-resource of its own for it
        free.append("nodeName")
    fixed = {key: value for key, value in spec.items() if key not in free}
    for key in ("containers", "initContainers"):
        fixed[key] = [{**one, "image": ""} for one in spec.get(key, ())]
    return fixed


def stateful_set_problems(spec: Spec) -> list[Problem]:
    """What is wrong with a StatefulSet: nobody looks at its pods before they are made."""
    labels = spec["template"]["metadata"].get("labels", {})
    problems = [*label_problems(labels, "spec.template.labels"), *selector_problems(spec)]
    policy = spec["template"]["spec"]["restartPolicy"]
    problems += _unsupported(policy, ("Always",), "spec.template.spec.restartPolicy")
    problems += _negative(spec, ("replicas",))
    policy = spec["podManagementPolicy"]
    if policy not in {"OrderedReady", "Parallel"}:
        words = f"Invalid value: \"{policy}\": must be 'OrderedReady' or 'Parallel'"
        problems.append(Problem("spec.podManagementPolicy", words))
    kind = spec["updateStrategy"]["type"]
    if kind not in {"OnDelete", "RollingUpdate"}:
        words = f"Invalid value: \"{kind}\": must be 'RollingUpdate' or 'OnDelete'"
        problems.append(Problem("spec.updateStrategy", words))
    return problems


def job_problems(spec: Spec) -> list[Problem]:
    """What is wrong with a Job."""
    template = spec["template"]
    labels = template["metadata"].get("labels", {})
    problems = [
        *_negative(spec, ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds")),
        *label_problems(labels, "spec.template.labels"),
        *pod_problems(template["spec"], "spec.template.spec"),
        *selector_problems(spec),
    ]
    if template["spec"]["restartPolicy"] not in {"OnFailure", "Never"}:
        detail = 'Required value: valid values: "OnFailure", "Never"'
        problems.append(Problem("spec.template.spec.restartPolicy", detail))
    elif "podFailurePolicy" in spec and template["spec"]["restartPolicy"] != "Never":
        detail = (
            'Invalid value: "OnFailure": only "Never" is supported when podFailurePolicy is '
            "specified"
        )
        problems.append(Problem("spec.template.spec.restartPolicy", detail))
    return problems


def selector_problems(spec: Spec) -> list[Problem]:
    """A workload's selector is there, and fits the labels of its pods."""
    problems = [] if "selector" in spec else [Problem("spec.selector", "Required value")]
    wanted = spec.get("selector", {}).get("matchLabels", {})
    labels = spec["template"]["metadata"].get("labels", {})
    if problems or any(labels.get(key) != wanted[key] for key in wanted):
        words = "`selector` does not match template `labels`"
        detail = f"Invalid value: {dict(labels)}: {words}"
        problems.append(Problem("spec.template.metadata.labels", detail))
    return problems


def node_problems(spec: Spec) -> list[Problem]:
    """What is wrong with a Node; its taints count as metadata."""
    problems: list[Problem] = []
    for index, taint in enumerate(spec.get("taints", ())):
        field = f"metadata.taints[{index}]"
        detail = label_key_problem(taint.get("key", ""))
        if detail:
            problems.append(Problem(f"{field}.key", f'Invalid value: "{taint["key"]}": {detail}'))
        effects = ("NoSchedule", "PreferNoSchedule", "NoExecute")
        problems += _unsupported(taint.get("effect"), effects, f"{field}.effect")
    return problems


def node_change_problems(spec: Spec, before: Spec) -> list[Problem]:
    """What may not change in a Node: nearly everything, once it is set."""
    found = [
        Problem(
            f"spec.{key}", f'Forbidden: node updates may not change {name} except from "" to valid'
        )
        for key, name in (("providerID", "providerID"), ("podCIDRs", "podCIDR"))
        if before.get(key) and spec.get(key) != before[key]
    ]
    free = {"taints", "unschedulable", "podCIDR", "podCIDRs", "providerID"}
    fixed = [{key: one[key] for key in one if key not in free} for one in (spec, before)]
    if fixed[0] != fixed[1] or any(problem.field == "spec.providerID" for problem in found):
        detail = "Forbidden: node updates may only change labels, taints, or capacity"
        found.append(Problem("[]", detail))
    return found


def service_problems(spec: Spec) -> list[Problem]:
    """What is wrong with a Service."""
    ports, kind = spec.get("ports", ()), spec["type"]
    known = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    problems = _unsupported(kind, known, "spec.type")
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        problems.append(Problem("spec.ports", "Required value"))
    if spec.get("clusterIP") == "None" and kind in {"NodePort", "LoadBalancer"}:
        detail = f"Invalid value: \"None\": may not be set to 'None' for {kind} services"
        problems.append(Problem("spec.clusterIPs[0]", detail))
    for index, port in enumerate(ports):
        problems += _port_problems(port, f"spec.ports[{index}]", named=len(ports) > 1)
    address = spec.get("clusterIP")
    if address not in {None, "", "None"} and not _is_address(address):
        words = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        problems.append(Problem("spec.clusterIPs[0]", f'Invalid value: "{address}": {words}'))
    return problems


def status_count_problems(resource: Resource, status: Mapping[str, Any]) -> list[Problem]:
    """Counts in the status of a StatefulSet or a Job that cannot be."""
    names = _COUNTS.get((resource.group, resource.plural), ())
    problems = _negative(status, names, "status")
    total = status.get("replicas")
    if resource.plural == STATEFUL_SET.plural and isinstance(total, int):
        problems += [
            Problem(f"status.{name}", "Invalid value: cannot be greater than status.replicas")
            for name in names
            if status.get(name, 0) > total
        ]
    return problems


def _container_problems(spec: Spec, field: str) -> Iterator[Problem]:
    names: list[str] = []
    for key in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(key, ())):
            where = f"{field}.{key}[{index}]"
            for part in ("name", "image"):
                if not container.get(part):
                    yield Problem(f"{where}.{part}", "Required value")
            name = container.get("name")
            if name in names:
                yield Problem(f"{where}.name", f'Duplicate value: "{name}"')
            elif name and not _DNS_LABEL.fullmatch(name):
                words = "a lowercase RFC 1123 label must consist of lower case alphanumeric"
                yield Problem(
                    f"{where}.name",
                    f"Invalid value: \"{name}\": {words} characters or '-', and must start and end"
                    " with an alphanumeric character",
                )
            names.append(name)


def _port_problems(port: Spec, field: str, *, named: bool) -> Iterator[Problem]:
    if named and not port.get("name"):
        yield Problem(f"{field}.name", "Required value")
    for key in ("port", "targetPort"):
        number = port.get(key) or 0
        if isinstance(number, int) and number not in _PORTS:
            words = "must be between 1 and 65535, inclusive"
            yield Problem(f"{field}.{key}", f"Invalid value: {number}: {words}")
    yield from _unsupported(port["protocol"], ("SCTP", "TCP", "UDP"), f"{field}.protocol")


def _unsupported(given: object, known: Sequence[str], field: str) -> list[Problem]:
    if given in known:
        return []
    names = ", ".join(f'"{name}"' for name in known)
    return [Problem(field, f'Unsupported value: "{given}": supported values: {names}')]


def _negative(values: Spec, names: Iterable[str], field: str = "spec") -> list[Problem]:
    return [
        Problem(f"{field}.{name}", f"Invalid value: {values[name]}: {_NOT_NEGATIVE}")
        for name in names
        if isinstance(values.get(name), int) and values[name] < 0
    ]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _without_limit(toleration: Spec) -> Mapping[str, Any]:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}
