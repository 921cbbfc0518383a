"""Models from folders and from a hub, here one on loopback."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from kaito.adapters.hugging_face import read_model
from kaito.domain.errors import InvalidModel

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 1024,
    "max_position_embeddings": 512,
    "torch_dtype": "bfloat16",
}
INDEX = "model.safetensors.index.json"


def safetensors(**sizes: int) -> bytes:
    """The beginning of a file that holds tensors of so many bytes; the tensors are not there."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, size in sizes.items():
        header[name] = {"dtype": "U8", "shape": [size], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def folder(path: Path, **files: bytes | dict[str, Any]) -> str:
    """A model folder; `__` in a name stands for a dot."""
    for name, content in {"config__json": CONFIG, **files}.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (path / name.replace("__", ".")).write_bytes(data)
    return str(path)


def message(reference: str, **more: Any) -> str:
    with pytest.raises(InvalidModel) as caught:
        read_model(reference, **more)
    return str(caught.value)


def test_a_folder_with_a_config_alone(tmp_path: Path) -> None:
    path = tmp_path / "My Model_7B"
    path.mkdir()
    found = read_model(folder(path))
    assert found.name == "my-model-7b"
    assert found.source == str(path)
    assert found.weights is not None
    assert found.weight_bytes == found.weights.total
    assert read_model(str(path / "config.json"), name="other").name == "other"


def test_copies_beside_the_weights_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "original").mkdir()
    (tmp_path / "original" / "model.safetensors").write_bytes(safetensors(a=1000))
    single = safetensors(**{"model.layers.0.a": 60, "lm_head": 40})
    reference = folder(
        tmp_path,
        model__safetensors=single,
        consolidated__safetensors=safetensors(a=500),
        pytorch_model__bin=bytes(700),
        model__gguf=bytes(300),
    )
    assert read_model(reference).weight_bytes == 100


def test_consolidated_weights_count_where_there_are_no_others(tmp_path: Path) -> None:
    reference = folder(tmp_path, consolidated__safetensors=safetensors(a=500))
    assert read_model(reference).weight_bytes == 500


def test_older_weight_files_count_where_there_are_no_others(tmp_path: Path) -> None:
    reference = folder(tmp_path, pytorch_model__bin=bytes(700), training_args__bin=bytes(5))
    assert read_model(reference).weight_bytes == 700


def test_layers_of_prediction_are_not_loaded(tmp_path: Path) -> None:
    sizes = {"model.layers.1.a": 10, "model.layers.2.a": 20, "mtp.layers.0.a": 30}
    assert read_model(folder(tmp_path, model__safetensors=safetensors(**sizes))).weight_bytes == 10


def test_the_index_names_the_shards(tmp_path: Path) -> None:
    index = {
        "metadata": {"total_size": 7},
        "weight_map": {"a": "one.safetensors", "b": "two.safetensors"},
    }
    reference = folder(
        tmp_path,
        one__safetensors=safetensors(a=10),
        two__safetensors=safetensors(b=20),
        three__safetensors=safetensors(c=40),
        model__safetensors__index__json=index,
    )
    assert read_model(reference).weight_bytes == 30
    (tmp_path / "two.safetensors").unlink()
    assert read_model(reference).weight_bytes == 7, "a shard is missing: the index's own total"


def test_quantisation_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    stated = {"quantization": {"quant_algo": "NVFP4", "exclude_modules": ["lm_head"]}}
    found = read_model(folder(tmp_path, hf_quant_config__json=stated))
    assert found.quantization == "nvfp4"
    broken = folder(tmp_path, hf_quant_config__json={"producer": "x"})
    assert "hf_quant_config.json: quantization: is missing" in message(broken)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"config__json": b"{"}, "config.json: is not JSON"),
        ({"config__json": b"[]"}, "config.json: must be a JSON object"),
        ({"config__json": b"\xff\xfe{"}, "config.json: is not JSON"),
        (
            {"model__safetensors": b"123"},
            "model.safetensors: ends after 3 bytes, within the header",
        ),
        ({"model__safetensors": bytes(8)}, "says that its header has 0 bytes"),
        (
            {"model__safetensors": b"\xff" * 8},
            "says that its header has 18446744073709551615 bytes: it is no safetensors file",
        ),
        (
            {"model__safetensors": safetensors(a=10)[:-9]},
            "model.safetensors: ends within its header:",
        ),
        (
            {"model__safetensors": (4).to_bytes(8, "little") + b"nope"},
            "model.safetensors: is not JSON",
        ),
        (
            {
                "model__safetensors": safetensors(a=10).replace(
                    b"[0, 10]", b"[9, 10]".replace(b"9", b"7").replace(b"10", b" 1")
                )
            },
            "a: data_offsets: must be where the tensor begins and ends, got [7, 1]",
        ),
        ({INDEX.replace(".", "__"): {"weight_map": {"a": 1}}}, "weight_map: must name a file"),
        ({INDEX.replace(".", "__"): {}}, "weight_map: must name a file for each tensor. Fetch"),
        (
            {INDEX.replace(".", "__"): {"weight_map": {"a": "b"}, "metadata": {"total_size": 0}}},
            "metadata.total_size: must be a number of bytes, got 0",
        ),
        (
            {INDEX.replace(".", "__"): {"weight_map": {"a": "b"}}},
            "metadata.total_size: must be a number of bytes, got None",
        ),
    ],
)
def test_broken_files_are_told(tmp_path: Path, files: dict[str, Any], expected: str) -> None:
    assert expected in message(folder(tmp_path, **files))


def test_a_tensor_without_offsets_is_told(tmp_path: Path) -> None:
    text = b'{"a": 5}'
    reference = folder(tmp_path, model__safetensors=len(text).to_bytes(8, "little") + text)
    assert "a: data_offsets: must be where" in message(reference)


def test_nothing_there(tmp_path: Path) -> None:
    assert "config.json: there is no such file. Give the folder" in message(str(tmp_path))
    assert "is no folder, no file and no organisation/model" in message("not/a/model")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    assert "config.json: cannot be read: Is a directory" in message(str(tmp_path))


class Hub(BaseHTTPRequestHandler):
    """Serves `files` by path, whole or a range; remembers who asked with which token."""

    files: ClassVar[dict[str, bytes | int]] = {}
    asked: ClassVar[list[tuple[str, str | None, str | None]]] = []

    def do_GET(self) -> None:
        token, part = self.headers.get("Authorization"), self.headers.get("Range")
        self.asked.append((self.path, token, part))
        content = self.files.get(self.path, 404)
        if isinstance(content, int):
            self.send_response(content)
            if content == 307:
                self.send_header("Location", self.path.replace("/org/", "/store/"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if part is not None:
            first, last = part.removeprefix("bytes=").split("-")
            content = content[int(first) : int(last) + 1]
        self.send_response(200 if part is None else 206)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    Hub.files, Hub.asked = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def put(name: str, content: Any) -> None:
    data = content if isinstance(content, bytes | int) else json.dumps(content).encode()
    Hub.files[f"/org/model/resolve/main/{name}"] = data


def test_the_hub_is_asked_for_headers_only(hub: str) -> None:
    put("config.json", CONFIG)
    put("model.safetensors", safetensors(a=10) + bytes(10))
    found = read_model("org/model", endpoint=hub)
    assert (found.name, found.hf_id, found.weight_bytes) == ("model", "org/model", 10)
    parts = [part for path, _, part in Hub.asked if path.endswith("model.safetensors")]
    assert parts[0] == "bytes=0-7"
    assert len(parts) == 2


def test_the_hub_of_the_environment(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub)
    put("config.json", CONFIG)
    put(INDEX, {"metadata": {"total_size": 99}, "weight_map": {"a": "x.safetensors"}})
    assert read_model("org/model").weight_bytes == 99
    Hub.files.pop(f"/org/model/resolve/main/{INDEX}")
    found = read_model("org/model")
    assert found.weights is not None
    assert found.weight_bytes == found.weights.total, "no weight files: counted"


def test_a_token_is_not_sent_on(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    put("config.json", 307)
    Hub.files["/store/model/resolve/main/config.json"] = json.dumps(CONFIG).encode()
    read_model("org/model", endpoint=hub)
    tokens = {path: token for path, token, _ in Hub.asked}
    assert tokens["/org/model/resolve/main/config.json"] == "Bearer secret"
    assert tokens["/store/model/resolve/main/config.json"] is None


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (404, "org/model: has no config.json on the hub. Check the id"),
        (401, "org/model: is gated, private or does not exist. Accept its licence"),
        (403, "org/model: is gated, private"),
        (500, "org/model: the hub answered 500 for config.json. Try again later"),
    ],
)
def test_answers_of_the_hub(hub: str, answer: int, expected: str) -> None:
    put("config.json", answer)
    assert expected in message("org/model", endpoint=hub)


def test_offline(hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = message("org/model", endpoint="http://127.0.0.1:1")
    assert "http://127.0.0.1:1 cannot be asked" in told
    assert "Offline, give a folder" in told
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set. Offline" in message("org/model", endpoint=hub)
    assert Hub.asked == []
