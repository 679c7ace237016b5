"""Sending what a run's folder has and the server lacks."""

from collections.abc import Sequence
from pathlib import Path

from wardrobe_contracts.assessment import Assessment
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.release import Release
from wardrobe_contracts.tracking import Tracked, TrackingFault, TrackingReason
from wardrobe_contracts.training import TrainingSummary
from wardrobe_trainer.console import say
from wardrobe_trainer.unquoted import describe

from . import terms
from .commission import Commission
from .curve import Point
from .run_folder import RunFolder, Told, write_sent
from .server import FIELD, METRICS_A_REQUEST, OpenRun, Server, TrackingError

POINTS_A_REQUEST = METRICS_A_REQUEST // len(terms.PER_POINT)


class Sender:
    """One process's connection to the server."""

    def __init__(self, commission: Commission) -> None:
        self._commission = commission
        self._own = Path(commission.folder)
        self._folder = RunFolder(self._own.parent)
        self._server: Server | None = None
        self._run: OpenRun | None = None
        self._known = Tracked()
        self._sent: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        """Bytes of each curve whose points were all sent."""

    def send(self) -> Tracked:
        """All that is there and was not sent; and how the server stands then. Raises nothing."""
        try:
            self._send()
            fault = None
        except TrackingError as error:
            fault = error.fault
        except Exception as error:  # noqa: BLE001 - whatever it is, training is not to end by it
            fault = self._unforeseen(error)
        if fault is not None:
            self._run = None  # what is the matter with it is found out when it is looked for again
        if fault is not None and fault != self._known.fault:
            say(f"not tracked: {fault.message}")
        self._known = self._known.model_copy(update={"fault": fault})
        return self._known

    def _unforeseen(self, error: Exception) -> TrackingFault:
        problem = Problem(
            field=f"{FIELD}.uri",
            value=self._commission.tracking.uri,
            rule=f"it could not be told ({describe(error)})",
            next_step="Report this as a defect",
        )
        return TrackingFault(reason=TrackingReason.FAILED, message=str(problem))

    def _send(self) -> None:
        server = self._server = self._server or Server(self._commission.tracking)
        run = self._run or self._open(server)
        for attempt in self._folder.attempts():
            self._send_curve(server, run, attempt)
        if self._commission.curve is None:
            self._send_results(server, run)

    def _open(self, server: Server) -> OpenRun:
        run = server.open()
        server.describe(run)
        self._sent, self._sizes = dict(self._folder.sent(run.run_id)), {}
        self._run = run
        if run.run_id != self._known.run_id:
            say(f"tracked by {self._commission.tracking.uri} as run {run.run_id}")
        self._known = Tracked(run_id=run.run_id, experiment_id=run.experiment_id, fault=self._known.fault)
        return run

    def _send_curve(self, server: Server, run: OpenRun, attempt: int) -> None:
        """A request after the other, each written down: the next process goes on there."""
        size = self._folder.size(attempt)
        if size == self._sizes.get(attempt, 0):
            return
        points = self._folder.points(attempt, skip=self._sent.get(attempt, 0))
        for some in _in_parts(points):
            server.log(run, terms.of_curve(some))
            self._sent[attempt] = self._sent.get(attempt, 0) + len(some)
            write_sent(self._own, run.run_id, self._sent)
        self._sizes[attempt] = size

    def _send_results(self, server: Server, run: OpenRun) -> None:
        """Of the attempt that trained to the end, and of the task that has ended now."""
        for attempt in self._folder.attempts():
            trained = self._folder.told(str(attempt))
            if trained and isinstance(summary := trained.result.payload, TrainingSummary):
                server.log(run, terms.of_training(summary, attempt, trained.time))
        if ended := self._folder.told(self._own.name):
            self._conclude(server, run, ended)

    def _conclude(self, server: Server, run: OpenRun, ended: Told) -> None:
        made, tags = ended.result.payload, {"wardrobe.ended": ended.result.reason.value}
        if isinstance(made, Assessment | Release):
            evaluations = made.evaluations if isinstance(made, Assessment) else [made.evaluation]
            server.log(run, terms.of_evaluations(evaluations, ended.time))
            tags |= terms.of_published(made, self._commission.tracking.artifacts)
        server.mark(run, tags, terms.state_after(self._commission.task, ended.result))


def _in_parts(points: Sequence[Point]) -> list[Sequence[Point]]:
    return [points[at : at + POINTS_A_REQUEST] for at in range(0, len(points), POINTS_A_REQUEST)]
