import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.yaml_values import DEPTH_LIMIT, NODE_LIMIT, BadText, parse


def value_of(text: str) -> Any:
    (document,) = parse(text)
    return document.value


def flaws_of(text: str) -> list[str]:
    with pytest.raises(BadText) as error:
        parse(text)
    return [f"{flaw.line}: {flaw.path}: {flaw.message}" for flaw in error.value.flaws]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 15),
        ("-12", -12),
        ("1_000", 1_000),
        ("1e3", 1_000.0),
        (".5", 0.5),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("0.0.1", "0.0.1"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("_", "_"),
        ("1.2.3.4", "1.2.3.4"),
    ],
)
def test_a_scalar_is_what_kubernetes_reads(text: str, value: object) -> None:
    found = value_of(f"key: {text}")["key"]
    assert found == value
    assert type(found) is type(value)


def test_documents_come_with_their_lines() -> None:
    first, second = parse("# head\na:\n  b: [x, {c: 1}]\n---\n---\nd: 2\n")
    assert (first.line, second.line) == (2, 6)
    assert first.lines["a.b[1].c"] == 3


def test_aliases_are_copies() -> None:
    value = value_of("a: &x {k: [1]}\nb: *x\n")
    assert value["a"] == value["b"]
    assert value["a"]["k"] is not value["b"]["k"]


def test_merge_keys_lie_under_the_mapping() -> None:
    text = "base: &b {x: 1, y: 2}\nother: &o {x: 9, z: 3}\nuse:\n  <<: [*b, *o]\n  y: 5\n"
    assert value_of(text)["use"] == {"y": 5, "x": 1, "z": 3}


def test_every_flaw_is_listed() -> None:
    text = "a: 1\na: 2\n1: x\nb: .nan\nc: !!python/name:os.system ''\nd: *nothing\n"
    assert flaws_of(text) == [
        "2: a: is given twice, first in line 1",
        "3: : has the key 1, which is no text",
        "4: b: '.nan' is no number that JSON can hold",
        "5: c: has the tag tag:yaml.org,2002:python/name:os.system",
        "6: d: *nothing refers to nothing",
    ]


@pytest.mark.parametrize(
    "text", ["a: 99999999999999999999", "a: 1" + "0" * 5_000, "a: 1e999", "a: -.inf"]
)
def test_a_number_fits_json(text: str) -> None:
    assert "no number that JSON can hold" in flaws_of(text)[0]


@pytest.mark.parametrize("text", ["? [a]\n: 1", "? {a: b}\n: 1", "null: 1", "true: 1", "1.5: x"])
def test_a_key_is_a_text(text: str) -> None:
    assert "which is no text" in flaws_of(text)[0]


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000],
    ids=["lists", "mappings", "entries", "keys"],
)
def test_depth_is_bounded(text: str) -> None:
    assert f"more than {DEPTH_LIMIT} levels deep" in flaws_of(text)[0]


def test_depth_counts_through_aliases() -> None:
    half = "[" * 40 + "x" + "]" * 40
    text = f"a: &a {half}\nb: {'[' * 40}*a{']' * 40}\n"
    assert f"more than {DEPTH_LIMIT} levels deep" in flaws_of(text)[0]


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert f"more than {NODE_LIMIT:,} values" in flaws_of("\n".join(lines))[0]


def test_an_alias_of_itself_is_refused() -> None:
    assert flaws_of("a: &a\n  b: *a\n") == ["2: a.b: *a refers to itself"]


@pytest.mark.parametrize(
    "text",
    [
        "a: [1",
        "a: @x",
        "a: b\n\tc: d",
        "a: \x01",
        "a: {{ x }}",
        "a: b: c",
        "%YAML 9\n---\na",
        '"\\q"',
    ],
)
def test_what_is_no_yaml_is_named(text: str) -> None:
    assert flaws_of(text)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cc", "Cn", "Cs", "Zl", "Zp"))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc<", min_size=1), inner),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_json_is_read_as_it_is(value: Any) -> None:
    assert value_of(json.dumps({"value": value}, ensure_ascii=False)) == {"value": value}


@given(st.text(st.sampled_from("ab:-?*&!<[]{},'\"#|>%@\n \t1.~")))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(BadText):
        parse(text)
