"""docs/metrics.md: every Prometheus metric, from the registries that the programs serve."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from wardrobe.metrics import Metrics as OperatorMetrics
from wardrobe_contracts.training import Progress
from wardrobe_engine.metrics import Metrics as EngineMetrics
from wardrobe_gateway.agent.metrics import Metrics as AgentMetrics
from wardrobe_gateway.router.metrics import Metrics as RouterMetrics
from wardrobe_trainer import progress

from .tables import code, table

EVERY_FIGURE = Progress(stage="Training", step=1, steps=2, epoch=1.0, loss=1.0, tokens_per_second=1.0, seconds_left=1)


@dataclass(frozen=True)
class Program:
    """Who serves metrics, and where."""

    name: str
    where: str
    registry: CollectorRegistry


def programs() -> list[Program]:
    """All programs with a metrics page."""
    return [
        Program("Operator", "`:8080/metrics` of the operator's pod.", OperatorMetrics().registry),
        Program("Router", _ROUTER, RouterMetrics().registry),
        Program("Agent", _AGENT, AgentMetrics().registry),
        Program("Trainer", _TRAINER, progress.metrics(EVERY_FIGURE)),
        Program("Engine", _ENGINE, EngineMetrics().registry),
    ]


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(
        f"\n## {program.name}\n\n{program.where}\n\n{table(('name', 'type', 'labels', 'means'), _rows(program))}"
        for program in programs()
    )


def _rows(program: Program) -> Iterator[tuple[str, str, str, str]]:
    # prometheus_client gives no list of a registry's metrics with their labels but this one
    for metric in program.registry._collector_to_names:
        if not isinstance(metric, MetricWrapperBase):
            raise TypeError(f"{program.name} registers something else than metrics: {metric}")
        (family,) = metric.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(map(code, metric._labelnames)) or "-"
        yield code(name), family.type, labels, family.documentation.rstrip(".")


_ROUTER = """\
`:8081/metrics` of each router pod. Departments and adapters that leave the routes take their series with them. Requests
are counted where an adapter was found for them, refusals in `wardrobe_rejected_total`, whose `reason` is the error's
`code` (see [troubleshooting.md](troubleshooting.md#what-callers-get))."""
_AGENT = """\
`:8081/metrics` of each engine pod. While the engine answers, its own families follow as it writes them: those below
for Transformers, `tgi_*` of [TGI](https://huggingface.co/docs/text-generation-inference/reference/metrics), `vllm:*`
of [vLLM](https://docs.vllm.ai/en/latest/usage/metrics/). What it says of its language and process is left out."""
_TRAINER = """\
`:8081/metrics` of a training pod while it trains; a figure appears once it is known. The operator reads the same from
`/progress` for the column PROGRESS."""
_ENGINE = """\
Of the engine type Transformers, on the agent's page. The engine itself listens to its agent only, at
`127.0.0.1:8000/metrics` inside the pod."""
_HEAD = """\
# Metrics

<!-- Written by `make docs` from the registries of the programs. Change name and help text there. -->

Prometheus metrics by program. A histogram has the series `<name>_bucket`, `<name>_sum` and `<name>_count`. Labels are
bounded: names of departments and of adapters in the routes, never of pods or users. `adapter` is the
name that engines know, `<Adapter>-<first 8 of its digest>`.
"""
