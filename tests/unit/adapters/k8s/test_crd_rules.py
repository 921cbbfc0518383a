"""The CRD's CEL rules, evaluated as an API server does: they say what the domain says.

Servers older than 1.25 drop them, so no test against such a server could fail.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import celpy
import pytest
import yaml
from celpy.adapter import json_to_cel
from celpy.celtypes import StringType
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.adapters.k8s import crds
from kaito.adapters.k8s.admission import WorkspaceAdmission
from kaito.adapters.kube_api import thaw
from tests.unit.domain.builders import (
    A10,
    A100,
    CATALOGUE,
    LONG,
    MINI,
    T4,
    TUNING,
    manifest,
    template,
)

Json = dict[str, Any]
ROOT = Path(__file__).parents[4]
VERSIONS = ("v1alpha1", "v1beta1")
ADMISSION = WorkspaceAdmission(CATALOGUE)
ENVIRONMENT = celpy.Environment()
STATUS = {"status": {"workerNodes": []}}
EXAMPLES = sorted((ROOT / "examples").rglob("kaito_workspace_*.yaml"))


@cache
def schema(version: str) -> Json:
    (found,) = [one for one in crds.workspace_crd()["spec"]["versions"] if one["name"] == version]
    structure: Json = found["schema"]["openAPIV3Schema"]
    return structure


@cache
def program(expression: str) -> celpy.Runner:
    """A compiled expression. `lowerAscii` is of Kubernetes' string library."""

    def lower_ascii(text: StringType) -> StringType:
        assert text.isascii()
        return StringType(text.lower())

    compiled = ENVIRONMENT.compile(expression)
    return ENVIRONMENT.program(compiled, functions={"lowerAscii": lower_ascii})


def evaluated(expression: str, new: Any, old: Any) -> Any:
    known = {"self": json_to_cel(new), "oldSelf": json_to_cel(old)}
    return program(expression).evaluate(known)


def broken(new: Json, old: Json | None = None) -> list[tuple[str, str]]:
    """Field and message of every rule that a write breaks."""
    return sorted(_broken(schema(new["apiVersion"].rpartition("/")[2]), new, old, ""))


def _broken(found: Json, new: Any, old: Any, path: str) -> Iterator[tuple[str, str]]:
    for rule in found.get("x-kubernetes-validations", ()):
        if "oldSelf" in rule["rule"] and old is None:
            continue
        if not evaluated(rule["rule"], new, old):
            message = rule["message"]
            if "messageExpression" in rule:
                message = str(evaluated(rule["messageExpression"], new, old))
            yield f"{path}{rule.get('fieldPath', '')}".removeprefix("."), message
    for name, part in found.get("properties", {}).items():
        if isinstance(new, Mapping) and name in new:
            before = old.get(name) if isinstance(old, Mapping) else None
            yield from _broken(part, new[name], before, f"{path}.{name}")


# What the domain says of counts, and CEL cannot.
NUMBERS = re.compile(r", got \d+|, has \d+|, from \d+ to \d+")


def told(new: Json, old: Json | None = None) -> list[tuple[str, str]]:
    """Field and text, without numbers, of every problem that the domain has with a write."""
    problems = ADMISSION.judge(new, old).problems
    return [
        (one.field, f"{NUMBERS.sub('', one.message)}. {one.remedy}".removesuffix(". "))
        for one in problems
    ]


def test_no_number_is_told() -> None:
    """`string(1)` may be of any length for all that the API server's estimate of costs knows: it
    refuses a CRD that calls it."""
    rules = json.dumps(crds.workspace_crd())
    assert "x-kubernetes-validations" in rules
    assert "string(" not in rules


def tuning(**changed: Any) -> Json:
    """A manifest that tunes; None takes a key away."""
    parts = {key: value for key, value in {**TUNING, **changed}.items() if value is not None}
    return manifest(instance_type=A100, tuning=parts)


def serving(**parts: Any) -> Json:
    return manifest(inference={"preset": {"name": MINI}, **parts})


def adapter(**source: Any) -> Json:
    return {"source": {"name": "one", **source}}


def rules(version: str = "v1beta1") -> Iterator[tuple[str, Json, Json]]:
    """Path, schema of that path, rule."""

    def within(found: Json, path: str) -> Iterator[tuple[str, Json, Json]]:
        for rule in found.get("x-kubernetes-validations", ()):
            yield path, found, rule
        for name, part in found.get("properties", {}).items():
            yield from within(part, f"{path}.{name}")
        if "items" in found:
            assert not list(within(found["items"], "")), "rules of list items have no oldSelf"

    yield from within(schema(version), "")


def test_both_versions_have_the_same_rules() -> None:
    older, newer = ([(path, rule) for path, _, rule in rules(version)] for version in VERSIONS)
    assert older == newer
    assert len(newer) > 20


@pytest.mark.parametrize(("path", "found", "rule"), list(rules()))
def test_a_server_takes_the_rule(path: str, found: Json, rule: Json) -> None:
    """What the validation of CustomResourceDefinitions asks for."""
    program(rule["rule"])
    assert rule["message"].strip()
    assert "\n" not in rule["message"] + rule["rule"]
    assert set(rule) <= {"rule", "message", "messageExpression", "fieldPath"}
    part = found
    for name in rule.get("fieldPath", "").split(".")[1:]:
        part = part["properties"][name]
    assert "oldSelf" in rule["rule"] or rule["rule"].startswith("has(self.status) || ("), (
        "an object stored before the rule could not lose its finalizer"
    )


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_pass(file: Path, version: str) -> None:
    documents = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    (given,) = (one for one in documents if one["kind"] == "Workspace")
    document = given | {"apiVersion": f"kaito.sh/{version}"}
    assert broken(document) == []
    assert broken(document, document) == []


BAD_NEW: dict[str, Json] = {
    "no mode": {**manifest(inference={}), "inference": None},
    "both modes": manifest(
        instance_type=A100, inference={"preset": {"name": MINI}}, tuning=dict(TUNING)
    ),
    "dotted name": manifest(name="a.b"),
    "long name": manifest(name="x" * 53),
    "digit first": manifest(name="9lives"),
    "dotted name of tuning": {**tuning(), "metadata": {"name": "a.b"}},
    "preset and template": serving(template={"spec": {}}),
    "neither preset nor template": manifest(inference={"config": "mine"}),
    "eleven adapters": serving(
        adapters=[adapter(name=f"a{number}", image="r.io/a:1") for number in range(11)]
    ),
    "tuning without preset": tuning(preset=None),
    "tuning without method": tuning(method=None),
    "tuning by another method": tuning(method="full"),
    "tuning without input": tuning(input=None),
    "tuning with empty input": tuning(input={"urls": []}),
    "tuning with two inputs": tuning(
        input={"image": "r.io/a:1", "urls": ["https://example.com/a.parquet"]}
    ),
    "tuning without output": tuning(output=None),
    "tuning with two outputs": tuning(
        output={"image": "r.io/a:1", "imagePushSecret": "s", "volumeSource": {"emptyDir": {}}}
    ),
    "tuning with empty output": tuning(output={"image": ""}),
    "tuning without push secret": tuning(output={"image": "r.io/a:1"}),
}
BAD_NEW["no mode"].pop("inference")
BAD_NEW["tuning on two machines"] = tuning()
BAD_NEW["tuning on two machines"]["resource"]["count"] = 2


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", BAD_NEW)
def test_what_is_bad_when_new_is_refused_in_the_domains_words(case: str, version: str) -> None:
    document = {**BAD_NEW[case], "apiVersion": f"kaito.sh/{version}"}
    found = broken(document)
    assert found
    words = {text for _, text in told(document)}
    assert {text for _, text in found} <= words
    fields = {field for field, _ in told(document)}
    # The metadata have no path in the schema, and a path must be there to be named.
    assert {field for field, _ in found} <= fields | {"", "tuning"}


@pytest.mark.parametrize(
    "source",
    [{}, {"image": ""}, {"image": "r.io/a:1", "volumeSource": {"emptyDir": {}}}],
    ids=["none", "empty", "both"],
)
def test_an_adapter_comes_from_one_place(source: Json) -> None:
    good, bad = adapter(image="r.io/a:1"), adapter(**source, name="two")
    assert broken(serving(adapters=[good])) == []
    ((field, text),) = broken(serving(adapters=[good, bad]))
    ((domain_field, domain_text),) = told(serving(adapters=[good, bad]))
    assert domain_field == f"{field}[1].source"
    assert text == f"source {domain_text}"


def changed(document: Json, path: str, value: Any) -> Json:
    made: Json = thaw(document)
    *parents, last = path.split(".")
    part = made
    for name in parents:
        part = part[name]
    if value is None:
        del part[last]
    else:
        part[last] = value
    return made


@pytest.mark.parametrize(
    ("document", "path", "value"),
    [
        (manifest(), "resource.instanceType", A100),
        (manifest(), "resource.count", 2),
        (manifest(resource={"count": 2}), "resource.count", None),
        (manifest(), "inference.preset.name", LONG),
        (tuning(), "tuning.method", "lora"),
        (tuning(), "tuning.preset.name", MINI),
    ],
)
@pytest.mark.parametrize("stored", [{}, STATUS], ids=["new", "with status"])
def test_what_is_fixed_is_refused_in_the_domains_words(
    document: Json, path: str, value: Any, stored: Json
) -> None:
    old = {**document, **stored}
    new = changed(old, path, value)
    assert broken(new, old) == [one for one in told(new, old) if one[0] == path] != []


@pytest.mark.parametrize(
    ("document", "path", "value"),
    [
        (manifest(), "resource.labelSelector.matchLabels", {"apps": "other"}),
        (manifest(), "resource.labelSelector.matchLabels", None),
        (manifest(), "inference", None),
        (manifest(), "inference.template", template()),
        (manifest(inference={"template": template()}), "inference.template", None),
        (manifest(), "tuning", dict(TUNING)),
    ],
)
def test_what_is_fixed_as_a_whole_is_refused(document: Json, path: str, value: Any) -> None:
    old = {**document, **STATUS}
    new = changed(old, path, value)
    assert (path, "cannot be changed. Delete the Workspace and make a new one") in broken(new, old)
    assert path in {field for field, _ in told(new, old)}


def test_what_may_change_passes() -> None:
    old = {**tuning(), **STATUS}
    for path, value in (
        ("resource.count", 1),
        ("tuning.method", "QLoRA"),
        ("tuning.config", "mine"),
        ("metadata.labels", {"a": "b"}),
    ):
        new = changed(old, path, value)
        assert told(new, old) == []
        assert broken(new, old) == []
    bare = changed(manifest(), "resource.labelSelector", {})
    empty = changed(manifest(), "resource.labelSelector", {"matchLabels": {}})
    assert broken({**empty, **STATUS}, {**bare, **STATUS}) == []


@pytest.mark.parametrize("case", BAD_NEW)
def test_what_was_stored_before_the_rules_can_be_let_go(case: str) -> None:
    old = {**BAD_NEW[case], **STATUS}
    old["metadata"] = {**old["metadata"], "finalizers": ["workspace.finalizer.kaito.sh"]}
    new = changed(old, "metadata.finalizers", [])
    assert broken(new, old) == []
    without = {key: value for key, value in old.items() if key != "status"}
    assert broken(old, without) == [], "a status can always be written"


def some(**fields: Any) -> st.SearchStrategy[Json]:
    """Mappings that have some of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


IMAGES = st.sampled_from(["r.io/a:1", ""])
VOLUMES = st.sampled_from([{"emptyDir": {}}, {"persistentVolumeClaim": {"claimName": "c"}}])
URLS = st.sampled_from([["https://example.com/a.parquet"], []])
PRESETS = st.sampled_from([{"name": MINI}, {"name": LONG}, {"name": "unknown"}])
SOURCES = some(urls=URLS, image=IMAGES, volumeSource=VOLUMES)
ADAPTERS = st.lists(
    st.builds(
        lambda name, source: {"source": {"name": name, **source}},
        st.sampled_from(["one", "two", "three"]),
        some(image=IMAGES, volumeSource=VOLUMES),
    ),
    max_size=3,
)
WORKSPACES = st.builds(
    lambda version, name, resource, labels, mode, more: {
        "apiVersion": f"kaito.sh/{version}",
        "kind": "Workspace",
        "metadata": {"name": name},
        "resource": {"instanceType": A100, **resource, "labelSelector": labels},
        **mode,
        **more,
    },
    st.sampled_from(VERSIONS),
    st.sampled_from(["phi", "phi", "phi", "a.b", "9lives", "x" * 53]),
    some(count=st.sampled_from([1, 1, 2]), instanceType=st.sampled_from([A100, A10, T4])),
    st.sampled_from([{"matchLabels": {"apps": "phi"}}] * 3 + [{"matchLabels": {"b": "c"}}, {}]),
    st.sampled_from(
        [
            {"inference": {"preset": {"name": MINI}}},
            {"inference": {"preset": {"name": LONG}, "config": "mine"}},
            {"tuning": dict(TUNING)},
            {"tuning": {**TUNING, "method": "LoRA"}},
        ]
    ),
    st.one_of(
        st.just({}),
        some(
            inference=some(preset=PRESETS, template=st.just({"spec": {}}), adapters=ADAPTERS),
        ),
        some(
            tuning=some(
                preset=PRESETS,
                method=st.sampled_from(["qlora", "LORA", "full", ""]),
                input=SOURCES,
                output=some(image=IMAGES, volumeSource=VOLUMES, imagePushSecret=st.just("push")),
            ),
        ),
    ),
)


@settings(deadline=None)
@given(WORKSPACES)
def test_no_rule_refuses_a_new_object_that_the_domain_accepts(document: Json) -> None:
    if not told(document):
        assert broken(document) == []


CHANGES = st.lists(
    st.sampled_from(
        [
            ("metadata.labels", {"a": "b"}),
            ("resource.count", 1),
            ("resource.count", 2),
            ("resource.instanceType", A100),
            ("resource.labelSelector", {"matchLabels": {"apps": "phi"}}),
            ("inference.config", "other"),
            ("inference.adapters", [adapter(image="r.io/a:1")]),
            ("inference.preset", {"name": MINI, "accessMode": "public"}),
            ("inference.preset", {"name": LONG}),
            ("inference.template", {"spec": {}}),
            ("tuning.method", "QLORA"),
            ("tuning.preset", {"name": LONG, "accessMode": "public"}),
            ("tuning.input", {"image": "r.io/a:1"}),
            ("tuning.output", {"volumeSource": {"emptyDir": {}}}),
        ]
    ),
    min_size=1,
    max_size=3,
)


@settings(deadline=None)
@given(WORKSPACES, CHANGES, st.booleans())
def test_no_rule_refuses_a_change_that_the_domain_accepts(
    old: Json, changes: list[tuple[str, Any]], anything_is_stored: bool
) -> None:
    """What was stored before the rules may be anything, and has a status."""
    if anything_is_stored:
        old = {**old, **STATUS}
    elif told(old):
        return
    new = old
    for path, value in changes:
        if path.partition(".")[0] in old:
            new = changed(new, path, value)
    if not told(new, old):
        assert broken(new, old) == []
