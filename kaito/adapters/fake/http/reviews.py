"""What is posted and answered at once: access reviews, tokens, evictions, bindings; and what this
server cannot do, with what to do in its place."""

from collections.abc import Mapping
from typing import Any, Final

from kaito.adapters.fake.http.built_in_schemas import definition_name
from kaito.adapters.fake.http.kinds import ReviewKind
from kaito.adapters.fake.http.objects import Objects
from kaito.adapters.fake.http.statuses import Refusal, refusal
from kaito.adapters.fake.http.targets import Target
from kaito.adapters.fake.http.typed_decoding import decoded
from kaito.adapters.kube_api import SERVICE, KubeObject, labels_of, name_of
from kaito.domain.timestamps import to_rfc3339

USER: Final = "kaito-twin-admin"
_GROUPS: Final = ("system:masters", "system:authenticated")
_TOKEN_LIFE_S: Final = 3600
_BINDING: Final = definition_name("", "v1", "Binding")
_EVICTION: Final = definition_name("policy", "v1", "Eviction")
_TOKEN_REQUEST: Final = definition_name("authentication.k8s.io", "v1", "TokenRequest")
INTERACTIVE: Final[Mapping[str, str]] = {
    "attach": "attach to a container",
    "exec": "run commands in a container",
    "portforward": "forward ports to a pod",
}


def review(kind: ReviewKind, body: Mapping[str, Any]) -> dict[str, Any]:
    """Everybody with the token may do everything. Raises: Refusal (400)."""
    sent = decoded(body, definition_name(kind.group, kind.version, kind.kind)).body
    status: dict[str, Any]
    if kind.kind == "SelfSubjectAccessReview":
        status = {"allowed": True, "reason": "everything is allowed in the twin"}
    elif kind.kind == "SelfSubjectRulesReview":
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        status = {
            "resourceRules": [everything],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
    else:
        status = {"userInfo": {"username": USER, "groups": list(_GROUPS)}}
    return {
        "kind": kind.kind,
        "apiVersion": kind.api_version,
        "metadata": {"creationTimestamp": None},
        "spec": sent.get("spec") or {},
        "status": status,
    }


def token_request(
    target: Target, body: Mapping[str, Any], token: str, now_s: float
) -> dict[str, Any]:
    """A service account's token: the one token that there is. Raises: Refusal (400)."""
    spec = dict(decoded(body, _TOKEN_REQUEST).body.get("spec") or {})
    life_s = spec.get("expirationSeconds") or _TOKEN_LIFE_S
    spec["audiences"] = spec.get("audiences") or ["kaito-twin"]
    spec["expirationSeconds"] = life_s
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": target.name, "namespace": target.namespace},
        "spec": spec,
        "status": {"token": token, "expirationTimestamp": to_rfc3339(now_s + life_s)},
    }


def evict(objects: Objects, target: Target, body: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a pod, as `kubectl drain` asks for it. Raises: Refusal (400), KubeApiError (429: a
    PodDisruptionBudget does not allow it now)."""
    options = decoded(body, _EVICTION).body.get("deleteOptions") or {}
    objects.store.evict(
        target.name,
        target.namespace or "",
        uid=(options.get("preconditions") or {}).get("uid"),
        grace_period_s=options.get("gracePeriodSeconds"),
    )
    return _success()


def bind(objects: Objects, target: Target, body: Mapping[str, Any]) -> dict[str, Any]:
    """Put a pod on a node. Raises: Refusal (400), KubeApiError."""
    node = (decoded(body, _BINDING).body.get("target") or {}).get("name")
    if not node:
        raise refusal(400, "a Binding names its node in target.name")
    objects.store.patch(
        target.kind.resource, target.name, target.namespace, {"spec": {"nodeName": node}}
    )
    return _success()


def no_terminal(objects: Objects, target: Target) -> Refusal:
    """Why a terminal cannot be opened. Raises: ObjectNotFound (no such pod)."""
    pod = objects.live(target)
    service = _service_of(objects, pod)
    where = (
        f"ask the Service instead: `kubectl get service {service} -n {target.namespace}` shows its"
        " address and ports"
        if service
        else "`kubectl logs` and `kubectl describe` show what it does"
    )
    return refusal(
        501,
        f"the twin runs no containers, so it cannot {INTERACTIVE[target.subresource]}: {where}",
        reason="NotImplemented",
        details={"name": target.name, "kind": target.kind.resource.plural},
    )


def _service_of(objects: Objects, pod: KubeObject) -> str:
    labels = labels_of(pod)
    for service in objects.store.list(SERVICE, pod["metadata"]["namespace"]).items:
        spec = service["spec"]
        selector = spec.get("selector") or {}
        fits = selector and all(labels.get(key) == value for key, value in selector.items())
        if fits and spec.get("clusterIP") != "None":
            return name_of(service)
    return ""


def _success() -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
