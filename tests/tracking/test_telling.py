"""A run is told to MLflow's real server by the trainer's own process, whatever happens to either of them."""

import http.server
import os
import subprocess
import threading
from pathlib import Path

import pytest
from support import results
from support.mlflow_server import Front, Mlflow, named
from support.ports import free_port
from support.real_engines import python
from support.telling import PARAMETERS, Telling, tracking
from support.waiting import eventually

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Result
from wardrobe_contracts.tracking import RUN_UID_TAG
from wardrobe_trainer.tracking.beside import environment

pytestmark = pytest.mark.tracking

TRAINED = Result.success("done", results.SUMMARY)
ASSESSED = Result.success("done", results.ASSESSMENT)


@pytest.fixture
def run(mlflow: Mlflow, experiment: str, tmp_path: Path) -> Telling:
    return Telling(tmp_path, tracking(mlflow.uri, experiment))


def steps(mlflow: Mlflow, experiment: str) -> list[int]:
    """Those whose loss the server has, each as often as it has it."""
    return [step for step, _ in mlflow.curve(mlflow.run(experiment)["info"]["run_id"])]


def test_a_run_is_told_while_it_trains_and_to_its_end(mlflow: Mlflow, experiment: str, run: Telling) -> None:
    with run.start() as process:
        run.trains(3)
        state = process.says(None)
        eventually(lambda: steps(mlflow, experiment) == [1, 2, 3], what=lambda: process.log)
        run.trains(600)  # more than one request takes
        eventually(lambda: len(steps(mlflow, experiment)) == 603, what=lambda: process.log)
    found = mlflow.run(experiment)
    assert found["info"]["run_id"] == state.run_id
    assert found["info"]["status"] == "RUNNING"
    assert named(found["data"]["params"]) == PARAMETERS

    assert run.told(TRAINED).run_id == state.run_id
    assert run.told(ASSESSED, "assess") == state
    found = mlflow.run(experiment)
    assert found["info"]["status"] == "FINISHED"
    (dataset,) = found["inputs"]["dataset_inputs"]
    assert dataset["dataset"]["source"] == "pvc://datasets/cardiology.jsonl"
    assert results.digest("1").endswith(dataset["dataset"]["digest"])
    metrics, tags = named(found["data"]["metrics"]), named(found["data"]["tags"])
    assert metrics["train/peak_memory_bytes"] == results.SUMMARY.peak_memory_bytes
    evaluation = results.ASSESSMENT.evaluations[0]
    assert metrics[f"eval/{evaluation.variant}/loss"] == evaluation.whole.candidate.loss
    assert metrics[f"eval/{evaluation.variant}/base/body_loss"] == evaluation.body.base.loss
    digits = results.ASSESSMENT.digest.removeprefix("sha256:")
    assert tags["wardrobe.artifact"] == f"pvc://wardrobe-store/adapters/cardiology/{digits}"
    assert tags["wardrobe.line"] == "cardiology"
    assert len(steps(mlflow, experiment)) == 603, "what it has is not sent again"


def test_a_server_that_restarts_has_all_in_the_end(experiment: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    mlflow = Mlflow(tmp_path_factory.mktemp("restarted"), free_port())
    run = Telling(mlflow.folder, tracking(mlflow.uri, experiment))
    with run.start() as process:
        run.trains(2)
        process.says("TrackingUnreachable")
        with mlflow.running():
            process.says(None)
            run.trains(2)
            eventually(lambda: steps(mlflow, experiment) == [1, 2, 3, 4], what=lambda: process.log)
        run.trains(2)
        fault = process.says("TrackingUnreachable").fault
        assert fault
        assert fault.message.startswith(f"spec.tracking.mlflow.uri is '{mlflow.uri}': the server does not answer (")
        with mlflow.running():
            process.says(None)
            assert steps(mlflow, experiment) == [1, 2, 3, 4, 5, 6]


def test_the_next_attempt_goes_on_in_the_same_run_with_what_the_one_before_could_not_send(
    mlflow: Mlflow, experiment: str, run: Telling
) -> None:
    with run.start() as process:
        run.trains(3)
        first = process.says(None)
    run.trains(2)
    (run.own / run.live.name).write_bytes(run.live.read_bytes())  # as the launcher leaves it
    run.ends(results.preempted("train"))
    run.attempt, run.step = 2, 2
    with run.start() as process:
        run.trains(4)
        assert process.says(None).run_id == first.run_id
        eventually(lambda: steps(mlflow, experiment) == [1, 2, 3, 3, 4, 4, 5, 5, 6], what=lambda: process.log)
    assert [found["info"]["status"] for found in mlflow.runs(experiment, "ALL")] == ["RUNNING"]


def test_a_run_whose_making_was_answered_to_nobody_is_made_once(
    mlflow: Mlflow, front: Front, experiment: str, tmp_path: Path
) -> None:
    front.lose = "runs/create"
    run = Telling(tmp_path, tracking(front.uri, experiment))
    with run.start() as process:
        run.trains(1)
        process.says(None)
    assert front.lose is None
    assert len(mlflow.runs(experiment, "ALL")) == 1


def test_two_pods_at_once_come_to_one_run(mlflow: Mlflow, experiment: str, run: Telling) -> None:
    first, second = run.start(ASSESSED, "assess"), run.start(ASSESSED, "assess")
    assert [one.popen.wait() for one in (first, second)] == [0, 0]
    again = run.told(ASSESSED, "assess")
    assert again.fault is None
    assert mlflow.run(experiment)["info"]["run_id"] == again.run_id


@pytest.mark.parametrize("older", [False, True], ids=["younger", "older"])
def test_of_two_runs_that_were_made_the_older_is_kept_and_has_all(
    mlflow: Mlflow, experiment: str, run: Telling, older: bool
) -> None:
    """As where the clocks of two nodes differ."""
    run.trains(3)
    run.own.mkdir(parents=True)
    (run.own / run.live.name).write_bytes(run.live.read_bytes())
    own = run.told(TRAINED).run_id
    tags = [{"key": RUN_UID_TAG, "value": run.tracking.run_uid}]
    started = 1 if older else 2_000_000_000_000
    number = mlflow.experiment(experiment)
    other = mlflow.ask("runs/create", experiment_id=number, start_time=started, tags=tags)["run"]["info"]["run_id"]
    kept = run.told(ASSESSED, "assess")
    assert kept.fault is None
    assert kept.run_id == (other if older else own) == mlflow.run(experiment)["info"]["run_id"]
    assert steps(mlflow, experiment) == [1, 2, 3]


def test_wrong_credentials_are_said_and_right_ones_taken(
    mlflow: Mlflow, front: Front, experiment: str, tmp_path: Path
) -> None:
    front.password = ("team", "right")
    own = {"MLFLOW_TRACKING_USERNAME": "team", "MLFLOW_TRACKING_PASSWORD": "wrong"}
    run = Telling(tmp_path, tracking(front.uri, experiment, secret="mlflow-team"), own)
    fault = run.told(TRAINED).fault
    assert fault
    assert fault.reason == "TrackingRefused"
    assert "spec.tracking.mlflow.credentials.secretName is 'mlflow-team': the server refuses them" in fault.message
    assert "wrong" not in fault.message
    run.variables = own | {"MLFLOW_TRACKING_PASSWORD": "right"}
    assert run.told(TRAINED).fault is None
    assert mlflow.run(experiment)


def test_without_credentials_the_field_is_named_and_none_of_the_machine_is_used(
    front: Front, experiment: str, tmp_path: Path
) -> None:
    front.password = ("team", "right")
    home = tmp_path / "home"
    (home / ".mlflow").mkdir(parents=True)
    (home / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = team\nmlflow_tracking_password = right\n"
    )
    (home / ".netrc").write_text("machine 127.0.0.1 login team password right\n")
    run = Telling(tmp_path, tracking(front.uri, experiment), {"HOME": str(home), "NETRC": str(home / ".netrc")})
    fault = run.told(TRAINED).fault
    assert fault
    assert fault.reason == "TrackingRefused"
    assert "spec.tracking.mlflow.credentials is '(not set)'" in fault.message


def test_an_experiment_that_is_deleted_is_said_and_gets_all_once_it_is_back(
    mlflow: Mlflow, experiment: str, run: Telling
) -> None:
    with run.start() as process:
        run.trains(2)
        run_id = process.says(None).run_id
        number = mlflow.experiment(experiment)
        mlflow.ask("experiments/delete", experiment_id=number)
        run.trains(2)
        fault = process.says("TrackingGone").fault
        assert fault
        assert f"spec.tracking.mlflow.experiment is '{experiment}'" in fault.message
        mlflow.ask("experiments/restore", experiment_id=number)
        assert process.says(None).run_id == run_id
        assert steps(mlflow, experiment) == [1, 2, 3, 4]


def test_a_run_that_is_deleted_is_not_made_again(mlflow: Mlflow, experiment: str, run: Telling) -> None:
    run_id = run.told(TRAINED).run_id
    mlflow.ask("runs/delete", run_id=run_id)
    fault = run.told(ASSESSED, "assess").fault
    assert fault
    assert fault.reason == "TrackingGone"
    assert f"somebody has deleted run {run_id} there" in fault.message
    assert len(mlflow.runs(experiment, "ALL")) == 1


def test_a_failure_and_a_preemption_are_told_apart(mlflow: Mlflow, experiment: str, run: Telling) -> None:
    for result, state in (
        (results.preempted("train"), "KILLED"),
        (results.failure("train", ExitCode.DIVERGED, Reason.DIVERGED), "FAILED"),
        (TRAINED, "RUNNING"),
    ):
        assert run.told(result).fault is None
        assert mlflow.run(experiment)["info"]["status"] == state


def test_nobody_else_is_told(mlflow: Mlflow, run: Telling) -> None:
    """A proxy for all other hosts: MLflow's client would tell its makers how it is used."""
    asked: list[str] = []

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_error(502)

        def do_POST(self) -> None:
            self.do_CONNECT()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, name="proxy")
        thread.start()
        url = f"http://127.0.0.1:{proxy.server_address[1]}"
        run.variables = {"HTTPS_PROXY": url, "HTTP_PROXY": url, "NO_PROXY": "127.0.0.1"}
        assert run.told(TRAINED).fault is None
        proxy.shutdown()
        thread.join()
    assert asked == []


def test_the_client_warns_of_nothing(run: Telling) -> None:
    """Its process shows no warnings; here each is an error."""
    process = run.start(TRAINED)
    process.popen.wait()
    send = f"""
from pathlib import Path
from wardrobe_trainer.tracking.commission import COMMISSION_FILE, Commission
from wardrobe_trainer.tracking.sending import Sender
text = (Path({str(process.place)!r}) / COMMISSION_FILE).read_text()
print(Sender(Commission.model_validate_json(text)).send().fault)
"""
    done = subprocess.run(
        [str(python("trainer")), "-W", "error", "-c", send],
        env=environment(process.place, os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("None\n", "", 0)
