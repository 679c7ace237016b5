"""TGI's metrics: no adapter in any label (seen). A family is absent until something is counted in it (seen)."""

import bisect
import itertools
from collections.abc import Sequence

DURATIONS = tuple(itertools.accumulate([1.5] * 34, float.__mul__, initial=0.0001 * 1.5))
"""Seconds (router/src/server.rs:1939)."""
BATCH_SIZES = tuple(map(float, range(1, 1025)))
"""1,027 lines of the page (server.rs:1964, seen)."""
QUANTILES = ("0", "0.5", "0.9", "0.95", "0.99", "0.999", "1")
HELP = {
    "tgi_request_success": "Number of successful requests",
    "tgi_request_duration": "Total time spent processing the request",
    "tgi_request_validation_duration": "Time spent validating the request",
    "tgi_request_queue_duration": "Time spent in the queue per request",
    "tgi_request_inference_duration": "Request inference duration",
    "tgi_request_mean_time_per_token_duration": "Mean time per token per request",
    "tgi_request_generated_tokens": "Generated tokens per request",
    "tgi_request_count": "Total number of requests",
    "tgi_request_max_new_tokens": "Maximum new tokens per request",
    "tgi_request_skipped_tokens": "Speculated tokens per request",
    "tgi_request_input_length": "Input token length per request",
    "tgi_batch_inference_count": "Inference calls per method (prefill or decode)",
    "tgi_batch_inference_success": "Number of successful inference calls per method (prefill or decode)",
    "tgi_batch_inference_duration": "Batch inference duration",
    "tgi_batch_forward_duration": "Batch forward duration per method (prefill or decode)",
    "tgi_batch_decode_duration": "Time spent decoding a batch per method (prefill or decode)",
    "tgi_batch_current_size": "Current batch size",
    "tgi_batch_next_size": "Batch size of the next batch",
    "tgi_queue_size": "Current queue size",
}
"""The others have none (server.rs:1996)."""

Labels = str
"""As they are written: `method="prefill"`, or nothing."""


class Metrics:
    """Counted since the start."""

    def __init__(self, most_input: int, most_total: int) -> None:
        self._counters: dict[str, dict[Labels, int]] = {}
        self._gauges: dict[str, float] = {"tgi_batch_max_total_tokens": most_total}
        self._histograms: dict[str, dict[Labels, _Histogram]] = {}
        hundredths = [(one + 1) / 100 for one in range(100)]
        self._bounds = {
            "tgi_request_input_length": tuple(most_input * part for part in hundredths),
            "tgi_request_generated_tokens": tuple(most_total * part for part in hundredths),
            "tgi_request_max_new_tokens": tuple(most_total * part for part in hundredths),
            "tgi_batch_next_size": BATCH_SIZES,
        }
        self._skipped = 0

    def asked(self) -> None:
        """A request has come (server.rs:296)."""
        self._count("tgi_request_count")

    def began(self, prompt_tokens: int, most: int) -> None:
        """A request is valid, and is worked on in a batch of its own first."""
        self._record("tgi_request_input_length", prompt_tokens)
        self._record("tgi_request_max_new_tokens", most)
        self._record("tgi_batch_next_size", 1)
        self._gauges["tgi_queue_size"] = 0
        self._gauges["tgi_batch_current_size"] = self._gauges.get("tgi_batch_current_size", 0) + 1

    def over(self) -> None:
        """What began is no longer worked on."""
        self._gauges["tgi_batch_current_size"] -= 1

    def step(self, method: str, seconds: float) -> None:
        """A token was made (backends/v3/src/backend.rs:305)."""
        labels = f'method="{method}"'
        self._count("tgi_batch_inference_count", labels)
        self._count("tgi_batch_inference_success", labels)
        for name in ("forward", "decode", "filter", "inference"):
            self._record(f"tgi_batch_{name}_duration", seconds if name in ("forward", "inference") else 0.0, labels)

    def answered(self, seconds: float, tokens: int) -> None:
        """A request was answered whole (server.rs:415)."""
        self._count("tgi_request_success")
        for name, value in {
            "duration": seconds,
            "validation_duration": 0.0,
            "queue_duration": 0.0,
            "inference_duration": seconds,
            "mean_time_per_token_duration": seconds / tokens,
            "generated_tokens": tokens,
        }.items():
            self._record(f"tgi_request_{name}", value)
        self._skipped += tokens

    def failed(self, reason: str) -> None:
        """A request was not answered whole."""
        self._count("tgi_request_failure", f'err="{reason}"')

    def text(self) -> str:
        """Prometheus' text, as the crate metrics-exporter-prometheus writes it. Skipped tokens are a summary (seen)."""
        families = [
            *(_family(name, "counter", _values(name, series)) for name, series in self._counters.items()),
            *(_family(name, "gauge", [f"{name} {_number(value)}"]) for name, value in self._gauges.items()),
            *(_family(name, "histogram", _lines(name, series)) for name, series in self._histograms.items()),
        ]
        if self._skipped:
            name = "tgi_request_skipped_tokens"
            lines = [f'{name}{{quantile="{quantile}"}} 0' for quantile in QUANTILES]
            families.append(_family(name, "summary", [*lines, f"{name}_sum 0", f"{name}_count {self._skipped}"]))
        return "".join(families)

    def _count(self, name: str, labels: Labels = "") -> None:
        series = self._counters.setdefault(name, {})
        series[labels] = series.get(labels, 0) + 1

    def _record(self, name: str, value: float, labels: Labels = "") -> None:
        series = self._histograms.setdefault(name, {})
        series.setdefault(labels, _Histogram(self._bounds.get(name, DURATIONS))).record(value)


class _Histogram:
    """Values by the first bound that they do not exceed."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def record(self, value: float) -> None:
        """One more."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value


def _family(name: str, kind: str, lines: Sequence[str]) -> str:
    head = [f"# HELP {name} {HELP[name]}"] if name in HELP else []
    return "\n".join([*head, f"# TYPE {name} {kind}", *lines, "", ""])


def _values(name: str, series: dict[Labels, int]) -> list[str]:
    return [f"{name}{{{labels}}} {count}" if labels else f"{name} {count}" for labels, count in series.items()]


def _lines(name: str, series: dict[Labels, _Histogram]) -> list[str]:
    found = []
    for labels, one in series.items():
        before = f"{labels}," if labels else ""
        within = list(itertools.accumulate(one.counts))
        bounds = [*map(_number, one.bounds), "+Inf"]
        found += [f'{name}_bucket{{{before}le="{le}"}} {n}' for le, n in zip(bounds, within, strict=True)]
        ended = f"{{{labels}}}" if labels else ""
        found += [f"{name}_sum{ended} {_number(one.sum)}", f"{name}_count{ended} {within[-1]}"]
    return found


def _number(value: float) -> str:
    """As Rust writes it: the shortest that is the same, never with an exponent."""
    return f"{value:.20f}".rstrip("0").rstrip(".") if "e" in repr(value) else repr(value).removesuffix(".0")
