"""Real tasks beside MLflow's real server: what they do does not depend on it, and in the end it has all."""

import signal
from pathlib import Path

import pytest
from support.mlflow_server import Front, Mlflow, named
from support.ports import free_port
from support.telling import tracking
from support.tracked_run import SCHEDULE, TrackedRun
from support.waiting import HANG, eventually

from wardrobe_contracts.assessment import Assessment
from wardrobe_contracts.result import Result
from wardrobe_contracts.training import CheckpointPlan, TrainingSummary

pytestmark = pytest.mark.tracking


def summary(result: Result) -> TrainingSummary:
    assert isinstance(result.payload, TrainingSummary)
    return result.payload


def test_a_server_that_is_down_throughout_stops_nothing_and_gets_all_later(
    mlflow: Mlflow, experiment: str, tmp_path: Path
) -> None:
    run = TrackedRun(tmp_path, tracking(f"http://127.0.0.1:{free_port()}", experiment))
    report = run.check()
    trained = run.do("train", run.training(report))
    assert trained.tracked
    assert trained.tracked.fault
    assert trained.tracked.fault.reason == "TrackingUnreachable"
    order = run.assessment(report, summary(trained))
    assessed = run.do("assess", order)
    assert isinstance(assessed.payload, Assessment), "it is published"
    assert assessed.tracked == trained.tracked

    later = order.model_copy(update={"tracking": tracking(mlflow.uri, experiment)})
    again = run.do("assess", later)  # as a Job that is made again: the work is done, and what was missed is told
    assert again.payload == assessed.payload
    assert again.tracked
    assert again.tracked.fault is None
    found = mlflow.run(experiment)
    steps = summary(trained).steps
    assert [step for step, _ in mlflow.curve(found["info"]["run_id"])] == list(range(1, steps + 1))
    rates = mlflow.curve(found["info"]["run_id"], "learning_rate")
    assert max(rate for _, rate in rates) == pytest.approx(SCHEDULE.learning_rate)
    metrics = named(found["data"]["metrics"])
    assert metrics["tokens_per_second"] > 0
    assert metrics["train/last_loss"] == summary(trained).last_loss
    assert metrics["eval/None/loss"] == assessed.payload.evaluations[0].whole.candidate.loss
    assert found["info"]["status"] == "FINISHED"


def test_attempts_of_a_run_are_one_run_there_and_one_that_was_preempted_goes_on(
    mlflow: Mlflow, front: Front, experiment: str, tmp_path: Path
) -> None:
    """The way to the server hangs first: neither steps nor the end of the pod wait for it."""
    front.hangs = True
    run = TrackedRun(tmp_path, tracking(front.uri, experiment))
    report = run.check()
    often = run.training(report, schedule=SCHEDULE.model_copy(update={"epochs": 6}), checkpoints=CheckpointPlan())
    process = run.start("train", often, "1")
    eventually(lambda: "step 5/" in run.log or process.poll() is not None, what=lambda: run.log)
    process.send_signal(signal.SIGTERM)
    assert process.wait(HANG) != 0
    stopped = Result.model_validate_json((tmp_path / "1" / "message").read_text())
    assert stopped.reached
    assert stopped.reached.saved >= 5

    front.hangs = False
    trained = run.do("train", run.training(report, 2, schedule=often.schedule, checkpoints=often.checkpoints))
    assert summary(trained).reached.resumed == stopped.reached.saved  # type: ignore[union-attr]
    assert trained.tracked
    assert trained.tracked.fault is None
    found = mlflow.run(experiment)
    assert found["info"]["run_id"] == trained.tracked.run_id
    steps = [step for step, _ in mlflow.curve(trained.tracked.run_id or "")]
    assert steps == list(range(1, summary(trained).steps + 1)), "of both, each step once"
