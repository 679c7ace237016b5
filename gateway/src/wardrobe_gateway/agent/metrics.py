"""The agent's own metrics. Adapters are bounded by the set, and go when they leave it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from .engine_admission import EngineAdmission
from .reconciler import Reconciler


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
        self.errors = Counter(
            "wardrobe_agent_refusals_total",
            "Requests that this agent itself refused, by its word for why.",
            ["code"],
            registry=self.registry,
        )
        self._waiting = self._gauge("department_waiting", "Requests that wait for a place in the engine.", "department")
        self._placed = self._gauge("department_in_engine", "Requests that hold a place in the engine.", "department")
        self._verdict = self._gauge("adapter_verdict", "1 for the verdict that an adapter has.", "adapter", "verdict")
        self._prove = self._gauge("adapter_prove_seconds", "Duration of an adapter's last proof.", "adapter")
        self._proved = self._gauge(
            "adapter_proved_timestamp_seconds", "When an adapter was last found Applied, since 1970.", "adapter"
        )
        self._in_flight = self._gauge("adapter_in_flight", "Requests under way.", "adapter")
        self._up = self._gauge("engine_up", "Whether the engine answers.")
        self._shown = self._gauge("engine_metrics_shown", "Whether the engine's own metrics follow on this page.")
        self._starts = self._gauge("engine_starts", "How often the engine was seen to come up.")
        self._generation = self._gauge("routes_generation", "Generation of the routes.")
        self._restarting = self._gauge("engine_restarting", "Whether the engine is being restarted for its adapters.")
        self._restarts = Counter(
            "wardrobe_agent_engine_restarts_total",
            "Starts of the engine for its adapters, by how they ended: started, failed.",
            ["outcome"],
            registry=self.registry,
        )
        self._counted: dict[str, int] = {}

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"wardrobe_agent_{name}", text, labels, registry=self.registry)

    def page(self, reconciler: Reconciler, admission: EngineAdmission, engine: bytes) -> bytes:
        """The metrics page, as things are now, with the engine's own families after the agent's.

        Departments are those of the routes, and "" for all others.
        """
        for gauge in (self._verdict, self._prove, self._proved, self._in_flight, self._waiting, self._placed):
            gauge.clear()
        for department, queue in admission.queue.waiting.items():
            self._waiting.labels(department).set(len(queue))
        for department, count in admission.queue.inside.items():
            self._placed.labels(department).set(count)
        for name, local in reconciler.adapters.by_name.items():
            self._verdict.labels(name, local.verdict).set(1)
            self._in_flight.labels(name).set(reconciler.in_flight[name])
            if local.timings.prove is not None:
                self._prove.labels(name).set(local.timings.prove)
            if local.proved_at is not None:
                self._proved.labels(name).set(local.proved_at)
        for outcome, count in reconciler.restarts.outcomes.items():
            self._restarts.labels(outcome).inc(count - self._counted.get(outcome, 0))
            self._counted[outcome] = count
        self._restarting.set(reconciler.engine_sets is not None and reconciler.engine_sets.restarting)
        self._up.set(reconciler.health.state.up)
        self._starts.set(reconciler.health.state.starts)
        self._generation.set(reconciler.routes.generation if reconciler.routes else 0)
        self._shown.set(bool(engine))
        return generate_latest(self.registry) + engine
