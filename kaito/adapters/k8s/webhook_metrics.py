"""What the webhook tells Prometheus."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_OPERATIONS: Final = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})
_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class WebhookMetrics:
    """The webhook's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "kaito_admission_requests",
            "Writes that the API server asked about",
            ["operation", "allowed"],
            registry=self.registry,
        )
        self._duration = Histogram(
            "kaito_admission_duration_seconds",
            "How long an answer took",
            ["operation"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._failures = Counter(
            "kaito_admission_failures",
            "Writes that were refused because the rules themselves failed",
            registry=self.registry,
        )
        self._bad_requests = Counter(
            "kaito_admission_bad_requests",
            "Requests that were no AdmissionReview",
            ["code"],
            registry=self.registry,
        )
        self._expires = Gauge(
            "kaito_webhook_certificate_expiry_timestamp_seconds",
            "When the certificate in use ends",
            registry=self.registry,
        )

    def certificate_expires(self, expires_s: Callable[[], float]) -> None:
        """Tell when the certificate ends, in seconds since the epoch, whenever asked."""
        self._expires.set_function(expires_s)

    def answered(self, operation: str, *, allowed: bool, took_s: float) -> None:
        """Count an answer."""
        known = operation if operation in _OPERATIONS else "other"
        self._requests.labels(known, str(allowed).lower()).inc()
        self._duration.labels(known).observe(took_s)

    def failed(self) -> None:
        """Count a failure of the rules; its answer is counted as well."""
        self._failures.inc()

    def bad_request(self, code: int) -> None:
        """Count a request that could not be understood."""
        self._bad_requests.labels(str(code)).inc()
