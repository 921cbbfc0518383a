from typing import Any

import pytest

from kaito.adapters.fake.container_phases import ADAPTER_PULL, ContainerPlan, Phase
from kaito.adapters.fake.image_faults import FAILED_PULL_S, FaultyImages, registry_of
from kaito.adapters.kube_api import KubeObject
from tests.unit.adapters.fake.cluster import Script

IMAGE = "mcr.microsoft.com/aks/kaito/kaito-base:0.1.0"
NODE: KubeObject = {"metadata": {"name": "n0"}}


def pod(*args: str) -> dict[str, Any]:
    puller = {"name": "puller-a", "image": "quay.io/skopeo:1", "args": list(args)}
    main = {"name": "main", "image": IMAGE}
    return {"metadata": {"name": "p"}, "spec": {"initContainers": [puller], "containers": [main]}}


class Images:
    """Faulty images over scripted ones, at a time of their own."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        pull = ContainerPlan(phases=(Phase(ADAPTER_PULL, 30.0, "a"),), exits=True)
        serve = ContainerPlan(phases=(Phase("weights load", 60.0),))
        script = Script(plans={"puller-a": pull, "main": serve})
        self.faulty = FaultyImages(script, lambda: self.now_s)

    def pull(self, image: str = IMAGE) -> str:
        """Why it fails; empty where it does not."""
        phase = self.faulty.image_pull(NODE, pod(), "main", image)
        return phase.failure.message if phase.failure is not None else ""


def test_what_is_not_told_to_fail_is_pulled() -> None:
    assert Images().pull() == ""


@pytest.mark.parametrize(
    ("outage", "fails"),
    [
        ({}, True),
        ({"registry": "mcr.microsoft.com"}, True),
        ({"registry": "docker.io"}, False),
        ({"image": IMAGE}, True),
        ({"image": "mcr.microsoft.com/aks/kaito/kaito-base"}, True),
        ({"image": "mcr.microsoft.com/aks/kaito/kaito-base:0.2.0"}, False),
        ({"image": "mcr.microsoft.com/aks/kaito"}, False),
    ],
)
def test_which_images_an_outage_concerns(outage: dict[str, str], fails: bool) -> None:
    images = Images()
    images.faulty.fail(until_s=1060.0, **outage)
    assert bool(images.pull()) is fails
    images.now_s = 1060.0
    assert images.pull() == "", "it is over"


def test_a_failure_names_the_image_and_the_registry_and_takes_its_time() -> None:
    images = Images()
    images.faulty.fail(until_s=1060.0)
    said = images.pull("ubuntu:22.04")
    assert said.startswith('failed to pull and unpack image "ubuntu:22.04": registry docker.io')
    assert images.faulty.image_pull(NODE, pod(), "main", IMAGE).duration_s == FAILED_PULL_S


def test_an_adapter_is_an_image_too() -> None:
    images = Images()
    given = pod("contoso.azurecr.io/adapter:1", "/mnt/adapter/a")
    images.faulty.fail(until_s=1060.0, registry="contoso.azurecr.io")
    (failed,) = images.faulty.plan(NODE, given, "puller-a", "quay.io/skopeo:1").phases
    assert failed.failure is not None
    assert "contoso.azurecr.io/adapter:1" in failed.failure.message
    (load,) = images.faulty.plan(NODE, given, "main", IMAGE).phases
    assert load.failure is None, "what is pulled already runs"
    images.now_s = 1060.0
    (pull,) = images.faulty.plan(NODE, given, "puller-a", "quay.io/skopeo:1").phases
    assert (pull.failure, pull.duration_s) == (None, 30.0)


def test_a_container_stops_as_always() -> None:
    assert Images().faulty.stop_s(NODE, pod(), "main") == 2.0


@pytest.mark.parametrize(
    ("reference", "registry"),
    [
        ("mcr.microsoft.com/aks/x:1", "mcr.microsoft.com"),
        ("localhost/x", "localhost"),
        ("registry:5000/x@sha256:0", "registry:5000"),
        ("library/ubuntu", "docker.io"),
        ("ubuntu:22.04", "docker.io"),
    ],
)
def test_the_registry_of_a_reference(reference: str, registry: str) -> None:
    assert registry_of(reference) == registry
