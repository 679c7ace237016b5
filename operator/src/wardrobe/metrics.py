"""The operator's own metrics. Labels are bounded: never the name of an object."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """One registry per operator, so that two of them can live in one test process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "wardrobe_reconciles_total",
            "Reconciles by kind and result (done, again, conflict, error).",
            ["kind", "result"],
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "wardrobe_reconcile_duration_seconds", "Duration of a reconcile.", ["kind"], registry=self.registry
        )
        self.queue_depth = Gauge("wardrobe_queue_depth", "Keys that wait for a worker now.", registry=self.registry)
        self.queue_age = Gauge(
            "wardrobe_queue_oldest_seconds", "Age of the key that waits longest.", registry=self.registry
        )
        self.api_requests = Counter(
            "wardrobe_api_requests_total",
            "Requests to the Kubernetes API by verb and code (0: no answer); watches are not counted.",
            ["verb", "code"],
            registry=self.registry,
        )
