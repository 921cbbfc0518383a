"""Machines for a Workspace, whether it serves a model of the catalogue or a pod template.

A template has no model, so that there is nothing to fit: `resource` says how many machines there
are, and of which type.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kaito.domain import labels
from kaito.domain.catalogue import Catalogue
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.gpu import InstanceType
from kaito.domain.partition import shared
from kaito.domain.quantity import GIB
from kaito.domain.sizing import Sizing, SizingWarning, size
from kaito.domain.template_rules import FIELD, gpus_of
from kaito.domain.workspace import Workspace

# KAITO v0.12 asks for this much where no preset says how much it needs
# (pkg/utils/nodeclaim/nodeclaim.go:134-262).
TEMPLATE_DISK_BYTES: Final = 1024 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSizing:
    """Where the user's pods run."""

    instance_type: InstanceType
    nodes: int
    warnings: tuple[SizingWarning, ...] = ()

    @property
    def disk_bytes(self) -> int:
        """OS disk of each machine."""
        return TEMPLATE_DISK_BYTES

    @property
    def weights_class(self) -> str:
        """None: volumes are the template's."""
        return ""

    @property
    def subject(self) -> str:
        """What runs."""
        return "inference.template"

    @property
    def summary(self) -> str:
        """The decision in one sentence."""
        return f"{self.subject} runs on {self.nodes} x {self.instance_type.name}"


AnySizing: TypeAlias = Sizing | TemplateSizing


def takes_a_machine_each(sizing: AnySizing, workspace: Workspace) -> bool:
    """Whether each replica has one machine for itself."""
    if not isinstance(sizing, TemplateSizing):
        return sizing.fit.nodes == 1
    inference = workspace.inference
    assert inference is not None, "a template was sized"
    assert inference.template is not None, "a template was sized"
    return gpus_of(inference.template) == sizing.instance_type.gpu_count


def size_workspace(
    workspace: Workspace,
    catalogue: Catalogue,
    config: Mapping[str, Any] | None = None,
    here: InstanceType | None = None,
) -> AnySizing:
    """As `sizing.size`, and for templates too.

    Raises: UnknownModel, UnknownInstanceType, NoEngine, DoesNotFit, InvalidInput.
    """
    inference = workspace.inference
    if inference is None or inference.template is None:
        if here is None and workspace.resource.partition is not None:
            whole = catalogue.instance_type(workspace.resource.instance_type)
            here = shared(whole, workspace.resource.partition)
        return size(workspace, catalogue, config, here)
    instance_type = here or catalogue.instance_type(workspace.resource.instance_type)
    gpus = gpus_of(inference.template)
    if gpus > instance_type.gpu_count:
        problem = Problem(
            field=f"{FIELD}.spec.containers",
            message=f"ask for {gpus} GPUs, but {instance_type.name} has {instance_type.gpu_count}",
            remedy="Choose a larger resource.instanceType, or ask for fewer",
            rule="template-gpus",
        )
        raise InvalidInput([problem])
    warnings: tuple[SizingWarning, ...] = ()
    if not gpus:
        text = f"no container of {FIELD} asks for {labels.GPU_RESOURCE}: it will see no GPU"
        warnings = (SizingWarning(reason="TemplateWithoutGpu", message=text),)
    return TemplateSizing(
        instance_type=instance_type, nodes=workspace.resource.count, warnings=warnings
    )
