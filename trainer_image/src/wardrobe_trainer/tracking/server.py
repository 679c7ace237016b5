"""The server, by MLflow's own client: the only module that knows that. Imported late, for it takes seconds.

No request is tried again here: one that creates a run and whose answer was lost would make a second. Whoever tries
again looks first what is there.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import time

from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    LifecycleStage,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.entities import Metric as MlflowMetric
from mlflow.exceptions import MlflowException
from mlflow.tracking.client import MlflowClient

from wardrobe_contracts.problem import Problem
from wardrobe_contracts.tracking import RUN_UID_TAG, MlflowTracking, TrackingFault, TrackingReason

from .terms import Metric, State

FIELD = "spec.tracking.mlflow"
METRICS_A_REQUEST = 1000
"""The server takes no more."""
DIGEST_LENGTH = 36
"""Of a dataset's digest, as MLflow has room for it; the whole is a parameter."""
REFUSALS = {"UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"}
NO_ANSWER = ("failed with exception", "failed with timeout exception")
"""MLflow's words for whatever came of a request but an answer, or one that asks to come again later."""


class TrackingError(Exception):
    """The server was told nothing, or not all."""

    def __init__(self, reason: TrackingReason, problem: Problem) -> None:
        super().__init__(str(problem))
        self.fault = TrackingFault(reason=reason, message=str(problem))


@dataclass(frozen=True)
class OpenRun:
    """A run of the server's."""

    run_id: str
    experiment_id: str
    parameters: Mapping[str, str]
    """That it has already."""


class Server:
    """What is asked of it for one run. Everything raises TrackingError."""

    def __init__(self, tracking: MlflowTracking) -> None:
        self._tracking = tracking
        self._client = MlflowClient(tracking_uri=tracking.uri)

    def open(self) -> OpenRun:
        """The run with our tag, made where there is none, as one that goes on.

        Several made at once by pods that saw none come to one: all take the oldest, and delete the others.
        """
        with self._faults():
            experiment_id = self._experiment().experiment_id
            found = self._runs(experiment_id)
            if not any(map(_active, found)):
                if found:
                    raise self._run_gone(found[0])
                found = self._made(experiment_id)
            first, *others = sorted(filter(_active, found), key=lambda run: (run.info.start_time, run.info.run_id))
            for other in others:
                self._client.delete_run(other.info.run_id)
            if first.info.status != "RUNNING":
                self._client.update_run(first.info.run_id, status="RUNNING")
            return OpenRun(first.info.run_id, experiment_id, first.data.params)

    def _made(self, experiment_id: str) -> list[Run]:
        """And all others that were made meanwhile. A search may not know yet of what was only just made."""
        tags = {RUN_UID_TAG: self._tracking.run_uid}
        made = self._client.create_run(
            experiment_id, start_time=int(time() * 1000), tags=tags, run_name=self._tracking.run
        )
        return self._runs(experiment_id) or [made]

    def _runs(self, experiment_id: str) -> list[Run]:
        """With our tag, deleted ones too."""
        by_tag = f"tags.`{RUN_UID_TAG}` = '{self._tracking.run_uid}'"
        return list(self._client.search_runs([experiment_id], by_tag, run_view_type=ViewType.ALL))

    def _experiment(self) -> Experiment:
        name = self._tracking.experiment
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                self._client.create_experiment(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self._client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != LifecycleStage.ACTIVE:
            raise self._error(
                TrackingReason.GONE,
                "experiment",
                name,
                "somebody has deleted the experiment, and MLflow gives its name to no other",
                "Restore it with `mlflow experiments restore`, or name another in the next run",
            )
        return found

    def _run_gone(self, run: Run) -> TrackingError:
        return self._error(
            TrackingReason.GONE,
            "experiment",
            self._tracking.experiment,
            f"somebody has deleted run {run.info.run_id} there, and a second is never made",
            "Restore it with `mlflow runs restore`",
        )

    def describe(self, run: OpenRun) -> None:
        """Tell what is known before training: parameters that are not there, tags, and the dataset."""
        tracking = self._tracking
        new = {name: text for name, text in tracking.parameters.items() if name not in run.parameters}
        dataset = Dataset(
            name=tracking.dataset.source.rpartition("/")[2],
            digest=tracking.dataset.digest.removeprefix("sha256:")[:DIGEST_LENGTH],
            source_type=tracking.dataset.source.partition(":")[0],
            source=tracking.dataset.source,
        )
        context = InputTag("mlflow.data.context", tracking.dataset.context)
        with self._faults():
            parameters = [Param(name, text) for name, text in new.items()]
            self._client.log_batch(run.run_id, params=parameters, tags=_tags(tracking.tags))
            self._client.log_inputs(run.run_id, [DatasetInput(dataset, [context])])

    def log(self, run: OpenRun, metrics: Sequence[Metric]) -> None:
        """Take values, as many as one request may have. Those that it has stay one."""
        values = [MlflowMetric(found.name, found.value, found.time, found.step) for found in metrics]
        with self._faults():
            self._client.log_batch(run.run_id, metrics=values)

    def mark(self, run: OpenRun, tags: Mapping[str, str], state: State) -> None:
        """Take tags, and the run's state."""
        with self._faults():
            self._client.log_batch(run.run_id, tags=_tags(tags))
            if state != "RUNNING":
                self._client.set_terminated(run.run_id, state)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except MlflowException as error:
            raise self._fault(error) from error

    def _fault(self, error: MlflowException) -> TrackingError:
        tracking, said = self._tracking, str(error)
        if any(words in said for words in NO_ANSWER):
            return self._error(
                TrackingReason.UNREACHABLE,
                "uri",
                tracking.uri,
                f"the server does not answer ({_cause(error)})",
                "See that it runs, and that the run's pods may reach it",
            )
        if error.error_code in REFUSALS:
            secret = tracking.secret
            return self._error(
                TrackingReason.REFUSED,
                "credentials.secretName" if secret else "credentials",
                secret or "(not set)",
                f"the server refuses {'them' if secret else 'who gives none'} ({_short(said)})",
                "Mend the Secret's entries, or what they may write"
                if secret
                else "Name a Secret there in the next run",
            )
        words = f"the server does not take what it is told ({_short(said)})"
        return self._error(TrackingReason.FAILED, "uri", tracking.uri, words, "See the server's log")

    def _error(self, reason: TrackingReason, field: str, value: str, rule: str, next_step: str) -> TrackingError:
        problem = Problem(field=f"{FIELD}.{field}", value=value, rule=rule, next_step=next_step)
        return TrackingError(reason, problem)


def _active(run: Run) -> bool:
    return bool(run.info.lifecycle_stage == LifecycleStage.ACTIVE)


def _tags(tags: Mapping[str, str]) -> list[RunTag]:
    return [RunTag(name, text) for name, text in tags.items()]


def _cause(error: BaseException) -> str:
    """The innermost error's words: those around it have addresses of objects and whole queries."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return getattr(error, "strerror", None) or _short(str(error))


def _short(text: str) -> str:
    return " ".join(text.split())[:200]
