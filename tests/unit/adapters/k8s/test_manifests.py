"""The objects of a workload: what KAITO v0.12's users select, scrape and mount stays as it was."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kaito.adapters.k8s import manifests, pod_scripts
from kaito.adapters.k8s.manifests import render
from kaito.adapters.kube_api import CONFIG_MAP, JOB, SERVICE, STATEFUL_SET, Resource
from kaito.domain import labels
from kaito.domain.names import is_dns_label
from kaito.domain.tuning_attempts import ExitCode
from kaito.domain.workload import AdapterMount, TuningData, Workload
from kaito.domain.workload_plan import plan_workload
from tests.unit.domain.builders import (
    LONG,
    MINI,
    TRAINING,
    TUNING,
    TWO_A10,
    UID,
    V100,
    config,
    wanted,
    workspace,
)

Json = dict[str, Any]

EVIL = "$(touch pwned) ; `touch pwned` '\"\\ && touch pwned | > * $HOME"
VOLUME = {"persistentVolumeClaim": {"claimName": "data", "readOnly": True}}


def workload(**parts: Any) -> Workload:
    return wanted(workspace(**parts)).workload


def body(found: Workload, resource: Resource, name: str = "phi") -> Json:
    (one,) = [
        desired.body
        for desired in render(found)
        if desired.resource is resource and desired.body["metadata"]["name"] == name
    ]
    plain: Json = json.loads(json.dumps(one))  # whatever the domain's types are
    return plain


def pod_of(found: Workload) -> Json:
    resource = JOB if found.tuning else STATEFUL_SET
    pod: Json = body(found, resource)["spec"]["template"]["spec"]
    return pod


def adapters(*sources: Json) -> Json:
    return {
        "inference": {"preset": {"name": MINI}, "adapters": [{"source": one} for one in sources]}
    }


def shape(items: list[Json]) -> list[str]:
    return [item["name"] for item in items]


# --- serving ---


def test_a_slice_of_a_gpu_is_asked_for_by_its_name() -> None:
    found = replace(workload(), gpus=1, gpu_resource="nvidia.com/mig-2g.20gb")
    (main,) = pod_of(found)["containers"]
    amount = {"nvidia.com/mig-2g.20gb": "1"}
    assert main["resources"] == {"requests": amount, "limits": amount}


def test_what_serving_needs_comes_first() -> None:
    kinds = [(one.resource.kind, one.body["metadata"]["name"]) for one in render(workload())]
    assert kinds == [("Service", "phi"), ("Service", "phi-headless"), ("StatefulSet", "phi")]
    for desired in render(workload()):
        assert desired.body["apiVersion"] == desired.resource.api_version
        assert desired.body["kind"] == desired.resource.kind


def test_every_object_belongs_to_the_workspace() -> None:
    for found in (workload(), workload(tuning=TUNING)):
        for desired in render(found):
            metadata = desired.body["metadata"]
            assert metadata["namespace"] == "default"
            assert metadata["labels"] == {
                "kaito.sh/workspace": "phi",
                "kaito.sh/workspacenamespace": "default",
                "app.kubernetes.io/managed-by": "kaito",
            }
            assert metadata["ownerReferences"] == [
                {
                    "apiVersion": "kaito.sh/v1beta1",
                    "kind": "Workspace",
                    "name": "phi",
                    "uid": UID,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ]


def test_the_services() -> None:
    selector = {"kaito.sh/workspace": "phi"}
    assert body(workload(), SERVICE)["spec"] == {
        "type": "ClusterIP",
        "publishNotReadyAddresses": False,
        "selector": selector,
        "ports": [{"name": "http", "port": 80, "targetPort": 5000, "protocol": "TCP"}],
    }
    assert body(workload(), SERVICE, "phi-headless")["spec"] == {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": selector,
        "ports": [{"name": "http", "port": 5000, "targetPort": 5000, "protocol": "TCP"}],
    }
    public = workload(annotations={labels.ENABLE_LOAD_BALANCER: "True"})
    assert body(public, SERVICE)["spec"]["type"] == "LoadBalancer"


def test_the_stateful_set() -> None:
    spec = body(workload(), STATEFUL_SET)["spec"]
    template = spec.pop("template")
    selected = {"kaito.sh/workspace": "phi"}
    assert spec == {
        "replicas": 1,
        "podManagementPolicy": "Parallel",
        "serviceName": "phi-headless",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "selector": {"matchLabels": selected},
    }
    assert selected.items() <= template["metadata"]["labels"].items()
    assert "annotations" not in template["metadata"], "no config, no hash of one"


def test_where_pods_may_run() -> None:
    for found in (workload(), workload(tuning=TUNING)):
        pod = pod_of(found)
        (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
            "nodeSelectorTerms"
        ]
        assert term["matchExpressions"] == [
            {"key": "apps", "operator": "In", "values": ["phi"]},
            {"key": "kaito.sh/workspace", "operator": "In", "values": ["phi"]},
            {"key": "kaito.sh/workspacenamespace", "operator": "In", "values": ["default"]},
        ]
        assert pod["tolerations"] == [
            {"key": "nvidia.com/gpu", "operator": "Exists"},
            {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
            {
                "key": "kubernetes.azure.com/scalesetpriority",
                "operator": "Equal",
                "value": "spot",
                "effect": "NoSchedule",
            },
        ]


def test_the_server_container() -> None:
    found = workload()
    (server,) = pod_of(found)["containers"]
    assert server == {
        "name": "phi",
        "image": "mcr.microsoft.com/aks/kaito/kaito-base:0.5.0",
        "command": list(found.command),
        "args": list(found.arguments),
        "ports": [{"name": "http", "containerPort": 5000, "protocol": "TCP"}],
        "env": [],
        "resources": {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}},
        "startupProbe": {
            "httpGet": {"path": "/health", "port": 5000},
            "periodSeconds": 10,
            "failureThreshold": 180,
        },
        "livenessProbe": {
            "httpGet": {"path": "/health", "port": 5000},
            "periodSeconds": 10,
            "failureThreshold": 3,
        },
        "readinessProbe": {
            "httpGet": {"path": "/health", "port": 5000},
            "periodSeconds": 10,
            "failureThreshold": 3,
            "initialDelaySeconds": 30,
        },
        "volumeMounts": [
            {"name": "dshm", "mountPath": "/dev/shm"},
            {"name": "model-weights-volume", "mountPath": "/workspace/weights"},
        ],
    }
    assert pod_of(found)["volumes"] == [
        {"name": "dshm", "emptyDir": {"medium": "Memory"}},
        {"name": "model-weights-volume", "emptyDir": {}},
    ]
    assert "initContainers" not in pod_of(found)


def test_a_machine_with_more_gpus_is_asked_for_all_of_them() -> None:
    (server,) = pod_of(workload(instance_type=TWO_A10))["containers"]
    assert server["resources"]["limits"] == {"nvidia.com/gpu": "2"}


def test_a_config_is_mounted_and_its_content_rolls_the_pods() -> None:
    found = workspace(inference={"preset": {"name": MINI}, "config": "settings"})
    first = wanted(found, config()).workload
    pod = pod_of(first)
    assert pod["volumes"][2] == {"name": "config-volume", "configMap": {"name": "settings"}}
    assert pod["containers"][0]["volumeMounts"][2] == {
        "name": "config-volume",
        "mountPath": "/mnt/config",
    }
    template = body(first, STATEFUL_SET)["spec"]["template"]
    assert template["metadata"]["annotations"] == {"kaito.sh/config-hash": "abc"}
    second = wanted(found, config(content_hash="def")).workload
    assert body(second, STATEFUL_SET)["spec"]["template"] != template
    assert template_hash(first) != template_hash(second)


def template_hash(found: Workload) -> str:
    resource = JOB if found.tuning else STATEFUL_SET
    text: str = body(found, resource)["metadata"]["annotations"]["kaito.sh/template-hash"]
    return text


def test_the_token_of_a_gated_model_comes_from_its_secret() -> None:
    options = {"modelAccessSecret": "token"}
    found = workload(inference={"preset": {"name": MINI, "presetOptions": options}})
    (server,) = pod_of(found)["containers"]
    assert server["env"] == [
        {
            "name": "HF_TOKEN",
            "valueFrom": {"secretKeyRef": {"name": "token", "key": "HF_TOKEN", "optional": True}},
        }
    ]


def test_the_pods_of_a_gated_model_wait_for_its_token() -> None:
    required = replace(workload(), access_secret="token", token_required=True)
    (server,) = pod_of(required)["containers"]
    reference = server["env"][0]["valueFrom"]["secretKeyRef"]
    assert reference == {"name": "token", "key": "HF_TOKEN", "optional": False}


def test_the_secrets_of_an_image_of_ones_own() -> None:
    options = {"image": "registry.test/mine:1", "imagePullSecrets": ["one", "two"]}
    found = workload(inference={"preset": {"name": MINI, "presetOptions": options}})
    assert pod_of(found)["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]
    assert "imagePullSecrets" not in pod_of(workload())


def test_adapters_from_images_and_volumes() -> None:
    image = {"name": "style", "image": "registry.test/style:1", "imagePullSecrets": ["pull"]}
    pod = pod_of(workload(**adapters(image, {"name": "tone", "volumeSource": VOLUME})))
    (puller,) = pod["initContainers"]
    assert (puller["name"], puller["image"]) == ("puller-style", pod_scripts.SKOPEO_IMAGE)
    assert puller["args"] == ["registry.test/style:1", "/mnt/adapter/style"]
    assert puller["volumeMounts"] == [
        {"name": "adapter-volume", "mountPath": "/mnt/adapter"},
        {"name": "pull-secret-pull", "mountPath": "/etc/kaito/pull-secrets/pull"},
    ]
    assert pod["volumes"][2:] == [
        {"name": "adapter-volume", "emptyDir": {}},
        {"name": "pull-secret-pull", "secret": {"secretName": "pull"}},
        {"name": "lora-tone", **VOLUME},
    ]
    (server,) = pod["containers"]
    assert server["volumeMounts"][2:] == [
        {"name": "adapter-volume", "mountPath": "/mnt/adapter"},
        {"name": "lora-tone", "mountPath": "/mnt/adapter/tone"},
    ]
    assert server["env"] == [{"name": "style", "value": "1.0"}, {"name": "tone", "value": "1.0"}]


def test_adapters_that_share_a_secret_share_its_volume() -> None:
    sources = [
        {"name": name, "image": f"registry.test/{name}:1", "imagePullSecrets": ["acr.one", "two"]}
        for name in ("a", "b")
    ]
    pod = pod_of(workload(**adapters(*sources)))
    names = shape(pod["volumes"])
    assert len(names) == len(set(names)), names
    assert all(is_dns_label(name) for name in names), "a volume's name has no dots"
    secrets = {
        volume["secret"]["secretName"]: volume["name"]
        for volume in pod["volumes"]
        if "secret" in volume
    }
    assert set(secrets) == {"acr.one", "two"}
    for puller in pod["initContainers"]:
        assert {mount["name"] for mount in puller["volumeMounts"]} == {
            "adapter-volume",
            *secrets.values(),
        }


def test_only_volume_adapters_need_no_shared_folder() -> None:
    pod = pod_of(workload(**adapters({"name": "tone", "volumeSource": VOLUME})))
    assert "adapter-volume" not in shape(pod["volumes"])
    assert "initContainers" not in pod


# --- tuning ---


def test_what_tuning_needs_comes_first() -> None:
    found = workload(tuning=TUNING)
    kinds = [(one.resource.kind, one.body["metadata"]["name"]) for one in render(found)]
    assert kinds == [("ConfigMap", "phi-training-config"), ("Job", "phi")]


def test_the_job() -> None:
    found = workload(tuning=TUNING, instance_type=V100)
    spec = body(found, JOB)["spec"]
    template = spec.pop("template")
    assert spec.pop("podFailurePolicy")["rules"] == [
        {
            "action": "Ignore",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        },
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [65, 66, 77, 126, 127]}},
    ]
    assert spec == {"parallelism": 1, "completions": 1, "backoffLimit": 3}
    pod = template["spec"]
    assert pod["restartPolicy"] == "Never", "a failure policy needs it"
    policies = [one.pop("terminationMessagePolicy") for one in containers(pod)]
    assert policies == ["FallbackToLogsOnError"] * 3
    trainer, pusher = pod["containers"]
    assert trainer == {
        "name": "phi",
        "image": "mcr.microsoft.com/aks/kaito/kaito-base:0.0.2",
        "command": list(found.command),
        "args": list(found.arguments),
        "env": [
            {"name": "PYTORCH_CUDA_ALLOC_CONF", "value": "expandable_segments:True"},
            {
                "name": "DEFAULT_TARGET_MODULES",
                "value": "qkv_proj,o_proj,gate_up_proj,down_proj",
            },
        ],
        "resources": {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}},
        "volumeMounts": [
            {"name": "dshm", "mountPath": "/dev/shm"},
            {"name": "model-weights-volume", "mountPath": "/workspace/weights"},
            {"name": "data-volume", "mountPath": "/mnt/data"},
            {"name": "results-volume", "mountPath": "/mnt/results"},
            {"name": "config-volume", "mountPath": "/mnt/config"},
        ],
    }
    (loader,) = pod["initContainers"]
    assert loader["name"] == "data-downloader"
    assert loader["args"] == ["/mnt/data", "https://example.com/data.parquet?download=true"]
    assert loader["volumeMounts"] == [{"name": "data-volume", "mountPath": "/mnt/data"}]
    assert (pusher["name"], pusher["image"]) == ("pusher", pod_scripts.ORAS_IMAGE)
    assert pusher["args"] == ["registry.test/result:1", "/mnt/results", LONG]
    assert pusher["volumeMounts"] == [
        {"name": "results-volume", "mountPath": "/mnt/results"},
        {"name": "push-secret", "mountPath": "/etc/kaito/push-secret", "readOnly": True},
    ]
    assert shape(pod["volumes"]) == [
        "dshm",
        "model-weights-volume",
        "data-volume",
        "results-volume",
        "config-volume",
        "push-secret",
    ]
    assert pod["volumes"][-1]["secret"] == {
        "secretName": "push",
        "items": [{"key": ".dockerconfigjson", "path": "config.json"}],
    }


def test_the_settings_that_kaito_makes_are_a_config_map_of_its_own() -> None:
    found = workload(tuning=TUNING)
    text = body(found, CONFIG_MAP, "phi-training-config")["data"]["training_config.yaml"]
    assert yaml.safe_load(text) == found.training_config
    qlora, lora = found, workload(tuning={**TUNING, "method": "lora"})
    assert template_hash(qlora) != template_hash(lora), "new settings run the job anew"


def test_settings_of_the_users_own_are_mounted_instead() -> None:
    tuned = workspace(tuning={**TUNING, "config": "settings"})
    found = wanted(tuned, config(TRAINING)).workload
    assert [one.resource for one in render(found)] == [JOB]
    volumes = {volume["name"]: volume for volume in pod_of(found)["volumes"]}
    assert volumes["config-volume"]["configMap"] == {"name": "settings"}


def test_tuning_from_an_image_to_a_volume() -> None:
    source = {"image": "registry.test/data:1", "imagePullSecrets": ["acr.one"]}
    pod = pod_of(workload(tuning={**TUNING, "input": source, "output": {"volumeSource": VOLUME}}))
    (loader,) = pod["initContainers"]
    assert (loader["name"], loader["args"]) == (
        "data-puller",
        ["registry.test/data:1", "/mnt/data"],
    )
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["results-volume"] == {"name": "results-volume", **VOLUME}
    assert volumes["data-volume"] == {"name": "data-volume", "emptyDir": {}}
    assert "push-secret" not in volumes
    assert len(pod["containers"]) == 1
    (secret,) = [volume for volume in pod["volumes"] if "secret" in volume]
    assert is_dns_label(secret["name"])
    assert secret["secret"] == {"secretName": "acr.one"}
    assert secret["name"] in [mount["name"] for mount in loader["volumeMounts"]]


def test_tuning_from_a_volume_loads_nothing() -> None:
    pod = pod_of(workload(tuning={**TUNING, "input": {"volumeSource": VOLUME}}))
    assert "initContainers" not in pod
    assert {"name": "data-volume", **VOLUME} in pod["volumes"]


def test_a_job_without_settings_mounts_none() -> None:
    """As a model server of another maker might run: neither the user's nor kaito's settings."""
    tuned = workspace(tuning={**TUNING, "config": "settings"})
    found = plan_workload(tuned, wanted(tuned, config(TRAINING)).sizing, None)
    assert manifests.config_volume_name(found) == ""
    assert "config-volume" not in shape(pod_of(found)["volumes"])


# --- order and names ---

FULL = adapters(
    {"name": "style", "image": "registry.test/style:1", "imagePullSecrets": ["b", "a"]},
    {"name": "tone", "volumeSource": VOLUME},
)


@pytest.mark.parametrize("parts", [{}, FULL, {"tuning": TUNING}])
def test_the_same_workload_is_the_same_text(parts: Json) -> None:
    def text() -> str:
        return "".join(json.dumps(one.body) for one in render(workload(**parts)))

    assert text() == text()


def test_the_order_of_a_users_labels_does_not_matter() -> None:
    texts = set()
    for pairs in ([("a", "1"), ("b", "2")], [("b", "2"), ("a", "1")]):
        found = workload(resource={"labelSelector": {"matchLabels": dict(pairs)}})
        texts.add(json.dumps(body(found, STATEFUL_SET)))
    assert len(texts) == 1


# --- shells ---


def containers(pod: Json) -> Iterator[Json]:
    yield from pod.get("initContainers", [])
    yield from pod["containers"]


def shell_texts(pod: Json) -> list[str]:
    return [
        container["command"][2]
        for container in containers(pod)
        if container["command"][:2] == ["/bin/sh", "-c"]
    ]


@pytest.fixture(params=["serving", "tuning from URLs", "tuning from an image"])
def hostile(request: pytest.FixtureRequest) -> Workload:
    """A workload with text that no rule let through, in every place that a manifest fills."""
    if request.param == "serving":
        adapter = AdapterMount(
            name="name" + EVIL,
            strength=EVIL,
            image="image" + EVIL,
            pull_secrets=("secret" + EVIL,),
        )
        return replace(workload(), adapters=(adapter,), image=EVIL, model=EVIL)
    from_urls = request.param == "tuning from URLs"
    data = TuningData(
        urls=("https://example.com/" + EVIL, EVIL) if from_urls else (),
        input_image="" if from_urls else "image" + EVIL,
        input_pull_secrets=("secret" + EVIL,),
        output_image="image" + EVIL,
        push_secret="secret" + EVIL,
        results_dir="/mnt/" + EVIL,
    )
    return replace(workload(tuning=TUNING), tuning=data, image=EVIL, model=EVIL)


def test_nothing_from_a_manifest_stands_in_a_shell_script(hostile: Workload) -> None:
    texts = shell_texts(pod_of(hostile))
    assert texts
    innocent = {
        text
        for parts in (FULL, {"tuning": TUNING}, {"tuning": {**TUNING, "input": {"image": "a/b"}}})
        for text in shell_texts(pod_of(workload(**parts)))
    }
    assert set(texts) <= innocent, "a script is a constant"
    assert not any("pwned" in text for text in texts)
    assert "pwned" in json.dumps([one.get("args") for one in containers(pod_of(hostile))])


# Each call answers with the next line of what it is to say, the last one again and again, and fails
# while there is such a line; a file that it is to write gets the content of $DATA.
STUB = """#!/bin/sh
output=""
for argument in "$@"; do
  [ "$last" != --output ] || output=$argument
  printf '%s\\n' "$argument" >> "$LOG"
  last=$argument
done
[ "${0##*/}" != sleep ] || exit 0
[ -z "$output" ] || cp "$DATA" "$output"
case $last in dir:*) mkdir -p "${last#dir:}"; echo '{}' > "${last#dir:}/manifest.json" ;; esac
said=$(head -n 1 "$SAYS")
[ "$(wc -l < "$SAYS")" -le 1 ] || sed -i 1d "$SAYS"
case $said in
  "") exit "$RC" ;;
  [0-9]*) printf '%s' "$said"; exit 22 ;;
  *) echo "$said" >&2; exit 1 ;;
esac
"""


def executed(
    container: Json,
    tmp_path: Path,
    *,
    rc: int = 0,
    says: Sequence[str] = (),
    data: bytes = b"data",
) -> tuple[int, list[str]]:
    """Run a helper's script with stubs for what it calls: exit code and the arguments they got.
    `says`: why each call in turn fails, an HTTP status or a registry's words; "" lets one pass."""
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    (tmp_path / "says").write_text("".join(f"{line}\n" for line in says))
    (tmp_path / "data-file").write_bytes(data)
    for name in ("skopeo", "curl", "oras", "sleep"):
        (stubs / name).write_text(STUB, encoding="utf-8")
        (stubs / name).chmod(0o755)
    log, cwd = tmp_path / "log", tmp_path / "cwd"
    log.touch()
    cwd.mkdir()
    done = subprocess.run(
        [*container["command"], *container["args"]],
        env={
            "PATH": f"{stubs}:/usr/bin:/bin",
            "LOG": str(log),
            "RC": str(rc),
            "TMPDIR": str(cwd),
            "SAYS": str(tmp_path / "says"),
            "DATA": str(tmp_path / "data-file"),
        },
        cwd=cwd,
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert not list(tmp_path.rglob("pwned")), "something was executed"
    return done.returncode, log.read_text(encoding="utf-8").splitlines()


def test_a_downloaded_url_stays_one_word(tmp_path: Path) -> None:
    url = f"https://example.com/{EVIL}?token={EVIL}"
    data = str(tmp_path / "data")
    container = pod_scripts.downloader("data-downloader", ["https://example.com/a", url], data)
    code, arguments = executed(container, tmp_path)
    assert code == 0
    assert [one for one in arguments if one.startswith("https:")] == ["https://example.com/a", url]
    assert f"{data}/000-a" in arguments
    assert f"{data}/001-{EVIL}" in arguments, "saved under the end of its path, without the query"
    assert arguments.count("--") == 2, "what follows is no option"


def test_an_image_that_cannot_be_pulled_fails_the_pod(tmp_path: Path) -> None:
    container = pod_scripts.puller("puller-a", "image" + EVIL, str(tmp_path / "a"))
    code, arguments = executed(container, tmp_path, rc=1)
    assert code == ExitCode.TRY_AGAIN
    assert f"docker://image{EVIL}" in arguments


@pytest.mark.parametrize(
    ("says", "code"),
    [
        ("reading manifest 1 in registry.test/a: manifest unknown", ExitCode.DATA_NOT_FOUND),
        ("unable to retrieve auth token: unauthorized: sign in", ExitCode.NOT_PERMITTED),
        ("requested access to the resource is denied", ExitCode.NOT_PERMITTED),
        ("received unexpected HTTP status: 503 Service Unavailable", ExitCode.TRY_AGAIN),
        ("toomanyrequests: you have reached your pull rate limit", ExitCode.TRY_AGAIN),
    ],
)
def test_what_a_registry_says_decides_whether_to_try_again(
    says: str, code: ExitCode, tmp_path: Path
) -> None:
    container = pod_scripts.puller("data-puller", "registry.test/a:1", str(tmp_path / "a"))
    assert executed(container, tmp_path, says=[says])[0] == code


def test_an_image_without_data_is_no_data(tmp_path: Path) -> None:
    container = pod_scripts.puller("data-puller", "registry.test/a:1", str(tmp_path / "a"))
    assert executed(container, tmp_path)[0] == ExitCode.DATA_INVALID


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("404", ExitCode.DATA_NOT_FOUND),
        ("410", ExitCode.DATA_NOT_FOUND),
        ("401", ExitCode.NOT_PERMITTED),
        ("403", ExitCode.NOT_PERMITTED),
        ("503", ExitCode.TRY_AGAIN),
        ("000", ExitCode.TRY_AGAIN),
    ],
)
def test_what_a_host_answers_decides_whether_to_try_again(
    status: str, code: ExitCode, tmp_path: Path
) -> None:
    urls = ["https://example.com/a.json?token=secret"]
    container = pod_scripts.downloader("data-downloader", urls, str(tmp_path / "data"))
    assert executed(container, tmp_path, says=[status])[0] == code


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.json", b"", ExitCode.DATA_INVALID),
        ("a.json", b"<!DOCTYPE HTML><html>sign in", ExitCode.DATA_INVALID),
        ("a.csv", b"<html><body>", ExitCode.DATA_INVALID),
        ("a.csv", b"question,answer\nwhat is <html>?,a tag\n", 0),
        ("a.parquet", b"PAR1\0\1\2PAR1", 0),
        ("a.parquet", b"PAR1\0\1\2", ExitCode.DATA_INVALID),
        ("a.parquet", b"\0\1\2\3PAR1", ExitCode.DATA_INVALID),
        ("a.arrow", b"ARROW1\0\0", 0),
    ],
)
def test_what_is_no_data_is_found_before_the_training(
    name: str, content: bytes, code: int, tmp_path: Path
) -> None:
    urls = [f"https://example.com/{name}?download=true"]
    container = pod_scripts.downloader("data-downloader", urls, str(tmp_path / "data"))
    assert executed(container, tmp_path, data=content)[0] == code


def test_the_result_is_pushed_once_the_trainer_has_said_so(tmp_path: Path) -> None:
    results = tmp_path / f"results {EVIL}"
    results.mkdir()
    for name in (
        "adapter_config.json",
        "adapter_model.safetensors",
        "fine_tuning_completed.txt",
    ):
        (results / name).touch()
    container = pod_scripts.pusher("pusher", "image" + EVIL, str(results), "model" + EVIL)
    code, arguments = executed(container, tmp_path)
    assert code == 0
    assert "image" + EVIL in arguments
    assert f"sh.kaito.model.name=model{EVIL}" in arguments


@pytest.mark.parametrize(
    ("says", "code", "pushes"),
    [
        ([], 0, 1),
        (["denied: requested access to the resource is denied"], ExitCode.NOT_PERMITTED, 1),
        (["connection reset", "502 Bad Gateway", ""], 0, 3),
        (["connection reset"], ExitCode.TRY_AGAIN, 6),
    ],
)
def test_a_push_is_repeated_unless_it_is_refused(
    says: list[str], code: int, pushes: int, tmp_path: Path
) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors", "fine_tuning_completed.txt"):
        (tmp_path / name).touch()
    container = pod_scripts.pusher("pusher", "registry.test/a:1", str(tmp_path), "phi")
    ended, arguments = executed(container, tmp_path, says=says)
    assert (ended, arguments.count("push")) == (code, pushes)


def test_scripts_are_valid_shell() -> None:
    pods = [pod_of(workload(**FULL)), pod_of(workload(tuning=TUNING))]
    texts = {text for pod in pods for text in shell_texts(pod)}
    assert len(texts) == 3
    for text in texts:
        subprocess.run(["/bin/sh", "-n", "-c", text], check=True)
