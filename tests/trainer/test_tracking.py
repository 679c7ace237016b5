"""What training leaves for whoever tells a server of it. The server itself is in tests/tracking."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.waiting import HANG, eventually

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Result
from wardrobe_contracts.tracking import DatasetInput, MlflowTracking, Tracked, TrackingFault, TrackingReason
from wardrobe_contracts.training import Progress, Reached, TrainConfig
from wardrobe_trainer import progress
from wardrobe_trainer.progress import ProgressServer
from wardrobe_trainer.tracking import beside, curve
from wardrobe_trainer.tracking.commission import write_state
from wardrobe_trainer.tracking.curve import CURVE_FILE, POINTS, Point
from wardrobe_trainer.tracking.curve_writer import CurveWriter
from wardrobe_trainer.tracking.run_folder import RunFolder, write_sent

DIGEST = f"sha256:{'1' * 64}"
TRACKING = MlflowTracking(
    uri="http://127.0.0.1:9",
    experiment="tantanila",
    run="cardiology-1a2b",
    run_uid="1a2b",
    dataset=DatasetInput(source="pvc://datasets/cardiology.jsonl", digest=DIGEST),
    parameters={},
    artifacts="pvc://wardrobe-store/adapters/cardiology",
)
PREEMPTED = Result.failure("train", ExitCode.PREEMPTED, Reason.TERMINATED, "stopped")


def point(step: int) -> Point:
    return Point(step=step, time=step, loss=1, learning_rate=0.1, tokens_per_second=50, peak_memory_bytes=7)


def lines(steps: range) -> bytes:
    return b"".join(point(step).model_dump_json(by_alias=True).encode() + b"\n" for step in steps)


@given(steps=st.integers(0, 9), cuts=st.lists(st.integers(0, 2000), max_size=5), skip=st.integers(0, 9))
def test_what_is_kept_of_a_curve_is_whole_lines_however_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, steps: int, cuts: list[int], skip: int
) -> None:
    folder = tmp_path_factory.mktemp("curve")
    live, kept, text = folder / "live", folder / "kept", lines(range(1, steps + 1))
    for cut in sorted(cuts):
        live.write_bytes(text[:cut])
        curve.bring(live, kept)
        found = curve.read(kept)
        assert found == [point(step) for step in range(1, text[:cut].count(b"\n") + 1)]
    live.write_bytes(text)
    curve.bring(live, kept)
    assert curve.read(kept, skip) == [point(step) for step in range(skip + 1, steps + 1)]


class Follower:
    """A curve's writer beside a reporter, as TRL's trainer calls them."""

    def __init__(self, folder: Path, steps: int, resumed: int = 0) -> None:
        self.path = folder / CURVE_FILE
        reached = Reached(step=resumed, resumed=resumed)
        self.reporter = SimpleNamespace(tokens=100 * resumed, losses=[], reached=reached)
        self.state: Any = SimpleNamespace(global_step=resumed, max_steps=steps)
        reporter: Any = self.reporter
        self.writer = CurveWriter(folder, reporter, lambda: 7)
        self.call("on_train_begin")

    def call(self, name: str, **more: Any) -> None:
        none: Any = None
        getattr(self.writer, name)(none, self.state, none, **more)

    def step(self, step: int) -> None:
        self.state.global_step = step
        if step > self.reporter.reached.resumed:
            self.reporter.tokens += 100
            self.reporter.losses.append(1 / step)
        self.call("on_log", logs={"loss": 1 / step, "learning_rate": 0.1})


def test_each_step_is_a_line_and_the_summary_is_none(tmp_path: Path) -> None:
    follower = Follower(tmp_path, 3)
    for step in (1, 2, 3):
        follower.step(step)
    follower.call("on_log", logs={"train_runtime": 3})
    found = curve.read(follower.path)
    assert [(one.step, one.loss, one.learning_rate) for one in found] == [(1, 1, 0.1), (2, 1 / 2, 0.1), (3, 1 / 3, 0.1)]
    assert all(one.tokens_per_second > 0 for one in found)


def test_the_step_that_only_makes_room_for_what_was_saved_is_none(tmp_path: Path) -> None:
    follower = Follower(tmp_path, 6, resumed=4)
    for step in (4, 5, 6):
        follower.step(step)
    assert [one.step for one in curve.read(follower.path)] == [5, 6]


def test_a_curve_has_no_more_points_than_anybody_looks_at(tmp_path: Path) -> None:
    steps = 3 * POINTS - 1
    follower = Follower(tmp_path, steps)
    for step in (1, 2, 3, 4, 5, 6, steps - 1, steps):
        follower.step(step)
    assert [one.step for one in curve.read(follower.path)] == [3, 6, steps]


def test_a_disk_that_is_full_ends_the_curve_and_not_training(tmp_path: Path) -> None:
    (tmp_path / CURVE_FILE).symlink_to("/dev/full")
    follower = Follower(tmp_path, 3)
    follower.step(1)
    follower.step(2)
    follower.call("on_train_end")


def test_what_was_sent_is_the_most_that_any_task_wrote_down_of_the_same_run(tmp_path: Path) -> None:
    for name, run_id, points in (("1", "a", {1: 5}), ("2", "a", {1: 3, 2: 8}), ("assess", "b", {1: 99})):
        (tmp_path / name).mkdir()
        write_sent(tmp_path / name, run_id, points)
    folder = RunFolder(tmp_path)
    assert folder.sent("a") == {1: 5, 2: 8}
    assert folder.sent("c") == {}
    assert folder.attempts() == [1, 2]


def test_the_state_of_the_server_is_served_with_the_progress(tmp_path: Path) -> None:
    progress.write(tmp_path, Progress(stage="Training", step=3))
    found = Tracked(run_id="r1", fault=TrackingFault(reason=TrackingReason.GONE, message="It is gone."))
    with ProgressServer(tmp_path, 0) as server:
        assert server.now().tracked is None
        server.tracking = tmp_path
        assert server.now().tracked is None
        write_state(tmp_path, found)
        assert server.now() == Progress(stage="Training", step=3, tracked=found)


@pytest.fixture
def config(train_order: Any, tmp_path: Path) -> TrainConfig:
    (tmp_path / "attempt").mkdir()
    made: TrainConfig = train_order()
    return made.model_copy(update={"tracking": TRACKING})


def stand_in(folder: Path, program: str) -> str:
    """Where Python finds the program in the place of the process that tells the server, if it looks there first."""
    place = folder / "stand_in" / "wardrobe_trainer" / "tracking"
    place.mkdir(parents=True)
    for package in (place, place.parent):
        (package / "__init__.py").touch()
    (place / "process.py").write_text(program)
    return str(folder / "stand_in")


DEAF = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1], "ready").touch()
time.sleep(600)
"""
DIES = """
import pathlib, sys
pathlib.Path(sys.argv[1], "ready").touch()
sys.exit(1)
"""


@pytest.mark.parametrize("program", [DIES, DEAF], ids=["it dies", "it hears nothing"])
def test_whatever_becomes_of_the_process_the_next_has_the_whole_curve(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", stand_in(tmp_path, program))
    (tmp_path / "ranks" / "0").mkdir(parents=True)
    with beside.beside(config, tmp_path / "ranks") as folder:
        assert folder
        eventually((folder / "ready").exists, what="the process")
        (tmp_path / "ranks" / "0" / CURVE_FILE).write_bytes(lines(range(1, 4)))
    assert [one.step for one in curve.read(Path(config.output_folder) / CURVE_FILE)] == [1, 2, 3]


STUBBORN = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
signal.signal(signal.SIGTERM, lambda *_: (folder / "told").touch())
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
(folder / "ready").touch()
while True:
    time.sleep(600)
"""
RANK = """
import os, pathlib, sys, time
folder = pathlib.Path(os.environ["WARDROBE_RANK_FOLDER"])
while not (folder.parent / "tracking" / "ready").exists():
    time.sleep(0.05)
(folder / "result.json").write_text(sys.argv[1])
"""
LAUNCH = """
import os, sys
from pathlib import Path
from wardrobe_contracts.training import TrainConfig
from wardrobe_trainer import launcher
order, folder, os.environ["PYTHONPATH"], *rank = sys.argv[1:]
result = launcher.supervise(TrainConfig.model_validate_json(order), Path(folder), [sys.executable, "-c", *rank])
print(result.model_dump_json(by_alias=True))
"""


def test_to_be_told_to_stop_while_that_process_ends_undoes_nothing(config: TrainConfig, tmp_path: Path) -> None:
    ranks = tmp_path / "ranks"
    ranks.mkdir()
    failed = Result.failure("train", ExitCode.DIVERGED, Reason.DIVERGED, "so it ended")
    order, told = config.model_dump_json(by_alias=True), failed.model_dump_json(by_alias=True)
    texts = [order, str(ranks), stand_in(tmp_path, STUBBORN), RANK, told]
    own = {"WARDROBE_PROGRESS_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, *texts], env={**os.environ, **own}, stdout=subprocess.PIPE, text=True
    )
    eventually((ranks / "tracking" / "told").exists, what="the end of the rank")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=HANG)
    assert process.returncode == 0
    assert Result.model_validate_json(output.splitlines()[-1]) == failed.of_rank(0, [])


def test_where_no_process_can_be_begun_training_goes_on(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    (tmp_path / "ranks").mkdir()
    with beside.beside(config, tmp_path / "ranks") as folder:
        assert folder
    found = beside.concluded(config, PREEMPTED)
    assert found
    assert found.fault


def test_who_asks_for_nothing_gets_no_process(config: TrainConfig, tmp_path: Path) -> None:
    with beside.beside(config, tmp_path / "ranks", wanted=False) as folder:
        assert folder is None
    untracked = config.model_copy(update={"tracking": None})
    with beside.beside(untracked, tmp_path / "ranks") as folder:
        assert folder is None
    assert beside.concluded(untracked, PREEMPTED) is None


def test_a_process_that_is_late_is_not_waited_for_and_what_was_known_is_told(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", stand_in(tmp_path, DEAF))
    known = Tracked(run_id="r1", experiment_id="3")
    hurried = PREEMPTED.model_copy(update={"tracked": known})
    limits = beside.Limits(concluding=0.5, hurried=0.5)
    assert beside.concluded(config, hurried, limits) == known
    failed = Result.failure("train", ExitCode.DIVERGED, Reason.DIVERGED, "").model_copy(update={"tracked": known})
    found = beside.concluded(config, failed, limits)
    assert found
    assert found.run_id == "r1"
    assert found.fault
    assert found.fault.message.startswith(
        "spec.tracking.mlflow.uri is 'http://127.0.0.1:9': it did not take within 0.5 s"
    )


def test_a_process_that_dies_is_told_of(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", stand_in(tmp_path, DIES))
    found = beside.concluded(config, PREEMPTED)
    assert found
    assert found.fault
    assert found.fault.reason is TrackingReason.FAILED
    assert "the process that tells it ended with code 1" in found.fault.message


def test_nothing_of_the_image_or_the_node_is_used_but_the_runs_credentials(tmp_path: Path) -> None:
    own = {"MLFLOW_TRACKING_TOKEN": "t", "MLFLOW_TRACKING_INSECURE_TLS": "true", "NETRC": "/etc/netrc", "LANG": "C"}
    found = beside.environment(tmp_path, own)
    assert found["MLFLOW_TRACKING_TOKEN"] == "t"
    assert "MLFLOW_TRACKING_INSECURE_TLS" not in found
    assert "NETRC" not in found
    assert beside.without_credentials(own).keys() == own.keys() - {"MLFLOW_TRACKING_TOKEN"}
    assert (found["HOME"], found["LANG"]) == (str(tmp_path), "C")
    assert (found["MLFLOW_DISABLE_TELEMETRY"], found["DO_NOT_TRACK"]) == ("true", "true")
