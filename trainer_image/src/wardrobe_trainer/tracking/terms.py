"""A run in MLflow's terms: metrics, tags and states."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from wardrobe_contracts.assessment import Assessment
from wardrobe_contracts.base import Digest, Task
from wardrobe_contracts.manifest import Evaluation, Score
from wardrobe_contracts.release import Release
from wardrobe_contracts.result import Result
from wardrobe_contracts.training import TrainingSummary

from .curve import Point

PER_POINT = ("loss", "learning_rate", "tokens_per_second", "peak_memory_bytes")
"""Metrics of a curve."""
State = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Metric:
    """One value."""

    name: str
    value: float
    time: int
    """Milliseconds since 1970."""
    step: int = 0


def of_curve(points: Sequence[Point]) -> list[Metric]:
    """All of each point."""
    return [Metric(name, getattr(point, name), point.time, point.step) for point in points for name in PER_POINT]


def of_training(summary: TrainingSummary, attempt: int, time: int) -> list[Metric]:
    """The attempt that came to the end, as a whole."""
    values = {
        "train/attempts": attempt,
        "train/steps": summary.steps,
        "train/tokens": summary.tokens,
        "train/seconds": summary.seconds,
        "train/first_loss": summary.first_loss,
        "train/last_loss": summary.last_loss,
        "train/trainable_parameters": summary.trainable_parameters,
        "train/peak_memory_bytes": summary.peak_memory_bytes,
    }
    return [Metric(name, value, time) for name, value in values.items()]


def of_evaluations(evaluations: Sequence[Evaluation], time: int) -> list[Metric]:
    """Held-out scores of base, candidate and incumbents, on each variant."""
    return [Metric(name, value, time) for found in evaluations for name, value in _scores(found)]


def _scores(found: Evaluation) -> Iterator[tuple[str, float]]:
    on = f"eval/{found.variant}"
    yield from _score(on, found.whole.candidate, found.body.candidate)
    yield from _score(f"{on}/base", found.whole.base, found.body.base)
    for one in found.incumbents:
        yield from _score(f"{on}/{one.name}", one.whole, one.body)


def _score(on: str, whole: Score, body: Score) -> Iterator[tuple[str, float]]:
    yield f"{on}/loss", whole.loss
    yield f"{on}/perplexity", whole.perplexity
    yield f"{on}/body_loss", body.loss
    yield f"{on}/body_perplexity", body.perplexity


def of_published(made: Assessment | Release, artifacts: str) -> dict[str, str]:
    """Tags that lead to the artifact, and what the gate says of it."""
    tags = {"wardrobe.digest": made.digest, "wardrobe.artifact": artifact(artifacts, made.digest)}
    if isinstance(made, Release):
        return tags
    tags["wardrobe.manifest_digest"] = made.manifest_digest
    if made.verdict is not None:
        tags["wardrobe.verdict"] = made.verdict
    return tags | {f"wardrobe.gate.{rule.metric}.{rule.against}": rule.outcome for rule in made.gate}


def artifact(artifacts: str, digest: Digest) -> str:
    """Where it lies."""
    return f"{artifacts}/{digest.removeprefix('sha256:')}"


def state_after(task: Task, result: Result) -> State:
    """What the server is to say of the run once a task has ended so. Of what may be tried again, that it was killed:
    nobody may come who says that it failed."""
    if result.succeeded:
        return "RUNNING" if task == "train" else "FINISHED"
    return "KILLED" if result.exit_code.infrastructure else "FAILED"
