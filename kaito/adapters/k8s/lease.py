"""Leader election by a Lease (coordination.k8s.io/v1): one operator at a time does the work.

The rules are client-go's (tools/leaderelection): whoever holds the Lease renews it; another one
takes it over once it has seen no renewal for its duration, measured on its own clock; every write
carries the version that was read, so that two cannot both win.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kaito.adapters.kube_api import (
    LEASE,
    AlreadyExists,
    KubeApi,
    KubeApiError,
    KubeObject,
    ObjectNotFound,
    thaw,
)
from kaito.domain.timestamps import to_rfc3339_micro


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """client-go's defaults: others wait `duration_s` without a renewal before they take over; the
    holder gives up if it could not renew for `renew_within_s`; both try every `retry_s`."""

    duration_s: float = 15.0
    renew_within_s: float = 10.0
    retry_s: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration_s > self.renew_within_s > self.retry_s > 0:
            raise ValueError(
                "lease times must fall: "
                f"{self.duration_s} > {self.renew_within_s} > {self.retry_s} > 0 seconds"
            )


class LeaderElection:
    """One candidate. Call `step` every `times.retry_s`; it says whether this one leads."""

    def __init__(
        self,
        api: KubeApi,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes | None = None,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self.times = times or LeaseTimes()
        self._seen: tuple[str, str] = ("", "")
        self._seen_at_s = 0.0
        self._renewed_at_s: float | None = None
        self.problem = ""

    def step(self, now_s: Callable[[], float]) -> bool:
        """Take or renew the Lease if possible; whether this candidate leads until the next step.

        A renewal counts from before its calls, and what is left of it is judged after them: they
        may have taken long. `problem` says why the last step could not read or write the Lease.
        """
        began_s = now_s()
        self.problem = ""
        try:
            self._renewed_at_s = began_s if self._take_or_renew(began_s) else None
        except KubeApiError as error:
            # Lead on only as long as nobody can have taken over.
            self.problem = str(error)
        held_at_s = self._renewed_at_s
        return held_at_s is not None and now_s() - held_at_s < self.times.renew_within_s

    def release(self, now_s: float) -> None:
        """Give the Lease up, so that another one need not wait; a failure is left to time."""
        try:
            lease = self._api.get(LEASE, self._name, self._namespace)
            if _holder(lease) == self._identity:
                self._api.replace(LEASE, self._body(now_s, lease, holder=""))
        except KubeApiError:
            return
        finally:
            self._renewed_at_s = None

    def _take_or_renew(self, now_s: float) -> bool:
        try:
            lease = self._api.get(LEASE, self._name, self._namespace)
        except ObjectNotFound:
            try:
                self._api.create(LEASE, self._body(now_s, None, holder=self._identity))
            except AlreadyExists:
                return False
            return True
        holder = _holder(lease)
        seen = (holder, str((lease.get("spec") or {}).get("renewTime", "")))
        if seen != self._seen:
            self._seen, self._seen_at_s = seen, now_s
        expired = now_s - self._seen_at_s > self._duration_s(lease)
        if holder not in {"", self._identity} and not expired:
            return False
        self._api.replace(LEASE, self._body(now_s, lease, holder=self._identity))
        return True

    def _duration_s(self, lease: KubeObject) -> float:
        spec: Mapping[str, Any] = lease.get("spec") or {}
        return float(spec.get("leaseDurationSeconds") or self.times.duration_s)

    def _body(self, now_s: float, lease: KubeObject | None, *, holder: str) -> dict[str, Any]:
        now = to_rfc3339_micro(now_s)
        body: dict[str, Any] = (
            thaw(lease)
            if lease is not None
            else {
                "apiVersion": LEASE.api_version,
                "kind": LEASE.kind,
                "metadata": {"name": self._name, "namespace": self._namespace},
            }
        )
        spec = body.setdefault("spec", {})
        if _holder(body) != holder:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        spec["holderIdentity"] = holder
        spec["leaseDurationSeconds"] = int(self.times.duration_s)
        spec["renewTime"] = now
        return body


def _holder(lease: KubeObject) -> str:
    return str((lease.get("spec") or {}).get("holderIdentity") or "")
