"""The agent's own metrics. Versions are bounded by the set, and go when they leave it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from .keeper import Keeper


class Metrics:
    """One registry per agent, so that several can live in one test process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "wardrobe_agent_requests_total",
            "Requests by status code (0: cut off).",
            ["code"],
            registry=self.registry,
        )
        self._verdict = self._gauge("version_verdict", "1 for the verdict that a version has.", "version", "verdict")
        self._prove = self._gauge("version_prove_seconds", "Duration of a version's last proof.", "version")
        self._in_flight = self._gauge("version_in_flight", "Requests under way.", "version")
        self._up = self._gauge("engine_up", "Whether the engine answers.")
        self._starts = self._gauge("engine_starts", "How often the engine was seen to come up.")
        self._generation = self._gauge("routes_generation", "Generation of the routes.")

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"wardrobe_agent_{name}", text, labels, registry=self.registry)

    def page(self, keeper: Keeper) -> bytes:
        """The metrics page, from the keeper's state now."""
        for gauge in (self._verdict, self._prove, self._in_flight):
            gauge.clear()
        for version, entry in keeper.book.entries.items():
            self._verdict.labels(version, entry.verdict).set(1)
            self._in_flight.labels(version).set(keeper.in_flight[version])
            if entry.timings.prove is not None:
                self._prove.labels(version).set(entry.timings.prove)
        self._up.set(keeper.engine_state.up)
        self._starts.set(keeper.engine_state.starts)
        self._generation.set(keeper.routes.generation if keeper.routes else 0)
        return generate_latest(self.registry)
