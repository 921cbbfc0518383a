"""Models of Hugging Face as profiles: from a folder, a config.json, or the hub.

Only what tells sizes is read: config.json, hf_quant_config.json, the index of the weights, and the
headers of safetensors files (https://huggingface.co/docs/safetensors: 8 bytes of length, then
JSON). Weights themselves are never fetched.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeGuard
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from kaito.domain.errors import InvalidModel, Problem
from kaito.domain.hf_config import profile_from_config
from kaito.domain.model import ModelProfile

_CONFIG: Final = "config.json"
_QUANTIZATION: Final = "hf_quant_config.json"  # written by NVIDIA's ModelOpt beside config.json
_INDEX: Final = "model.safetensors.index.json"
_SINGLE: Final = "model.safetensors"
_LENGTH_BYTES: Final = 8
_LARGEST_HEADER: Final = 100_000_000  # the limit of the safetensors library itself
_HUB: Final = "https://huggingface.co"
_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")
_TIMEOUT_S: Final = 10
_LAYER: Final = re.compile(r"(?:^|\.)layers\.(\d+)\.")

Read = Callable[[str, int, int | None], bytes | None]
"""The bytes of a file from a position on, so many or all; None where there is no such file."""
Weigh = Callable[[Read, int | None], int | None]
"""The bytes of the weights of a model with so many layers; None where there are none."""


def read_model(
    reference: str, *, name: str = "", revision: str = "main", endpoint: str | None = None
) -> ModelProfile:
    """The profile of a model folder, of a config.json, or of `organisation/model` on the hub.

    `name` defaults to the end of the reference. The hub is that of `endpoint`, HF_ENDPOINT or
    huggingface.co, asked with HF_TOKEN where it is set, and not at all under HF_HUB_OFFLINE.

    Raises: InvalidModel (nothing there, no access, not reachable, files that cannot be read or
    contradict themselves, and what `profile_from_config` refuses).
    """
    path = Path(reference)
    if path.is_dir() or path.is_file():
        folder = path if path.is_dir() else path.parent
        config = _CONFIG if path.is_dir() else path.name
        return _profile(
            _local(folder),
            config,
            name=name or _model_name(folder.resolve().name),
            hf_id="",
            weights=lambda read, layers: _local_weights(folder, read, layers),
            source=str(path),
        )
    if not _HUB_ID.fullmatch(reference):
        raise _problem(
            reference,
            "is no folder, no file and no organisation/model",
            "Give the folder that holds config.json, or a model's id on Hugging Face",
        )
    hub = (endpoint or os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/")
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() not in ("", "0", "false"):
        raise _unreachable(reference, hub, "HF_HUB_OFFLINE is set")
    return _profile(
        _remote(hub, reference, revision),
        _CONFIG,
        name=name or _model_name(reference.rpartition("/")[2]),
        hf_id=reference,
        weights=_hub_weights,
        source=f"{hub}/{reference} at {revision}",
    )


def _profile(
    read: Read, config_name: str, *, name: str, hf_id: str, weights: Weigh, source: str
) -> ModelProfile:
    content = read(config_name, 0, None)
    if content is None:
        raise _problem(
            f"{source}: {config_name}",
            "there is no such file",
            "Give the folder or repository that holds a Hugging Face config.json",
        )
    config = _object(config_name, content)
    quantization = read(_QUANTIZATION, 0, None)
    if quantization is not None and "quantization_config" not in config:
        stated = _object(_QUANTIZATION, quantization).get("quantization")
        if not isinstance(stated, Mapping):
            raise _problem(f"{_QUANTIZATION}: quantization", "is missing", "Fetch the file again")
        config["quantization_config"] = {"quant_method": "modelopt", **stated}
    return profile_from_config(
        config,
        name=name,
        hf_id=hf_id,
        weight_bytes=weights(read, _layers(config)),
        source=source,
    )


def _local_weights(folder: Path, read: Read, layers: int | None) -> int | None:
    """Bytes of the tensors that vLLM loads; None where there are no weight files.

    The index names the files of a sharded model, so that copies beside them (original/,
    consolidated.safetensors, *.bin, *.gguf) do not count.
    """
    index = _index(read)
    if index is not None:
        shards = sorted(set(index["weight_map"].values()))
        headers = [header for name in shards if (header := _header(read, name)) is not None]
        if headers and len(headers) == len(shards):
            return sum(_loaded(header, layers) for header in headers)
        return _total(index)
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    files = [name for name in found if not name.startswith("consolidated")] or found
    if files:
        headers = [header for name in files if (header := _header(read, name)) is not None]
        return sum(_loaded(header, layers) for header in headers)
    return sum(path.stat().st_size for path in folder.glob("pytorch_model*.bin")) or None


def _hub_weights(read: Read, layers: int | None) -> int | None:
    """The same of a repository on the hub, without a request for each shard."""
    index = _index(read)
    if index is not None:
        return _total(index)
    header = _header(read, _SINGLE)
    return None if header is None else _loaded(header, layers)


def _index(read: Read) -> dict[str, Any] | None:
    """The index of a sharded model, None without one. Raises: InvalidModel."""
    content = read(_INDEX, 0, None)
    if content is None:
        return None
    index = _object(_INDEX, content)
    listed = index.get("weight_map")
    if not isinstance(listed, Mapping) or not all(isinstance(one, str) for one in listed.values()):
        raise _problem(
            f"{_INDEX}: weight_map", "must name a file for each tensor", "Fetch the index again"
        )
    return index


def _total(index: Mapping[str, Any]) -> int:
    """What an index says that all shards hold. Raises: InvalidModel."""
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    if isinstance(total, bool) or not isinstance(total, int | float) or total < 1:
        raise _problem(
            f"{_INDEX}: metadata.total_size",
            f"must be a number of bytes, got {total!r}",
            "Fetch the weight files too, or the index again",
        )
    return int(total)


def _header(read: Read, name: str) -> dict[str, Any] | None:
    """The header of a safetensors file; None where there is no such file.

    Raises: InvalidModel (cut off, longer than any real one, not JSON).
    """
    first = read(name, 0, _LENGTH_BYTES)
    if first is None:
        return None
    again = "Fetch the file again"
    if len(first) < _LENGTH_BYTES:
        raise _problem(name, f"ends after {len(first)} bytes, within the header's length", again)
    length = int.from_bytes(first, "little")
    if not 0 < length <= _LARGEST_HEADER:
        raise _problem(
            name, f"says that its header has {length} bytes: it is no safetensors file", again
        )
    content = read(name, _LENGTH_BYTES, length)
    if content is None or len(content) < length:
        raise _problem(
            name, f"ends within its header: {len(content or b'')} of {length} bytes", again
        )
    return _object(name, content)


def _loaded(header: Mapping[str, Any], layers: int | None) -> int:
    """Bytes of one file's tensors; those of multi-token prediction are left out, as vLLM loads them
    only to speculate with them."""
    total = 0
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        offsets = tensor.get("data_offsets") if isinstance(tensor, Mapping) else None
        if not _is_range(offsets):
            raise _problem(
                f"{name}: data_offsets",
                f"must be where the tensor begins and ends, got {offsets!r}",
                "Fetch the file again",
            )
        layer = _LAYER.search(name)
        predicts = name.startswith("mtp.") or (
            layers is not None and layer is not None and int(layer.group(1)) >= layers
        )
        total += 0 if predicts else offsets[1] - offsets[0]
    return total


def _is_range(offsets: object) -> TypeGuard[list[int]]:
    return (
        isinstance(offsets, list)
        and len(offsets) == 2
        and all(isinstance(one, int) for one in offsets)
        and 0 <= offsets[0] <= offsets[1]
    )


def _layers(config: Mapping[str, Any]) -> int | None:
    """Decoder blocks, where the usual key tells; layers beyond them predict further tokens."""
    text = config.get("text_config")
    count = (text if isinstance(text, Mapping) else config).get("num_hidden_layers")
    return count if isinstance(count, int) else None


def _object(name: str, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError as error:
        raise _problem(name, f"is not JSON: {error}", "Fetch the file again") from None
    if not isinstance(document, dict):
        raise _problem(name, "must be a JSON object", "Fetch the file again")
    return document


def _local(folder: Path) -> Read:
    def read(name: str, start: int, count: int | None) -> bytes | None:
        try:
            with (folder / name).open("rb") as file:
                file.seek(start)
                return file.read(-1 if count is None else count)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _problem(str(folder / name), f"cannot be read: {error.strerror}") from None

    return read


def _remote(hub: str, hf_id: str, revision: str) -> Read:
    def read(name: str, start: int, count: int | None) -> bytes | None:
        request = Request(f"{hub}/{hf_id}/resolve/{revision}/{name}")
        token = os.environ.get("HF_TOKEN")
        if token:
            # Not sent on to the storage that the hub redirects to.
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        if count is not None:
            request.add_header("Range", f"bytes={start}-{start + count - 1}")
        try:
            with urlopen(request, timeout=_TIMEOUT_S) as response:
                content: bytes = response.read() if count is None else response.read(count)
                return content
        except HTTPError as error:
            error.close()
            if error.code == 404 and name != _CONFIG:
                return None
            raise _refused(hf_id, name, error.code) from None
        except (URLError, TimeoutError, ConnectionError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise _unreachable(hf_id, hub, str(reason)) from None

    return read


def _refused(hf_id: str, name: str, code: int) -> InvalidModel:
    if code in (401, 403):
        return _problem(
            hf_id,
            "is gated, private or does not exist",
            "Accept its licence on Hugging Face and set HF_TOKEN, or check the id",
        )
    if code == 404:
        return _problem(
            hf_id,
            f"has no {name} on the hub",
            "Check the id and the revision; models without a config.json need a file of their own "
            "(docs/models.md)",
        )
    return _problem(hf_id, f"the hub answered {code} for {name}", "Try again later")


def _unreachable(hf_id: str, hub: str, reason: str) -> InvalidModel:
    return _problem(
        hf_id,
        f"{hub} cannot be asked: {reason}",
        "Offline, give a folder that holds the model's config.json, or one of kaito's own models",
    )


def _model_name(text: str) -> str:
    """As a Workspace may call it: lower case letters, digits, `-` and `.`."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:63] or "model"


def _problem(field: str, message: str, remedy: str = "") -> InvalidModel:
    return InvalidModel([Problem(field=field, message=message, remedy=remedy)])
