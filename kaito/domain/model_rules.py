"""Rules of the model that a Workspace names."""

from collections.abc import Iterator

from kaito.domain.catalogue import Catalogue, UnknownModel
from kaito.domain.errors import Problem
from kaito.domain.object_rules import image_problems, object_name_problems, secret_problems
from kaito.domain.workspace import Preset


def preset_problems(field: str, preset: Preset, catalogue: Catalogue) -> Iterator[Problem]:
    """Whether the catalogue has the model, and whether what opens it is named.

    KAITO v0.12 finds a gated model out only while it downloads
    (api/v1beta1/workspace_validation.go:868-870 asks a flag that is never set).
    """
    options, at = preset.preset_options, f"{field}.presetOptions"
    secret_field = f"{at}.modelAccessSecret"
    yield from object_name_problems(secret_field, options.model_access_secret)
    yield from image_problems(f"{at}.image", options.image)
    yield from secret_problems(f"{at}.imagePullSecrets", options.image_pull_secrets)
    try:
        model = catalogue.model(preset.name)
    except UnknownModel as error:
        yield Problem(
            field=f"{field}.name", message=error.message, remedy=error.remedy, rule="model-known"
        )
        return
    # An image of the user's own may hold the weights, as KAITO's for private models did.
    if model.requires_auth and not options.model_access_secret and not options.image:
        yield Problem(
            field=secret_field,
            message=f"is required: Hugging Face asks for a token for {model.hf_id}",
            remedy="Name a Secret with the key HF_TOKEN (kaito.sh/v1beta1)",
            rule="model-access-secret",
        )
