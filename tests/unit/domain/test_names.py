import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.domain import names

OTHER_UID = "99999999-2222-4333-8444-555555555555"


@pytest.mark.parametrize("name", ["a", "phi-3", "0", "a" * 63, "4-phi"])
def test_a_dns_label(name: str) -> None:
    assert names.is_dns_label(name)
    assert names.is_dns_subdomain(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a_b", "a" * 64, "a\n", "é"])
def test_no_dns_label(name: str) -> None:
    assert not names.is_dns_label(name)


def test_a_dns_subdomain_is_labels_joined_by_dots() -> None:
    assert names.is_dns_subdomain("my.registry-1.test")
    assert names.is_dns_subdomain(".".join(["a" * 49] * 5))
    for bad in ("a..b", ".a", "a.", "a.B", ".".join(["a" * 50] * 5)):
        assert not names.is_dns_subdomain(bad), bad


@pytest.mark.parametrize(
    "text",
    [
        "ubuntu",
        "ubuntu:22.04-LTS",
        "phi:V1",
        "registry.test/repo",
        "registry.test:5000/a/b_c/d__e/f-g.h:1.0",
        "Registry.Test/repo:tag",
        "localhost:5000/repo",
        "mcr.microsoft.com/aks/kaito/kaito-base:0.5.0",
        f"repo@sha256:{'a' * 64}",
        f"registry.test/repo:tag@sha256:{'0' * 64}",
    ],
)
def test_an_image_reference(text: str) -> None:
    assert names.is_image_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Repo",
        "registry.test/Repo:1",
        "registry.test/a/B:1",
        "registry.test/repo:",
        "registry.test/repo:tag with space",
        "https://registry.test/repo",
        "registry.test//repo",
        "/repo",
        "repo/",
        "repo:-tag",
        f"repo:{'a' * 129}",
        "repo@sha256:abc",
        "repo@md5:" + "a" * 64,
        "repo$(rm -rf)",
        "repo\n",
        "a...b/c",
    ],
)
def test_no_image_reference(text: str) -> None:
    assert not names.is_image_reference(text)


def test_placeholders_are_found_once_each_in_order() -> None:
    text = "ACR_REPO_HERE.azurecr.io/IMAGE_NAME_HERE:ACR_REPO_HERE"
    assert names.placeholders(text) == ("ACR_REPO_HERE", "IMAGE_NAME_HERE")
    assert names.placeholders("registry.test/here:HERE") == ()
    assert names.placeholders("MY_HEREAFTER") == ()


def test_a_text_in_angle_brackets_is_a_placeholder_as_a_whole() -> None:
    assert names.placeholders("<YOUR IMAGE URL>") == ("<YOUR IMAGE URL>",)
    assert names.placeholders("cat <input >output") == ()


def test_the_nearest_names_ignore_case_and_come_back_as_they_are_written() -> None:
    known = ["Standard_NC24ads_A100_v4", "Standard_NC6s_v3", "Other"]
    assert names.nearest("standard_nc24ads_a100_V4", known)[0] == "Standard_NC24ads_A100_v4"
    assert names.nearest("zzzz", known) == ()


@pytest.mark.parametrize(
    ("known", "remedy"),
    [
        (["matchLabels", "count"], "Did you mean matchLabels?"),
        (["matchLabels", "matchLabel"], "Did you mean matchLabel or matchLabels?"),
        (["b", "a"], "Known: a, b"),
        ([], "None is known"),
    ],
)
def test_did_you_mean(known: list[str], remedy: str) -> None:
    assert names.did_you_mean("matchlabel", known) == remedy


@settings(deadline=None)
@given(slot=st.integers(0, 1000), attempt=st.integers(0, 1000))
def test_a_machine_name_is_a_function_of_what_it_is_for(slot: int, attempt: int) -> None:
    name = names.machine_name(OTHER_UID, slot, attempt)
    assert name == names.machine_name(OTHER_UID, slot, attempt)
    # AKS: at most 12 lower-case letters and digits, a letter first.
    assert len(name) <= 12
    assert name.isalnum()
    assert name[0].isalpha()
    assert name == name.lower()
    others = [(OTHER_UID, slot + 1, attempt), (OTHER_UID, slot, attempt + 1), ("x", slot, attempt)]
    assert name not in {names.machine_name(*other) for other in others}
