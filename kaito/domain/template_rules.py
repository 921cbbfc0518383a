"""Rules of `inference.template`, the pod template of a user's own.

What makes it a pod template, and what would contradict the machines that the Workspace asks for.
All else about a pod is for the API server and the cluster's Pod Security admission to judge.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from kaito.domain import labels, names
from kaito.domain.errors import Problem
from kaito.domain.names import did_you_mean
from kaito.domain.parsing import shown
from kaito.domain.workspace import InferenceSpec, LabelSelectorRequirement, Workspace

FIELD: Final = "inference.template"
DEFAULT_PORT: Final = 5000  # KAITO's Service always leads there
HTTP: Final = "http"

_LOOK: Final = "See kubectl explain pod.spec"
_REQUIRED_AFFINITY: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED_AFFINITY: Final = "preferredDuringSchedulingIgnoredDuringExecution"


def template_problems(workspace: Workspace, inference: InferenceSpec) -> Iterator[Problem]:
    """Every broken rule of the template, and of what stands beside it."""
    if inference.adapters:
        yield Problem(
            field="inference.adapters",
            message="are for presets: kaito does not know how the template loads them",
            remedy="Mount them in the template, or use inference.preset",
            rule="template-alone",
        )
    if inference.config:
        yield Problem(
            field="inference.config",
            message="is for presets: nothing in the template would read it",
            remedy="Mount the ConfigMap in the template, or use inference.preset",
            rule="template-alone",
        )
    template = inference.template or {}
    broken = list(_structure_problems(template))
    yield from broken
    if not broken:
        yield from _contradictions(workspace, template)


def service_port(template: Mapping[str, Any]) -> int:
    """The container port behind the Service: the one named http, else the first, else KAITO's."""
    ports = [port for one in template["spec"]["containers"] for port in one.get("ports") or ()]
    named = [port for port in ports if port.get("name") == HTTP]
    return int((named or ports)[0]["containerPort"]) if ports else DEFAULT_PORT


def required_terms(template: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The `nodeSelectorTerms` that the user requires; a Node has to be of one of them. Empty: he
    requires nothing."""
    affinity = (template["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    return list((affinity.get(_REQUIRED_AFFINITY) or {}).get("nodeSelectorTerms") or ())


def gpus_of(template: Mapping[str, Any]) -> int:
    """How many GPUs a pod asks for: its containers' limits together (init containers run before
    them and share theirs)."""
    found = 0
    for one in template["spec"]["containers"]:
        resources = one.get("resources") or {}
        for part in ("limits", "requests"):
            text = str((resources.get(part) or {}).get(labels.GPU_RESOURCE, ""))
            if text.isascii() and text.isdigit():
                found += int(text)
                break
    return found


def _structure_problems(template: Mapping[str, Any]) -> Iterator[Problem]:
    for key in template:
        if key not in {"metadata", "spec"}:
            remedy = did_you_mean(key, ("metadata", "spec"))
            yield Problem(
                field=f"{FIELD}.{key}",
                message="unknown key",
                remedy=remedy,
                rule="template-structure",
            )
    yield from _metadata_problems(template.get("metadata"))
    spec = template.get("spec")
    if not isinstance(spec, Mapping) or not spec:
        yield Problem(
            field=f"{FIELD}.spec",
            message="is required" if not spec else f"must be a mapping, got {shown(spec)}",
            remedy="Give a pod's spec, such as spec: {containers: [{name: server, image: ...}]}",
            rule="template-structure",
        )
        return
    yield from _containers_problems(spec)
    yield from _affinity_problems(spec)
    for key, kind, what in (
        ("nodeSelector", Mapping, "a mapping"),
        ("tolerations", list, "a list"),
    ):
        value = spec.get(key)
        is_list = kind is list and isinstance(value, list | tuple)
        if value is not None and not is_list and not isinstance(value, kind):
            yield Problem(
                field=f"{FIELD}.spec.{key}",
                message=f"must be {what}, got {shown(value)}",
                remedy=_LOOK,
                rule="template-structure",
            )
    if spec.get("restartPolicy") not in {None, "Always"}:
        yield Problem(
            field=f"{FIELD}.spec.restartPolicy",
            message=f"must be Always, got {shown(spec['restartPolicy'])}",
            remedy="Remove it: a StatefulSet keeps its pods running",
            rule="template-restart-policy",
        )
    if spec.get("nodeName"):
        yield Problem(
            field=f"{FIELD}.spec.nodeName",
            message="would put the pods past the scheduler, on a Node that kaito did not choose",
            remedy="Remove it, and say in resource where to run",
            rule="template-node-name",
        )


def _metadata_problems(metadata: Any) -> Iterator[Problem]:
    if metadata is None:
        return
    if not isinstance(metadata, Mapping):
        yield Problem(
            field=f"{FIELD}.metadata",
            message=f"must be a mapping, got {shown(metadata)}",
            rule="template-structure",
        )
        return
    for key in ("labels", "annotations"):
        found = metadata.get(key)
        if found is None:
            continue
        if not isinstance(found, Mapping) or not all(
            isinstance(one, str) for one in found.values()
        ):
            yield Problem(
                field=f"{FIELD}.metadata.{key}",
                message=f"must be a mapping of texts, got {shown(found)}",
                remedy="Put numbers, true and false in quotes",
                rule="template-structure",
            )


def _containers_problems(spec: Mapping[str, Any]) -> Iterator[Problem]:
    seen: set[str] = set()
    for key in ("initContainers", "containers"):
        found = spec.get(key)
        at = f"{FIELD}.spec.{key}"
        if found is None and key == "initContainers":
            continue
        if not isinstance(found, list | tuple) or not found:
            needs = "needs at least one container" if not found else "must be a list"
            yield Problem(
                field=at,
                message=f"{needs}, got {shown(found)}",
                remedy=_LOOK,
                rule="template-container",
            )
            continue
        for index, one in enumerate(found):
            yield from _container_problems(f"{at}[{index}]", one, seen)


def _container_problems(at: str, one: Any, seen: set[str]) -> Iterator[Problem]:
    if not isinstance(one, Mapping):
        yield Problem(
            field=at,
            message=f"must be a mapping, got {shown(one)}",
            remedy=_LOOK,
            rule="template-container",
        )
        return
    name, image = one.get("name"), one.get("image")
    if not isinstance(name, str) or not names.is_dns_label(name):
        yield Problem(
            field=f"{at}.name",
            message="is required" if name is None else f"{name!r} is not a DNS label",
            remedy="Use lower-case letters, digits and '-'",
            rule="template-container",
        )
    elif name in seen:
        yield Problem(
            field=f"{at}.name",
            message=f"{name!r} is there twice",
            remedy="Choose another name",
            rule="template-container",
        )
    else:
        seen.add(name)
    if not isinstance(image, str) or not image:
        yield Problem(
            field=f"{at}.image",
            message="is required" if not image else f"must be a text, got {shown(image)}",
            remedy="Use registry/repository:tag",
            rule="template-container",
        )
    elif not names.placeholders(image) and not names.is_image_reference(image):
        yield Problem(
            field=f"{at}.image",
            message=f"{image!r} is not an image reference",
            remedy="Use registry/repository:tag, the repository in lower case",
            rule="template-container",
        )
    if one.get("resources") is not None and not _are_amounts(one["resources"]):
        yield Problem(
            field=f"{at}.resources",
            message=f"must be limits and requests by name, got {shown(one['resources'])}",
            remedy=f"For example resources: {{limits: {{{labels.GPU_RESOURCE}: 1}}}}",
            rule="template-container",
        )
    ports = one.get("ports")
    if ports is not None and not _are_ports(ports):
        yield Problem(
            field=f"{at}.ports",
            message=f"must be a list of ports, got {shown(ports)}",
            remedy="For example ports: [{name: http, containerPort: 8000}]",
            rule="template-container",
        )


def _are_amounts(resources: Any) -> bool:
    parts = [resources.get(part) for part in ("limits", "requests")] if _is_map(resources) else [0]
    return all(part is None or _is_map(part) for part in parts)


def _are_ports(ports: Any) -> bool:
    return isinstance(ports, list | tuple) and all(
        _is_map(port)
        and isinstance(port.get("containerPort"), int)
        and 0 < port["containerPort"] < 2**16
        for port in ports
    )


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)


def _affinity_problems(spec: Mapping[str, Any]) -> Iterator[Problem]:
    """Only what kaito adds to: the Nodes that are required or preferred."""
    at, found = f"{FIELD}.spec.affinity", spec.get("affinity")
    for key in ("nodeAffinity", _REQUIRED_AFFINITY):
        if found is None:
            return
        if not isinstance(found, Mapping):
            yield Problem(
                field=at,
                message=f"must be a mapping, got {shown(found)}",
                remedy=_LOOK,
                rule="template-structure",
            )
            return
        if key == _REQUIRED_AFFINITY:
            yield from _preferred_problems(at, found.get(_PREFERRED_AFFINITY))
        at, found = f"{at}.{key}", found.get(key)
    if found is None:
        return
    terms = found.get("nodeSelectorTerms") if isinstance(found, Mapping) else None
    if not isinstance(terms, list | tuple) or not terms:
        message = f"needs nodeSelectorTerms, got {shown(found)}"
        yield Problem(field=at, message=message, remedy=_LOOK, rule="template-structure")
        return
    for index, term in enumerate(terms):
        if not _is_term(term):
            yield Problem(
                field=f"{at}.nodeSelectorTerms[{index}]",
                message=f"must have matchExpressions or matchFields, got {shown(term)}",
                remedy="An empty term is no Node's; remove it",
                rule="template-structure",
            )


def _preferred_problems(at: str, found: Any) -> Iterator[Problem]:
    if found is None:
        return
    if not isinstance(found, list | tuple) or not all(isinstance(one, Mapping) for one in found):
        yield Problem(
            field=f"{at}.{_PREFERRED_AFFINITY}",
            message=f"must be a list of weighted preferences, got {shown(found)}",
            remedy=_LOOK,
            rule="template-structure",
        )


def placing_keys(template: Mapping[str, Any]) -> set[str]:
    """Keys of labels by which its pods choose Nodes; of a template that is no such, none."""
    spec = template.get("spec")
    if not isinstance(spec, Mapping) or any(_structure_problems(template)):
        return set()
    found = set(spec.get("nodeSelector") or {})
    for term in required_terms(template):
        found |= {one["key"] for one in term.get("matchExpressions") or ()}
    return found


def _is_term(term: Any) -> bool:
    if not isinstance(term, Mapping):
        return False
    parts = [term.get(key) or [] for key in ("matchExpressions", "matchFields")]
    return any(parts) and all(
        isinstance(part, list | tuple) and all(_requirement(one) is not None for one in part)
        for part in parts
    )


def _requirement(one: Any) -> LabelSelectorRequirement | None:
    """The expression, where labels can be held against it; one that compares numbers counts as
    one that any label of that key keeps."""
    if isinstance(one, Mapping) and one.get("operator") in {"Gt", "Lt"}:
        one = {"key": one.get("key"), "operator": "Exists"}
    try:
        return LabelSelectorRequirement.model_validate(one)
    except ValidationError:
        return None


def _contradictions(workspace: Workspace, template: Mapping[str, Any]) -> Iterator[Problem]:
    metadata, spec = template.get("metadata") or {}, template["spec"]
    marks = {
        labels.WORKSPACE: workspace.name,
        labels.WORKSPACE_NAMESPACE: workspace.namespace,
    }
    for key, value in (metadata.get("labels") or {}).items():
        if marks.get(key, value) != value:
            yield Problem(
                field=f"{FIELD}.metadata.labels",
                message=f"{key} is {value!r}, but the pods belong to {marks[key]!r}",
                remedy="Remove it: kaito sets it",
                rule="template-labels",
            )
    wanted = _labels_of_nodes(workspace) | marks
    for key, value in (spec.get("nodeSelector") or {}).items():
        if key in wanted and not _is_same(key, str(value), wanted[key]):
            yield Problem(
                field=f"{FIELD}.spec.nodeSelector",
                message=f"asks for {key}={value}, the machines have {key}={wanted[key]}",
                remedy="Remove it: kaito puts the pods on the machines of this Workspace",
                rule="template-placement",
            )
    terms = required_terms(template)
    if terms and not any(_may_be(term, wanted) for term in terms):
        yield Problem(
            field=f"{FIELD}.spec.affinity.nodeAffinity.{_REQUIRED_AFFINITY}",
            message="excludes every machine of this Workspace: "
            + ", ".join(f"{key}={value}" for key, value in sorted(wanted.items())),
            remedy="Remove it: kaito puts the pods on the machines of this Workspace",
            rule="template-placement",
        )


def _labels_of_nodes(workspace: Workspace) -> dict[str, str]:
    """What is known of the Nodes before there are any."""
    resource = workspace.resource
    found = dict(workspace.node_labels)
    if resource.instance_type:
        found[labels.INSTANCE_TYPE] = resource.instance_type
    return found


def _is_same(key: str, value: str, wanted: str) -> bool:
    """Clouds ignore the case of a type's name."""
    if key == labels.INSTANCE_TYPE:
        return value.lower() == wanted.lower()
    return value == wanted


def _may_be(term: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Whether a Node with these labels may be of the term."""
    expressions: Sequence[Any] = term.get("matchExpressions") or ()
    found = [one for each in expressions if (one := _requirement(each)) is not None]
    return all(
        one.matches(wanted)
        for one in found
        if one.key in wanted and one.key != labels.INSTANCE_TYPE
    )
