"""The Workspace: one model for `kaito.sh/v1alpha1` and `v1beta1`, and its strict parser.

A Workspace has no `spec`: `resource`, `inference` and `tuning` stand at the top level (KAITO
api/v1beta1/workspace_types.go). The wire names are the field names in camel case. Fields marked
`SINCE_V1BETA1` do not exist in v1alpha1.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError
from pydantic.alias_generators import to_camel

from kaito.domain import labels
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.parsing import SINCE, newer_fields, problems_of
from kaito.domain.tuning_method import TuningMethod as TuningMethod

GROUP: Final = "kaito.sh"
VERSIONS: Final = ("v1alpha1", "v1beta1")
STORED_VERSION: Final = "v1beta1"
KIND: Final = "Workspace"
SINCE_V1BETA1: Final[dict[str, Any]] = {SINCE: "v1beta1"}
# The CRD default of v1alpha1 (KAITO api/v1alpha1/workspace_types.go); v1beta1 has none.
V1ALPHA1_INSTANCE_TYPE: Final = "Standard_NC24ads_A100_v4"


class Part(BaseModel):
    """A part of a manifest: unknown keys are errors, values cannot change once read."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=False,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class LabelSelectorRequirement(Part):
    """One `matchExpressions` entry."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()

    def matches(self, found: Mapping[str, str]) -> bool:
        """Whether labels keep it, as the scheduler sees it."""
        match self.operator:
            case "In":
                return found.get(self.key) in self.values
            case "NotIn":
                return found.get(self.key) not in self.values
            case "Exists":
                return self.key in found
            case _:
                return self.key not in found

    @property
    def only_value(self) -> str:
        """The one value that it leaves, such as a label can have; empty where it leaves more."""
        return self.values[0] if self.operator == "In" and len(self.values) == 1 else ""

    def __str__(self) -> str:
        listed = f"({','.join(self.values)})"
        match self.operator:
            case "In":
                return f"{self.key} in {listed}"
            case "NotIn":
                return f"{self.key} notin {listed}"
            case "Exists":
                return self.key
            case _:
                return f"!{self.key}"


class LabelSelector(Part):
    """Which nodes belong to the Workspace. An empty one selects none."""

    match_labels: Mapping[str, str] = Field(default_factory=dict)
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()

    def matches(self, found: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected; nothing is when nothing is asked."""
        if not self.match_labels and not self.match_expressions:
            return False
        return self.match_labels.items() <= found.items() and all(
            one.matches(found) for one in self.match_expressions
        )

    @property
    def given_labels(self) -> dict[str, str]:
        """What a machine can be given to be selected, sorted: matchLabels, and expressions that
        leave one value for a key that is not the kubelet's to set."""
        left = {
            one.key: one.only_value
            for one in self.match_expressions
            if one.only_value and one.key not in labels.SET_BY_KUBELET | {labels.ACCELERATOR}
        }
        return dict(sorted({**left, **self.match_labels}.items()))

    def __str__(self) -> str:
        """As kubectl's -l takes it."""
        equal = [f"{key}={value}" for key, value in sorted(self.match_labels.items())]
        return ",".join([*equal, *map(str, self.match_expressions)])


class Partition(Part):
    """A share of a machine's GPUs, on machines that you bring yourself."""

    mode: Literal["mig", "accelerator"]
    profile: str = Field("", description="MIG profile such as 1g.10gb; for mode mig.")
    count: Annotated[StrictInt, Field(ge=1)] | None = Field(
        None, description="Number of GPUs; for mode accelerator."
    )


class ResourceSpec(Part):
    """The machines to run on."""

    count: Annotated[StrictInt, Field(ge=1)] = Field(
        1,
        description="Number of machines. For presets on vLLM the fit decides it; then this is "
        "only compared with the decision.",
    )
    instance_type: str = Field(
        "",
        description="GPU machine type of the cloud, such as Standard_NC24ads_A100_v4. Optional for "
        "nodes that you bring yourself.",
    )
    label_selector: LabelSelector = Field(
        description="Labels that the machines get and the pods look for."
    )
    preferred_nodes: tuple[str, ...] = Field(
        (), description="Names of nodes that you bring yourself, to be used before others."
    )
    partition: Partition | None = Field(
        None, description="A share of a machine's GPUs.", json_schema_extra=SINCE_V1BETA1
    )


class PresetOptions(Part):
    """Extra settings of a preset."""

    image: str = Field("", description="Deprecated. An image to use in place of the preset's.")
    image_pull_secrets: tuple[str, ...] = Field((), description="Deprecated.")
    model_access_secret: str = Field(
        "",
        description="Secret whose key HF_TOKEN opens a gated model.",
        json_schema_extra=SINCE_V1BETA1,
    )


class Preset(Part):
    """A model from the catalogue."""

    name: str = Field(description="Model name, such as phi-3-mini-4k-instruct.")
    access_mode: Literal["public", "private"] = Field("public", description="Deprecated.")
    preset_options: PresetOptions = Field(default_factory=PresetOptions)


class DataSource(Part):
    """Where data or adapter weights come from: exactly one of urls, image, volumeSource."""

    name: str = ""
    urls: tuple[str, ...] = ()
    volume_source: Mapping[str, Any] | None = Field(None, description="A pod volume source.")
    image: str = ""
    image_pull_secrets: tuple[str, ...] = ()


class DataDestination(Part):
    """Where tuning results go: exactly one of image, volumeSource."""

    volume_source: Mapping[str, Any] | None = Field(None, description="A pod volume source.")
    image: str = ""
    image_push_secret: str = ""


class Adapter(Part):
    """A LoRA adapter to serve beside the base model."""

    source: DataSource
    strength: str = Field("1.0", description="Weight of the adapter, from 0 to 1, as text.")


class InferenceSpec(Part):
    """Serve a model."""

    preset: Preset | None = None
    template: Mapping[str, Any] | None = Field(None, description="A pod template of your own.")
    config: str = Field(
        "", description="ConfigMap in this namespace with the key inference_config.yaml."
    )
    adapters: tuple[Adapter, ...] = ()


class TuningSpec(Part):
    """Fine-tune a model."""

    preset: Preset | None = None
    method: str = Field("", description="lora or qlora.")
    config: str = Field(
        "", description="ConfigMap in this namespace with the key training_config.yaml."
    )
    input: DataSource | None = None
    output: DataDestination | None = None


class ObjectMeta(BaseModel):
    """What kaito reads of an object's metadata; the server keeps more."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel)

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)


class WorkspaceFields(Part):
    """The user's part of a Workspace: what generation counts and the CRD describes."""

    resource: ResourceSpec
    inference: InferenceSpec | None = None
    tuning: TuningSpec | None = None


class Workspace(WorkspaceFields):
    """One model, served or fine-tuned, on machines of one instance type."""

    metadata: ObjectMeta

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @property
    def is_deleting(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    @property
    def preset(self) -> Preset | None:
        """The model to serve or tune, if it is one of the catalogue."""
        part = self.inference or self.tuning
        return part.preset if part else None

    @property
    def node_labels(self) -> dict[str, str]:
        """The user's labels for the machines, without those that say whose a machine is."""
        given = self.resource.label_selector.given_labels
        return {key: value for key, value in given.items() if key not in labels.RESERVED}

    def annotation(self, key: str) -> str:
        """The annotation's value, or an empty text."""
        return self.metadata.annotations.get(key, "")


def version_of(document: Mapping[str, Any]) -> str:
    """`v1alpha1` or `v1beta1`. Raises: InvalidInput (not a Workspace of a served version)."""
    api_version, kind = document.get("apiVersion"), document.get("kind")
    for version in VERSIONS:
        if api_version == f"{GROUP}/{version}" and kind == KIND:
            return version
    served = " or ".join(f"{GROUP}/{version}" for version in VERSIONS)
    raise InvalidInput(
        [
            Problem(
                field="apiVersion",
                message=f"{api_version!r} with kind {kind!r} is not a Workspace",
                remedy=f"Use apiVersion {served} and kind {KIND}",
                rule="api-version",
            )
        ]
    )


def parse_workspace(document: Mapping[str, Any]) -> Workspace:
    """Read a manifest or a stored object, of either version, strictly.

    Raises: InvalidInput with one problem for each unknown key, missing field and wrong type.
    """
    version = version_of(document)
    body = {
        key: value for key, value in document.items() if key not in {"apiVersion", "kind", "status"}
    }
    problems: list[Problem] = []
    workspace: Workspace | None = None
    try:
        workspace = Workspace.model_validate(body)
    except ValidationError as error:
        problems += problems_of(error, Workspace)
    if version == "v1alpha1":
        problems += newer_fields(body, Workspace)
    if problems or workspace is None:
        raise InvalidInput(problems)
    if version == "v1alpha1" and not workspace.resource.instance_type:
        resource = workspace.resource.model_copy(update={"instance_type": V1ALPHA1_INSTANCE_TYPE})
        workspace = workspace.model_copy(update={"resource": resource})
    return workspace
