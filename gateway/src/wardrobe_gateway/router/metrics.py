"""Metrics by department and adapter. Both are bounded by the routes, and go when they leave them."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..process.routes import RoutesInForce
from .backends import Backends
from .keys import KeyTable
from .usage import Usage

WHO = ["department", "adapter"]
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


@dataclass
class Account:
    """What one request comes to, filled in while it passes."""

    began: float = field(default_factory=time.perf_counter)
    department: str = ""
    adapter: str = ""
    first_token: float | None = None
    usage: Usage = field(default_factory=Usage)
    cut: bool = False
    """The stream ended before its end."""


class Metrics:
    """One registry per router, so that several can live in one test process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "wardrobe_requests",
            "Requests by status code (499: the client left, 0: cut off).",
            [*WHO, "code"],
            registry=self.registry,
        )
        self.duration = self._histogram("request_duration_seconds", "From the request to its last byte.", SECONDS)
        self.first_token = self._histogram("time_to_first_token_seconds", "To the first token, of streams.", SECONDS)
        self.per_token = self._histogram(
            "time_per_token_seconds", "Between tokens after the first, of streams.", TOKEN_SECONDS
        )
        self.tokens = Counter(
            "wardrobe_tokens",
            "Tokens by kind (prompt, completion), as the engine counts.",
            [*WHO, "kind"],
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "wardrobe_requests_in_flight", "Requests under way.", ["department"], registry=self.registry
        )
        self.rejected = Counter(
            "wardrobe_rejected",
            "Requests that got an error for an answer, by reason.",
            ["department", "reason"],
            registry=self.registry,
        )
        self.retries = Counter(
            "wardrobe_retries",
            "Attempts that were made again elsewhere, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self._generation = self._gauge("routes_generation", "Generation of the routes in force.")
        self._age = self._gauge("routes_age_seconds", "Seconds since the routes in force were taken over.")
        self._connected = self._gauge("routes_connected", "Whether the routes are being watched.")
        self._backends = self._gauge("backends_answering", "Engine pods whose agent answers.")
        self._keys_missing = self._gauge("departments_without_keys", "Departments that list no key.")

    def page(self, in_force: RoutesInForce, backends: Backends, keys: KeyTable) -> bytes:
        """The metrics page, as things are now."""
        self._generation.set(in_force.generation or 0)
        self._age.set(in_force.age)
        self._connected.set(in_force.connected)
        self._backends.set(sum(backend.answering for backend in backends))
        self._keys_missing.set(len(keys.missing))
        return generate_latest(self.registry)

    def finish(self, account: Account, code: str) -> None:
        """Count a request that got as far as an adapter."""
        who = (account.department, account.adapter)
        now = time.perf_counter()
        self.requests.labels(*who, code).inc()
        self.duration.labels(*who).observe(now - account.began)
        if account.usage.prompt:
            self.tokens.labels(*who, "prompt").inc(account.usage.prompt)
        if account.usage.completion:
            self.tokens.labels(*who, "completion").inc(account.usage.completion)
        if account.first_token is not None:
            self.first_token.labels(*who).observe(account.first_token - account.began)
            if account.usage.completion > 1:
                self.per_token.labels(*who).observe((now - account.first_token) / (account.usage.completion - 1))

    def keep_only(self, departments: Collection[str], adapters: Collection[str]) -> None:
        """Drop the series of departments and adapters that are no more."""
        for metric in (self.requests, self.duration, self.first_token, self.per_token, self.tokens):
            for labels in _labels(metric):
                if labels["department"] not in departments or labels["adapter"] not in adapters:
                    metric.remove_by_labels(labels)
        for by_department in (self.in_flight, self.rejected):
            for labels in _labels(by_department):
                if labels["department"] not in {"", *departments}:
                    by_department.remove_by_labels(labels)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"wardrobe_{name}", text, WHO, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"wardrobe_{name}", text, registry=self.registry)


def _labels(metric: Counter | Gauge | Histogram) -> list[dict[str, str]]:
    """Label sets that a metric has series for: every family's samples name them all."""
    found = {
        tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        for family in metric.collect()
        for sample in family.samples
    }
    return [dict(labels) for labels in found]
