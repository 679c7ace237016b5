"""Prometheus metrics: TGI's, with our prefix. Departments are the router's business, none of them is a label here."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

PREFIX = "wardrobe_engine"
_SECONDS = tuple(0.0005 * 2**step for step in range(18))
"""0.5 ms to 65 s."""


class Metrics:
    """All series of one engine. Safe to use from any thread."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "request_count", "Requests by how they ended", ["outcome"], namespace=PREFIX, registry=registry
        )
        self.request_duration = Histogram(
            "request_duration_seconds",
            "From the whole request read to the last token",
            buckets=_SECONDS,
            namespace=PREFIX,
            registry=registry,
        )
        self.queue_size = Gauge(
            "queue_size", "Requests that wait for a place in the batch", namespace=PREFIX, registry=registry
        )
        self.queue_duration = Histogram(
            "request_queue_duration_seconds",
            "From acceptance to prefill",
            buckets=_SECONDS,
            namespace=PREFIX,
            registry=registry,
        )
        self.batch_size = Gauge(
            "batch_current_size", "Requests that are decoded together", namespace=PREFIX, registry=registry
        )
        self.prompt_tokens = Counter("prompt_tokens", "Prompt tokens taken in", namespace=PREFIX, registry=registry)
        self.generated_tokens = Counter("generated_tokens", "Tokens given out", namespace=PREFIX, registry=registry)
        self.adapters = Gauge("adapters_loaded", "Adapters that requests may name", namespace=PREFIX, registry=registry)
        self._forward = Histogram(
            "batch_forward_duration_seconds",
            "One pass through the model",
            ["method"],
            buckets=_SECONDS,
            namespace=PREFIX,
            registry=registry,
        )

    @contextmanager
    def forward(self, method: str) -> Iterator[None]:
        """Measure a pass; `method` is prefill or decode."""
        start = time.monotonic()
        yield
        self._forward.labels(method).observe(time.monotonic() - start)

    def render(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)
