"""The InferenceSet: several Workspaces of one template. It is parsed and checked, for v1alpha1 and
v1beta1 alike, and nothing acts on it yet (KAITO api/v1beta1/inferenceset_types.go).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StrictInt, ValidationError

from kaito.domain.catalogue import Catalogue
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.parsing import newer_fields, problems_of
from kaito.domain.provisioner import Provisioner
from kaito.domain.schedule import is_cron, is_positive_duration
from kaito.domain.validation import MAX_SERVED_NAME_CHARS, validate
from kaito.domain.workspace import (
    GROUP,
    SINCE_V1BETA1,
    VERSIONS,
    InferenceSpec,
    LabelSelector,
    ObjectMeta,
    Part,
    Partition,
    Workspace,
)

KIND: Final = "InferenceSet"
# A Workspace is named after its InferenceSet, with a dash and five letters that the server adds.
MAX_NAME_CHARS: Final = MAX_SERVED_NAME_CHARS - 6
# Where the parts of a Workspace stand in an InferenceSet; the first that fits counts.
_PLACES: Final = (
    ("resource.labelSelector", "spec.labelSelector"),
    ("resource", "spec.template.resource"),
    ("inference", "spec.template.inference"),
    ("metadata.annotations", "spec.template.metadata.annotations"),
)
# KAITO's v1alpha1 has v1beta1's InferenceSpec there (api/v1alpha1/inferenceset_types.go).
_IN_BOTH_VERSIONS: Final = "spec.template.inference."


class InferenceSetResource(Part):
    """The machines of each Workspace."""

    instance_type: str = ""
    partition: Partition | None = Field(None, json_schema_extra=SINCE_V1BETA1)


class InferenceSetTemplate(Part):
    """What each Workspace looks like."""

    metadata: Mapping[str, Any] = Field(default_factory=dict)
    resource: InferenceSetResource = InferenceSetResource()
    inference: InferenceSpec = Field(description="What to serve, as in a Workspace.")


class MaintenanceWindow(Part):
    """When upgrades may begin."""

    schedule: str = Field(description="Cron expression of five fields, in UTC.")
    duration: str = "4h"


class AutoUpgrade(Part):
    """Upgrades of the engine's image."""

    enabled: bool = False
    strategy: Literal["InPlace", "Surge"] = "InPlace"
    maintenance_window: MaintenanceWindow | None = None


class InferenceSetSpec(Part):
    """How many Workspaces, and of which template."""

    replicas: Annotated[StrictInt, Field(ge=0)] = 1
    node_count_limit: Annotated[StrictInt, Field(ge=0)] | None = None
    label_selector: LabelSelector = Field(description="Labels that the machines get.")
    template: InferenceSetTemplate = Field(description="What each Workspace looks like.")
    update_strategy: Mapping[str, Any] | None = None
    auto_upgrade: AutoUpgrade | None = None


class InferenceSet(Part):
    """Several Workspaces that serve one model."""

    metadata: ObjectMeta
    spec: InferenceSetSpec


def parse_inference_set(document: Mapping[str, Any]) -> InferenceSet:
    """Read a manifest of either version, strictly.

    Raises: InvalidInput with one problem for each unknown key, missing field and wrong type.
    """
    version = str(document.get("apiVersion", "")).removeprefix(f"{GROUP}/")
    if version not in VERSIONS or document.get("kind") != KIND:
        served = " or ".join(f"{GROUP}/{one}" for one in VERSIONS)
        problem = Problem(
            field="apiVersion",
            message=f"{document.get('apiVersion')!r} with kind {document.get('kind')!r} is not an "
            f"{KIND}",
            remedy=f"Use apiVersion {served} and kind {KIND}",
            rule="api-version",
        )
        raise InvalidInput([problem])
    body = {
        key: value for key, value in document.items() if key not in {"apiVersion", "kind", "status"}
    }
    try:
        found = InferenceSet.model_validate(body)
    except ValidationError as error:
        raise InvalidInput(problems_of(error, InferenceSet)) from error
    newer = newer_fields(body, InferenceSet) if version == "v1alpha1" else []
    newer = [problem for problem in newer if not problem.field.startswith(_IN_BOTH_VERSIONS)]
    if newer:
        raise InvalidInput(newer)
    return found


def validate_inference_set(
    found: InferenceSet,
    catalogue: Catalogue,
    provisioner: Provisioner = Provisioner.KARPENTER,
) -> list[Problem]:
    """Every broken rule: its own, and those of the Workspaces it stands for."""
    problems = [*_name_problems(found), *_upgrade_problems(found)]
    try:
        workspace = workspace_of(found)
    except InvalidInput as error:
        return [*problems, *map(_placed, error.problems)]
    broken = validate(workspace, catalogue, provisioner=provisioner)
    return [*problems, *map(_placed, broken)]


def workspace_of(found: InferenceSet) -> Workspace:
    """A Workspace of the template, under the set's own name.

    Raises: InvalidInput (the template's labels and annotations are not texts).
    """
    spec, template = found.spec, found.spec.template
    resource: dict[str, Any] = template.resource.model_dump(by_alias=True, exclude_unset=True)
    resource["labelSelector"] = spec.label_selector.model_dump(by_alias=True, exclude_unset=True)
    metadata: dict[str, Any] = {
        key: template.metadata[key] for key in ("labels", "annotations") if key in template.metadata
    }
    metadata |= {"name": found.metadata.name, "namespace": found.metadata.namespace}
    inference = template.inference.model_dump(by_alias=True, exclude_unset=True)
    body = {"metadata": metadata, "resource": resource, "inference": inference}
    try:
        return Workspace.model_validate(body)
    except ValidationError as error:
        raise InvalidInput(problems_of(error, Workspace)) from error


def _placed(problem: Problem) -> Problem:
    """A Workspace's problem, at the field of the set that it comes from."""
    for inside, outside in _PLACES:
        if problem.field == inside or problem.field.startswith((f"{inside}.", f"{inside}[")):
            return replace(problem, field=outside + problem.field.removeprefix(inside))
    return problem


def _name_problems(found: InferenceSet) -> Iterator[Problem]:
    name = found.metadata.name
    if MAX_NAME_CHARS < len(name) <= MAX_SERVED_NAME_CHARS:
        yield Problem(
            field="metadata.name",
            message=f"{name!r} leaves no room for the names of its Workspaces",
            remedy=f"Use at most {MAX_NAME_CHARS} characters",
            rule="inference-set-name",
        )


def _upgrade_problems(found: InferenceSet) -> Iterator[Problem]:
    upgrade = found.spec.auto_upgrade
    window = upgrade.maintenance_window if upgrade else None
    if window is None:
        return
    field = "spec.autoUpgrade.maintenanceWindow"
    if not is_cron(window.schedule):
        yield Problem(
            field=f"{field}.schedule",
            message=f"{window.schedule!r} is not a cron expression of five fields",
            remedy='For example "0 2 * * 6", every Saturday at 02:00 UTC',
            rule="upgrade-schedule",
        )
    if not is_positive_duration(window.duration):
        yield Problem(
            field=f"{field}.duration",
            message=f"{window.duration!r} is not a duration above 0",
            remedy="For example 4h or 1h30m",
            rule="upgrade-duration",
        )
