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

# `kubectl create service clusterip x --tcp=80:http`
SERVICE = bytes.fromhex(
    "6b387300 0a0d 0a027631 120753657276696365 1266 0a1b 0a01 78 1200 1a00 2200 2a00 3200 3800 4200"
    "5a08 0a03617070 120178 1243 0a1e 0a0738302d68747470 1203544350 1850 220a 0801 1000"
    "1a0468747470 2800 1208 0a03617070 120178 1a00 2209436c75737465724950 3a00 4200 5200 5a00"
    "6000 6800"
    "1a02 0a00 1a00 2200"
)
# `kubectl create job one --image=busybox -- echo hi`
JOB = bytes.fromhex(
    "6b387300 0a0f 0a0862617463682f7631 12034a6f62 128601 0a13 0a036f6e65 1200 1a00 2200 2a00 3200"
    "3800 4200 1265 3263 0a10 0a00 1200 1a00 2200 2a00 3200 3800 4200 124f 122c 0a036f6e65"
    "120762757379626f78 1a046563686f 1a026869 2a00 4200 6a00 7200 800100 880100 900100 a20100"
    "1a054e65766572 3200 4200 4a00 5200 5800 6000 6800 820100 8a0100 9a0100 c20100"
    "1a08 2000 2800 3000 3a00 1a00 2200"
)


def test_what_kubectl_sends() -> None:
    assert decoded(CONFIG_MAP) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "foo"},
        "data": {"a": "b"},
    }


def test_a_service_and_a_job() -> None:
    port = {"name": "80-http", "protocol": "TCP", "port": 80, "targetPort": "http", "nodePort": 0}
    assert decoded(SERVICE) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x", "labels": {"app": "x"}},
        "spec": {"ports": [port], "selector": {"app": "x"}, "type": "ClusterIP"},
    }
    container = {"name": "one", "image": "busybox", "command": ["echo", "hi"]}
    job = decoded(JOB)
    assert job["metadata"] == {"name": "one"}
    assert job["spec"]["template"]["spec"] == {"containers": [container], "restartPolicy": "Never"}


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
