"""The rules that a Workspace must keep: each with the field at fault and what to do."""

from dataclasses import replace
from typing import Any

import pytest

from kaito.domain import labels
from kaito.domain.errors import Problem
from kaito.domain.validation import MAX_ADAPTERS, validate
from kaito.domain.workspace import parse_workspace
from tests.unit.domain.builders import (
    A10,
    CATALOGUE,
    LONG,
    MINI,
    TUNING,
    V100,
    manifest,
    workspace,
)

Parts = dict[str, Any]


def broken(**parts: Any) -> list[Problem]:
    return validate(workspace(**parts), CATALOGUE)


def the_problem(**parts: Any) -> Problem:
    (problem,) = broken(**parts)
    return problem


def adapter(name: str = "style", **more: Any) -> Parts:
    source = {"name": name, "image": "registry.test/adapter:1", **more.pop("source", {})}
    return {"source": {key: value for key, value in source.items() if value != ""}, **more}


def adapters(*found: Parts) -> Parts:
    return {"inference": {"preset": {"name": MINI}, "adapters": list(found)}}


def tuning(**more: Any) -> Parts:
    """A tuning part with some fields replaced; None removes one."""
    return {"tuning": {key: value for key, value in {**TUNING, **more}.items() if value}}


def own_image(image: str, **options: Any) -> Parts:
    """A preset with an image of the user's own."""
    return {"inference": {"preset": {"name": MINI, "presetOptions": {"image": image, **options}}}}


VOLUME = {"persistentVolumeClaim": {"claimName": "data"}}


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"instance_type": "standard_nv36ADS_a10_v5"},
        {"instance_type": V100},
        {"name": "a" * 52},
        {"annotations": {labels.RUNTIME: "transformers"}},
        {"inference": {"preset": {"name": "microsoft/Phi-3-mini-4k-instruct"}}},
        adapters(adapter("a" * 55, strength="0"), adapter("b", strength="1.0")),
        adapters(adapter(source={"image": "", "volumeSource": VOLUME})),
        tuning(method="QLoRA"),
        tuning(method="LORA", input={"image": "registry.test/data:1"}, preset={"name": MINI})
        | {"instance_type": A10},
        tuning(input={"volumeSource": VOLUME}, output={"volumeSource": VOLUME}),
    ],
)
def test_what_can_be_planned(parts: Parts) -> None:
    assert broken(**parts) == []


@pytest.mark.parametrize(
    ("parts", "field", "message", "remedy"),
    [
        ({"name": "a.b"}, "metadata.name", "'a.b' is not a DNS label", "lower-case letters"),
        ({"name": "Phi"}, "metadata.name", "'Phi' is not a DNS label", "lower-case letters"),
        (
            {"annotations": {labels.RUNTIME: "vLLM"}},
            "metadata.annotations[kaito.sh/runtime]",
            "must be one of vllm, transformers, got 'vLLM'",
            "",
        ),
        (
            {"instance_type": ""},
            "resource.instanceType",
            "is required",
            "Name a GPU machine type, such as Standard_NC24ads_A100_v4",
        ),
        (
            {"instance_type": "Standard_NC24ads_A100"},
            "resource.instanceType",
            "unknown instance type 'Standard_NC24ads_A100'",
            "Did you mean Standard_NC24ads_A100_v4",
        ),
        (
            {"resource": {"labelSelector": {"matchLabels": {labels.WORKSPACE: "phi"}}}},
            "resource.labelSelector.matchLabels",
            "holds only labels that kaito itself sets",
            "Add a label of your own, such as apps: my-model",
        ),
        (
            {"resource": {"labelSelector": {}}},
            "resource.labelSelector",
            "selects nothing",
            "Add matchLabels",
        ),
        (
            {
                "resource": {
                    "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
                }
            },
            "resource.labelSelector.matchExpressions[0]",
            "a: machines that are made have only the labels that they are given",
            "Give one: a In with one value, or matchLabels",
        ),
        (
            {"resource": {"count": 101}},
            "resource.count",
            "is 101, at most 100 are possible",
            "at most 100 agent pools",
        ),
        (
            {"resource": {"partition": {"mode": "mig", "profile": "1g.10gb"}}},
            "resource.partition",
            "is only possible on machines that you bring yourself",
            "Remove it",
        ),
        (
            {"inference": {}},
            "inference.preset",
            "is required",
            "Name a model, such as preset: {name: phi-3-mini-4k-instruct}",
        ),
        (
            {"inference": {"template": {"spec": {}}}},
            "inference.template.spec",
            "is required",
            "Give a pod's spec, such as spec: {containers: [{name: server, image: ...}]}",
        ),
        (
            {"inference": {"template": {"spec": {}}, "preset": {"name": MINI}}},
            "inference.template",
            "and inference.preset are both given",
            "Give exactly one of them",
        ),
        (
            {"inference": {"preset": {"name": "phi-3-mini-4k-instuct"}}},
            "inference.preset.name",
            "unknown model 'phi-3-mini-4k-instuct'",
            "Did you mean phi-3-mini-4k-instruct",
        ),
        (
            adapters(*[adapter(f"a{index}") for index in range(MAX_ADAPTERS + 1)]),
            "inference.adapters",
            "at most 10 adapters are possible, got 11",
            "",
        ),
        (
            adapters(adapter(), adapter("other"), adapter()),
            "inference.adapters[2].source.name",
            "'style' is there twice",
            "",
        ),
        (
            adapters(adapter("Style")),
            "inference.adapters[0].source.name",
            "'Style' is not a DNS label",
            "Use lower-case letters, digits and '-'",
        ),
        (
            adapters(adapter("")),
            "inference.adapters[0].source.name",
            "'' is not a DNS label",
            "Use lower-case letters, digits and '-'",
        ),
        *[
            (
                adapters(adapter(name)),
                "inference.adapters[0].source.name",
                f"{name!r} cannot name a container, a volume and a variable",
                "Use at most 55 characters, the first of them a letter",
            )
            for name in ("4-bit", "a" * 56)
        ],
        *[
            (parts, field, "'My Secret' cannot be the name of an object", "lower-case letters")
            for parts, field in [
                (
                    adapters(adapter(source={"imagePullSecrets": ["ok", "My Secret"]})),
                    "inference.adapters[0].source.imagePullSecrets[1]",
                ),
                (
                    {"inference": {"preset": {"name": MINI}, "config": "My Secret"}},
                    "inference.config",
                ),
                (
                    {
                        "inference": {
                            "preset": {
                                "name": MINI,
                                "presetOptions": {"modelAccessSecret": "My Secret"},
                            }
                        }
                    },
                    "inference.preset.presetOptions.modelAccessSecret",
                ),
                (
                    own_image("registry.test/a", imagePullSecrets=["My Secret"]),
                    "inference.preset.presetOptions.imagePullSecrets[0]",
                ),
                (tuning(config="My Secret"), "tuning.config"),
                (
                    tuning(input={"image": "a/b", "imagePullSecrets": ["My Secret"]}),
                    "tuning.input.imagePullSecrets[0]",
                ),
                (
                    tuning(output={"image": "a/b", "imagePushSecret": "My Secret"}),
                    "tuning.output.imagePushSecret",
                ),
            ]
        ],
        (
            adapters(adapter(source={"urls": ["https://example.com/a"], "image": ""})),
            "inference.adapters[0].source.urls",
            "adapters cannot be read from URLs",
            "Use an image or a volumeSource",
        ),
        (
            adapters(adapter(source={"image": ""})),
            "inference.adapters[0].source",
            "needs exactly one of image and volumeSource",
            "",
        ),
        (
            adapters(adapter(source={"volumeSource": VOLUME})),
            "inference.adapters[0].source",
            "needs exactly one of image and volumeSource",
            "",
        ),
        (
            adapters(adapter(source={"image": "Registry.test/Adapter:1"})),
            "inference.adapters[0].source.image",
            "'Registry.test/Adapter:1' is not an image reference",
            "the repository in lower case",
        ),
        (
            own_image("Registry.test/Phi:1"),
            "inference.preset.presetOptions.image",
            "'Registry.test/Phi:1' is not an image reference",
            "the repository in lower case",
        ),
        (
            own_image("<YOUR IMAGE URL>"),
            "inference.preset.presetOptions.image",
            "'<YOUR IMAGE URL>' still has the placeholder <YOUR IMAGE URL>",
            "Put a value of your own in place of <YOUR IMAGE URL>",
        ),
        *[
            (
                adapters(adapter(strength=text)),
                "inference.adapters[0].strength",
                f"must be a number from 0 to 1 as text, got {text!r}",
                "",
            )
            for text in ("strong", "", "-0.1", "1.01", "nan", "inf")
        ],
        (
            tuning(preset=None),
            "tuning.preset",
            "is required",
            "Name a model, such as preset: {name: phi-3-mini-128k-instruct}",
        ),
        (
            tuning(preset={"name": "phi-3"}),
            "tuning.preset.name",
            "unknown model 'phi-3'",
            "Did you mean",
        ),
        (tuning(method="dora"), "tuning.method", "must be lora or qlora, got 'dora'", ""),
        (tuning(method=None), "tuning.method", "must be lora or qlora, got ''", ""),
        (
            tuning() | {"resource": {"count": 2}},
            "resource.count",
            "tuning runs on one machine, got 2",
            "choose an instance type with more GPUs",
        ),
        (tuning(input=None), "tuning.input", "is required", "Name the data set: urls or image"),
        (tuning(output=None), "tuning.output", "is required", "Say where the result goes: image"),
        (
            tuning(input={"name": "data"}),
            "tuning.input",
            "needs exactly one of urls, image and volumeSource, has 0",
            "",
        ),
        (
            tuning(input={"urls": ["https://example.com/a"], "image": "registry.test/a"}),
            "tuning.input",
            "needs exactly one of urls, image and volumeSource, has 2",
            "",
        ),
        (
            tuning(input={"image": "registry.test/Data"}),
            "tuning.input.image",
            "'registry.test/Data' is not an image reference",
            "Use registry/repository:tag",
        ),
        (
            tuning(output={"imagePushSecret": "push"}),
            "tuning.output",
            "needs exactly one of image and volumeSource, has 0",
            "",
        ),
        (
            tuning(output={**TUNING["output"], "volumeSource": VOLUME}),
            "tuning.output",
            "needs exactly one of image and volumeSource, has 2",
            "",
        ),
        (
            tuning(output={"image": "registry.test/Result", "imagePushSecret": "push"}),
            "tuning.output.image",
            "'registry.test/Result' is not an image reference",
            "Use registry/repository:tag",
        ),
        (
            tuning(output={"image": "registry.test/result"}),
            "tuning.output.imagePushSecret",
            "is required with tuning.output.image",
            "Name a Secret of type kubernetes.io/dockerconfigjson",
        ),
        (
            {"tuning": TUNING, "inference": {"preset": {"name": MINI}}},
            "inference",
            "both inference and tuning are given",
            "make a second Workspace for the other",
        ),
    ],
)
def test_a_broken_rule(parts: Parts, field: str, message: str, remedy: str) -> None:
    problem = the_problem(**parts)
    assert problem.field == field
    assert problem.message == message
    assert (remedy in problem.remedy) if remedy else problem.remedy == ""


def test_neither_inference_nor_tuning() -> None:
    document = manifest()
    del document["inference"]
    (problem,) = validate(parse_workspace(document), CATALOGUE)
    assert problem.message == "neither inference nor tuning is given"
    assert str(problem) == (
        "inference: neither inference nor tuning is given. Give exactly one of them"
    )


def test_several_rules_at_once() -> None:
    found = broken(
        name="Phi",
        instance_type="V100",
        resource={"labelSelector": {}},
        inference={"preset": {"name": "gpt-5"}, "adapters": [adapter("Style", strength="2")]},
    )
    assert [problem.field for problem in found] == [
        "metadata.name",
        "resource.instanceType",
        "resource.labelSelector",
        "inference.preset.name",
        "inference.adapters[0].source.name",
        "inference.adapters[0].strength",
    ]


@pytest.mark.parametrize(
    "name", ["1-phi", "a" * 53, "a" * 63], ids=["digit first", "53 characters", "63 characters"]
)
def test_a_name_must_leave_room_for_what_is_named_after_it(name: str) -> None:
    """A Service's name begins with a letter; pods carry the StatefulSet's name and a hash in a
    label of 63 characters."""
    problem = the_problem(name=name)
    assert problem.field == "metadata.name"
    assert problem.remedy == "Use at most 52 characters, the first of them a letter"


def test_a_pod_has_no_two_containers_of_one_name() -> None:
    own = "is the name of another container of its pods"
    for name in ("pusher", "data-downloader", "data-puller"):
        assert own in the_problem(name=name, **tuning()).message
        assert broken(name=name) == []
    assert own in the_problem(name="puller-style", **adapters(adapter("style"))).message
    assert broken(name="puller-style", **adapters(adapter("tone"))) == []


@pytest.mark.parametrize("name", ["1-phi", "a" * 63])
def test_a_job_may_have_any_label_for_a_name(name: str) -> None:
    assert broken(name=name, tuning=TUNING) == []


def test_the_adapters_example_is_refused_for_its_placeholders() -> None:
    document = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "workspace-phi-3-mini-adapter"},
        "resource": {
            "instanceType": "Standard_NC6s_v3",
            "labelSelector": {"matchLabels": {"apps": "phi-3-adapter"}},
        },
        "inference": {
            "preset": {"name": "phi-3-mini-128k-instruct"},
            "adapters": [
                {
                    "source": {
                        "name": "phi-3-adapter",
                        "image": "ACR_REPO_HERE.azurecr.io/ADAPTER_HERE:0.0.1",
                    },
                    "strength": "1.0",
                }
            ],
        },
    }
    (problem,) = validate(parse_workspace(document), CATALOGUE)
    assert problem.field == "inference.adapters[0].source.image"
    assert problem.message == (
        "'ACR_REPO_HERE.azurecr.io/ADAPTER_HERE:0.0.1' still has the placeholders "
        "ACR_REPO_HERE, ADAPTER_HERE"
    )
    assert problem.remedy == (
        "Put the name of your container registry in place of ACR_REPO_HERE; "
        "put the repository that holds the adapter in place of ADAPTER_HERE"
    )
    source = document["inference"]["adapters"][0]["source"]  # type: ignore[index]
    source["image"] = "mine.azurecr.io/adapter:0.0.1"
    assert validate(parse_workspace(document), CATALOGUE) == []


def test_the_tuning_example_is_refused_for_its_placeholders() -> None:
    document: dict[str, Any] = {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "workspace-tuning-phi-3"},
        "resource": {
            "instanceType": "Standard_NC6s_v3",
            "labelSelector": {"matchLabels": {"app": "tuning-phi-3"}},
        },
        "tuning": {
            "preset": {"name": "phi-3-mini-128k-instruct"},
            "method": "qlora",
            "input": {
                "urls": [
                    "https://huggingface.co/datasets/philschmid/dolly-15k-oai-style/resolve/main/"
                    "data/train-00000-of-00001-54e3756291ca09c6.parquet?download=true"
                ]
            },
            "output": {
                "image": "ACR_REPO_HERE.azurecr.io/IMAGE_NAME_HERE:0.0.1",
                "imagePushSecret": "ACR_REGISTRY_SECRET_HERE",
            },
        },
    }
    found = validate(parse_workspace(document), CATALOGUE)
    assert [problem.field for problem in found] == [
        "tuning.output.image",
        "tuning.output.imagePushSecret",
    ]
    assert "the repository to push the result to" in found[0].remedy
    assert found[1].message.endswith("still has the placeholder ACR_REGISTRY_SECRET_HERE")
    assert found[1].remedy == (
        "Put the name of a Secret with the registry's credentials in place of "
        "ACR_REGISTRY_SECRET_HERE"
    )
    document["tuning"]["output"] = {"image": "mine.azurecr.io/x:1", "imagePushSecret": "acr"}
    assert validate(parse_workspace(document), CATALOGUE) == []


def test_a_placeholder_is_found_wherever_it_stands() -> None:
    label = {"labelSelector": {"matchLabels": {"apps": "MY_APP_HERE"}}}
    problem = the_problem(resource=label)
    assert problem.field == "resource.labelSelector.matchLabels.apps"
    assert problem.remedy == "Put a value of your own in place of MY_APP_HERE"


def test_what_kubectl_keeps_in_an_annotation_is_not_searched() -> None:
    last_applied = "kubectl.kubernetes.io/last-applied-configuration"
    copy = {last_applied: '{"image":"ACR_REPO_HERE/x:1"}'}
    assert broken(annotations=copy) == []
    own = {"kaito.sh/runtime": "RUNTIME_HERE"}
    found = broken(annotations=own)
    assert any("placeholder RUNTIME_HERE" in problem.message for problem in found)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.com/a", "is not an http or https URL"),
        ("file:///etc/passwd", "is not an http or https URL"),
        ("example.com/a", "is not an http or https URL"),
        ("https://", "is not an http or https URL"),
        ("http://[::1", "is not a URL"),
        ("http://localhost/a", "names a host inside the cluster"),
        ("http://localhost./a", "names a host inside the cluster"),
        ("http://a.localhost/a", "names a host inside the cluster"),
        ("http://METADATA.google.internal/a", "names a host inside the cluster"),
        ("http://metadata.google.internal./a", "names a host inside the cluster"),
        ("http://kubernetes.default.svc.cluster.local/a", "names a host inside the cluster"),
        ("http://kubernetes.default.svc/a", "names a host inside the cluster"),
        ("http://minio/a", "names a host inside the cluster"),
        ("http://127.0.0.1:8080/a", "names a private or local address"),
        ("http://10.0.0.1/a", "names a private or local address"),
        ("http://192.168.1.1/a", "names a private or local address"),
        ("http://169.254.169.254/metadata", "names a private or local address"),
        ("http://169.254.169.254./metadata", "names a private or local address"),
        ("http://user@0.0.0.0/a", "names a private or local address"),
        ("http://[::1]/a", "names a private or local address"),
        ("http://[fe80::1]/a", "names a private or local address"),
        ("http://[::ffff:169.254.169.254]/a", "names a private or local address"),
        # curl and browsers read these as 127.0.0.1, too
        ("http://2130706433/a", "names a host inside the cluster"),
        ("http://0x7f.1/a", "has an address that is not written as four numbers"),
        ("http://127.0x1/a", "has an address that is not written as four numbers"),
        ("http://127.1/a", "has an address that is not written as four numbers"),
        ("http://0177.0.0.1/a", "has an address that is not written as four numbers"),
    ],
)
def test_a_url_that_must_not_be_fetched_from_inside_the_cluster(url: str, reason: str) -> None:
    problem = the_problem(**tuning(input={"urls": ["https://example.com/ok", url]}))
    assert problem.field == "tuning.input.urls[1]"
    assert problem.message == f"{url!r} {reason}"
    assert problem.remedy == "Use an http or https URL of a public host"


@pytest.mark.parametrize(
    "url", ["HTTPS://Example.com/a?b#c", "http://8.8.8.8/a", "http://[2606:4700::1111]:80/a"]
)
def test_a_public_url(url: str) -> None:
    assert broken(**tuning(input={"urls": [url]})) == []


def test_a_model_that_does_not_fit_is_refused_with_types_that_it_fits() -> None:
    problem = the_problem(instance_type=V100, inference={"preset": {"name": "phi-4"}})
    assert problem.field == "resource.instanceType"
    assert "phi-4" in problem.message
    assert "does not fit Standard_NC6s_v3" in problem.message
    named = problem.remedy.removeprefix("It fits on ").removesuffix(", cheapest first").split(", ")
    assert len(named) == 3
    for instance_type in named:
        assert broken(instance_type=instance_type, inference={"preset": {"name": "phi-4"}}) == []


def test_types_are_only_named_if_they_hold_the_context_that_is_asked_for() -> None:
    asked = {"vllm": {"max-model-len": "131072"}}
    parts: Parts = {
        "annotations": {labels.RUNTIME: "transformers"},
        "inference": {"preset": {"name": LONG}},
    }
    (problem,) = validate(workspace(instance_type=A10, **parts), CATALOGUE, asked)
    assert "with 131072 tokens of context does not fit" in problem.message
    named = problem.remedy.removeprefix("It fits on ").removesuffix(", cheapest first").split(", ")
    assert A10 not in named
    for instance_type in named:
        found = workspace(instance_type=instance_type, **parts)
        assert validate(found, CATALOGUE, asked) == []


def test_where_nothing_fits_the_remedy_is_general() -> None:
    small = replace(CATALOGUE, instance_types=(CATALOGUE.instance_type(V100),))
    found = workspace(instance_type=V100, inference={"preset": {"name": "phi-4"}})
    (problem,) = validate(found, small)
    assert problem.remedy == "Choose an instance type with more GPU memory"


def test_an_engine_that_the_gpu_cannot_run_is_refused_at_the_annotation() -> None:
    problem = the_problem(instance_type=V100, annotations={labels.RUNTIME: "vllm"})
    assert problem.field == "metadata.annotations[kaito.sh/runtime]"
    assert "compute capability 7.0" in problem.message
    assert "Remove the kaito.sh/runtime annotation" in problem.remedy


def test_a_config_that_asks_for_what_the_model_cannot_do() -> None:
    config = {"vllm": {"max-model-len": 5000}}
    (problem,) = validate(workspace(), CATALOGUE, config)
    assert problem.message == "must be within 1..4096 for phi-3-mini-4k-instruct, got 5000"


def test_problems_of_the_fit_wait_until_the_rules_are_kept() -> None:
    found = broken(name="Phi", instance_type=V100, inference={"preset": {"name": "phi-4"}})
    assert [problem.field for problem in found] == ["metadata.name"]
