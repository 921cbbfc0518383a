"""What kubectl sends in protobuf form."""

import pytest

from kaito.adapters.fake.http.protobuf import CONTENT_TYPE, decoded
from kaito.adapters.fake.http.statuses import Refusal
from tests.unit.adapters.fake.http.conftest import CONFIG_MAPS, Client

# `kubectl create configmap foo --from-literal=a=b` (kubectl 1.37), byte for byte
CONFIG_MAP = bytes.fromhex(
    "6b387300 0a0f 0a027631 1209436f6e6669674d6170"
    "121d 0a130a03666f6f12001a0022002a00320038004200 12060a0161120162 1a00 2200"
)


def test_what_kubectl_sends() -> None:
    assert decoded(CONFIG_MAP) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "foo"},
        "data": {"a": "b"},
    }


def test_it_is_stored(client: Client) -> None:
    client.json("POST", CONFIG_MAPS, CONFIG_MAP, content_type=CONTENT_TYPE)
    assert client.json("GET", f"{CONFIG_MAPS}/foo")["data"] == {"a": "b"}


def test_kinds_that_are_not_read() -> None:
    with pytest.raises(Refusal, match="does not read Pod in protobuf form") as caught:
        decoded(b"k8s\x00\x0a\x09\x0a\x02v1\x12\x03Pod")
    assert caught.value.status["code"] == 415


@pytest.mark.parametrize("body", [b"", b"{}", CONFIG_MAP[:-9], b"k8s\x00\x0f", b"k8s\x00\x0a\xff"])
def test_damaged_bodies(body: bytes) -> None:
    with pytest.raises(Refusal):
        decoded(body)
