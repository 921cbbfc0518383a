import gzip
import json
from pathlib import Path

import pytest

from kaito.adapters.documents import SIZE_LIMIT_BYTES, files_of, read
from kaito.domain.errors import InvalidInput, Problem


def refusal(path: Path | str) -> list[Problem]:
    with pytest.raises(InvalidInput) as error:
        read(str(path))
    return list(error.value.problems)


def test_a_document_knows_its_place(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text("# comment\nkind: A\n---\nkind: B\nmetadata:\n  name: b\n")
    first, second = read(str(file))
    assert (first.source, second.source) == (f"{file}:2", f"{file}:4")
    assert second.line_of("metadata.name") == 6
    assert second.line_of("metadata.labels.app") == 5
    assert second.line_of("resource[3].x") == 4
    assert second.problem("metadata.name", "is odd").field == f"{file}:6: metadata.name"


def test_a_list_is_its_items(tmp_path: Path) -> None:
    file = tmp_path / "list.yaml"
    text = "apiVersion: v1\nitems:\n- kind: A\n- kind: B\n  metadata:\n    name: b\nkind: List\n"
    file.write_text(text)
    first, second = read(str(file))
    assert (first.body, first.source) == ({"kind": "A"}, f"{file}:3")
    assert (second.source, second.line_of("metadata.name")) == (f"{file}:4", 6)
    file.write_text("apiVersion: v1\nkind: List\nitems: [1]\n")
    (problem,) = refusal(file)
    assert problem.message == "must be a mapping, got 1"


def test_a_problem_is_located_within_a_part(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("timeline:\n- apply:\n    kind: A\n")
    (document,) = read(str(file))
    found = document.locate(Problem(field="kind", message="m"), within="timeline[0].apply")
    assert found.field == f"{file}:3: timeline[0].apply.kind"


def test_json_with_tabs_is_read(tmp_path: Path) -> None:
    file = tmp_path / "one.json"
    file.write_text(json.dumps({"kind": "A", "list": [1, 2.5, None, True]}, indent="\t"))
    (document,) = read(str(file))
    assert document.body == {"kind": "A", "list": [1, 2.5, None, True]}


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "bom.yaml"
    file.write_bytes(b"\xef\xbb\xbfkind: A\n")
    assert read(str(file))[0].body == {"kind": "A"}


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b"kind: A"),
        b"\x89PNG\r\n\x1a\n\x00",
        "kind: A".encode("utf-16"),
        b"kind: A\x00",
    ],
    ids=["gzip", "png", "utf-16", "nul"],
)
def test_a_binary_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    (problem,) = refusal(file)
    assert problem.field == str(file)
    assert "not text in UTF-8" in problem.message
    assert "manifest" in problem.remedy


@pytest.mark.parametrize(
    ("content", "said"), [("", "empty"), ("\n \n", "empty"), ("# only\n---\n", "comments")]
)
def test_an_empty_file_is_refused(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(content)
    (problem,) = refusal(file)
    assert said in problem.message


def test_a_big_file_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "big.yaml"
    with file.open("wb") as stream:
        stream.truncate(50 << 20)  # sparse: reading it would find a NUL instead
    (problem,) = refusal(file)
    assert problem.message == "is too big: 50.0 MiB, the limit is 4 MiB"


def test_an_endless_file_is_refused() -> None:
    (problem,) = refusal("/dev/zero")
    assert "too big" in problem.message
    assert SIZE_LIMIT_BYTES == 4 << 20


@pytest.mark.parametrize("name", ["absent.yaml", "nul\0.yaml"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (problem,) = refusal(f"{tmp_path}/{name}")
    assert "cannot be read" in problem.message


def test_every_document_is_a_mapping(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("just text\n---\n- a\n---\nkind: A\n")
    assert [problem.field for problem in refusal(file)] == [f"{file}:1", f"{file}:3"]


def test_a_directory_stands_for_its_manifests(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.json", "notes.txt"):
        (tmp_path / name).write_text("kind: A\n")
    (tmp_path / "below").mkdir()
    assert [Path(file).name for file in files_of(str(tmp_path))] == ["a.yml", "b.yaml", "c.json"]


def test_a_directory_without_manifests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no file that ends in"):
        files_of(str(tmp_path))
