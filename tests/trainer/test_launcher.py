"""The launcher's judgement of how ranks end, with small programs in the ranks' place."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from textwrap import dedent

import pytest
from support import results
from support.ports import free_port
from support.waiting import HANG, eventually

from wardrobe_contracts import base
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Failed, Result
from wardrobe_contracts.training import Progress, TrainConfig
from wardrobe_models.processors import granted
from wardrobe_trainer import last_lines, launcher, progress
from wardrobe_trainer.launcher import End, conclude, word

SAMPLES = Path(base.__file__).parents[2] / "samples"

LAUNCH = """
import sys
from pathlib import Path
from wardrobe_contracts.training import TrainConfig
from wardrobe_trainer import console, launcher
console.set_up()
config = TrainConfig.model_validate_json(Path(sys.argv[3]).read_text())
result = launcher.supervise(config, Path(sys.argv[1]), [sys.executable, "-c", sys.argv[2]])
print(result.model_dump_json(by_alias=True))
"""


WAIT = """
import os, pathlib, time
folder = pathlib.Path(os.environ["WARDROBE_RANK_FOLDER"])
(folder / "ready").touch()
while not (folder / "stop").exists():
    time.sleep(0.05)
"""


class Launched:
    """A launcher in a process of its own, as in a pod, with a program as its rank."""

    def __init__(self, folder: Path, rank: str, *, processes: int = 1, stall_seconds: float = 1800.0) -> None:
        self.port = free_port()
        write_order(folder, processes, stall_seconds)
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(folder), dedent(rank), str(folder / "order.json")],
            env={**os.environ, "WARDROBE_PROGRESS_PORT": str(self.port)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def result(self) -> Result:
        output, _ = self.process.communicate(timeout=HANG)
        assert self.process.returncode == 0
        return Result.model_validate_json(output.splitlines()[-1])

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=HANG) as answer:
            return str(answer.read().decode())


def await_file(path: Path) -> None:
    eventually(path.exists, what=f"no {path.name}")


def write_order(folder: Path, processes: int = 1, stall_seconds: float = 1800.0) -> None:
    sample = json.loads((SAMPLES / "train-order" / "1-lora.json").read_text())
    sample["processes"] = {"perNode": processes, "stallSeconds": stall_seconds}
    sample["schedule"] |= {"batchSize": 12, "microBatchSize": 1}
    sample["graceSeconds"] = 3.0
    sample["deepspeed"] = "deepspeed.json" if processes > 1 else None
    (folder / "order.json").write_text(json.dumps(sample))


def launch(folder: Path, rank: str, *, processes: int = 1, stall_seconds: float = 1800.0) -> Result:
    return Launched(folder, rank, processes=processes, stall_seconds=stall_seconds).result()


def says(result: Result, then: str) -> str:
    """A rank's program: it leaves this, and then goes on so."""
    return f"""
        import os, pathlib, signal, sys, time
        rank = int(os.environ.get("LOCAL_RANK", "0"))
        folder = pathlib.Path(os.environ["WARDROBE_RANK_FOLDER"])
        def leave(text={result.model_dump_json(by_alias=True)!r}):
            (folder / "result.json").write_text(text)
        {then}
        """


def test_a_ranks_own_word_is_the_result(tmp_path: Path) -> None:
    said = Result.failure("train", ExitCode.DIVERGED, Reason.DIVERGED, "inf")
    assert launch(tmp_path, says(said, "leave(); sys.exit(68)")) == said.of_rank(0, [])


def test_a_rank_that_ends_without_a_word(tmp_path: Path) -> None:
    result = launch(tmp_path, "raise SystemExit(9)")
    assert (result.exit_code, result.reason) == (ExitCode.UNKNOWN, Reason.UNKNOWN)
    assert "exit code 9" in result.message


def test_a_killed_rank(tmp_path: Path) -> None:
    result = launch(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert result.exit_code is ExitCode.UNKNOWN
    assert "SIGKILL" in result.message


def test_a_rank_killed_for_memory(tmp_path: Path) -> None:
    result = word(tmp_path, 0, -signal.SIGKILL, kills=1)
    assert result is not None
    assert (result.exit_code, result.reason) == (ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY)
    assert "microBatchSize" in result.message


def test_another_kill_for_memory_does_not_excuse_a_crash(tmp_path: Path) -> None:
    result = word(tmp_path, 0, -signal.SIGSEGV, kills=1)
    assert result is not None
    assert result.exit_code is ExitCode.UNKNOWN


def test_a_rank_that_finished_before_the_signal_reached_it() -> None:
    done = results.success("train")
    assert conclude([done], End(stopped=True)) == done
    failed = Result.failure("train", ExitCode.UNKNOWN, Reason.UNKNOWN, "interrupted")
    assert conclude([failed], End(stopped=True)).reason is Reason.TERMINATED


def test_a_rank_on_its_own_is_in_no_group(tmp_path: Path) -> None:
    out = tmp_path / "environment"
    launch(tmp_path, f"import json, os; open({str(out)!r}, 'w').write(json.dumps(dict(os.environ)))")
    found = json.loads(out.read_text())
    assert "RANK" not in found, "accelerate would make a process group"
    assert TrainConfig.model_validate_json(found["WARDROBE_CONFIG"]).method.name == "LoRA"
    assert found["WARDROBE_RANK_FOLDER"] == str(tmp_path / "0")


def test_several_ranks_know_their_places(tmp_path: Path) -> None:
    write = f"json.dump(dict(os.environ), open({str(tmp_path)!r} + '/environment-' + os.environ['RANK'], 'w'))"
    launch(tmp_path, f"import json, os; {write}", processes=3)
    found = [json.loads((tmp_path / f"environment-{rank}").read_text()) for rank in range(3)]
    assert [one["LOCAL_RANK"] for one in found] == ["0", "1", "2"]
    assert {(one["WORLD_SIZE"], one["LOCAL_WORLD_SIZE"], one["MASTER_ADDR"]) for one in found} == {
        ("3", "3", "127.0.0.1")
    }
    assert {one["DS_ACCELERATOR"] for one in found} == {"cpu"}
    assert {int(one["OMP_NUM_THREADS"]) for one in found} == {max(1, granted() // 3)}


LOST = Result.failure("train", ExitCode.COMMUNICATION, Reason.PEERS_LOST, "Connection closed by peer")


def test_a_rank_that_lost_its_peer_does_not_say_why(tmp_path: Path) -> None:
    """Rank 1 died; rank 0 only saw that."""
    result = launch(
        tmp_path, says(LOST, "(leave(), sys.exit(69)) if rank == 0 else os.kill(os.getpid(), 11)"), processes=2
    )
    assert (result.exit_code, result.reason) == (ExitCode.UNKNOWN, Reason.UNKNOWN)
    assert "rank 1 was killed by SIGSEGV" in result.message
    assert isinstance(result.outcome, Failed)
    assert result.outcome.rank == 1


def test_a_rank_that_waits_for_a_dead_one_is_ended(tmp_path: Path) -> None:
    diverged = Result.failure("train", ExitCode.DIVERGED, Reason.DIVERGED, "inf")
    assert launch(
        tmp_path, says(diverged, "(leave(), sys.exit(68)) if rank == 1 else time.sleep(600)"), processes=2
    ) == diverged.of_rank(1, [])


def test_all_that_is_known_may_be_that_peers_are_lost(tmp_path: Path) -> None:
    assert launch(tmp_path, says(LOST, "leave(); sys.exit(69)"), processes=2) == LOST.of_rank(0, [])


def test_a_process_that_nccl_ended_has_lost_its_peers(tmp_path: Path) -> None:
    result = launch(tmp_path, "import os; os.abort()", processes=2)
    assert (result.exit_code, result.reason) == (ExitCode.COMMUNICATION, Reason.PEERS_LOST)


def test_a_rank_that_crashes_after_its_success_does_not_undo_what_is_saved() -> None:
    done = results.success("train")
    assert conclude([done, done], End()) == done
    assert conclude([None, done], End()).exit_code is ExitCode.COMMUNICATION


def test_a_full_shared_memory_is_named(tmp_path: Path) -> None:
    assert "/dev/shm" in launch(tmp_path, "import os; os.kill(os.getpid(), 7)").message


STALLS = """
import faulthandler, os, pathlib, signal, time
from wardrobe_contracts.training import Progress
from wardrobe_trainer import last_lines, progress
faulthandler.register(signal.SIGUSR1)
folder = pathlib.Path(os.environ["WARDROBE_RANK_FOLDER"])
for step in range(1, 6):
    progress.write(folder, Progress(stage="Training", step=step, steps=9))
    time.sleep(1.2)
def stands_here():
    time.sleep(600)
stands_here()
"""


def test_a_step_that_does_not_end_ends_the_attempt(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Infrastructure's: a hung collective, a store that does not answer."""
    result = launch(tmp_path, STALLS, processes=2, stall_seconds=1.0)
    assert (result.exit_code, result.reason) == (ExitCode.COMMUNICATION, Reason.STEP_STALLED)
    assert "step 6 took more than" in result.message
    assert capfd.readouterr().err.count("stands_here") == 2


TELLS = """
import os, pathlib, sys
from wardrobe_trainer import console, last_lines
from wardrobe_trainer.task import outcome
folder = pathlib.Path(os.environ["WARDROBE_RANK_FOLDER"])
console.set_up()
last_lines.keep(folder)
print("a row, of a library", flush=True)
print("a row, of a library", file=sys.stderr)
for step in range(1, 40):
    console.say(f"step {step}/99")
"""
FAILS = """
def look_at(row):
    raise KeyError(row)
outcome("train", lambda: look_at("a row"))
os._exit(70)
"""


def told(result: Result) -> list[str]:
    assert isinstance(result.outcome, Failed)
    assert result.outcome.rank == 0
    return [line.removeprefix(line[:9]) if line[2:3] == ":" else line for line in result.outcome.lines]


ENDS = {
    "it is killed, and can say nothing": ("os.kill(os.getpid(), 9)", ["step 38/99", "step 39/99"]),
    "a signal ends it in the code of a library": (
        "os.kill(os.getpid(), 11)",
        ["step 39/99", "Fatal Python error: Segmentation fault"],
    ),
    "an error that nobody foresaw": (
        FAILS,
        ["step 39/99", "KeyError in line 14 of __main__; its text is left out, as it may quote a row"],
    ),
}


@pytest.mark.parametrize(("how", "lines"), ENDS.values(), ids=list(ENDS))
def test_what_a_rank_said_last_outlives_it_and_no_row_is_in_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], how: str, lines: list[str]
) -> None:
    """What it prints is in the log, whole and where it was printed; what is told of it is ours."""
    launched = Launched(tmp_path, TELLS + how)
    output, _ = launched.process.communicate(timeout=HANG)
    result = Result.model_validate_json(output.splitlines()[-1])
    found = told(result)
    assert [line for line in found if line in lines] == lines
    assert len(found) <= last_lines.LINES
    assert "of a library" not in result.model_dump_json()
    assert output.count("a row, of a library") == 1
    assert output.count("step ") >= 39
    errors = capfd.readouterr().err
    assert "a row, of a library" in errors
    assert (lines[-1] in errors) == ("step" not in lines[-1]), "a stack and a traceback are in the log, too"


def test_a_rank_that_never_stops_talking_fills_no_disk(tmp_path: Path) -> None:
    launch(tmp_path, TELLS.replace("range(1, 40)", "range(20_000)") + "os._exit(1)")
    assert (tmp_path / "0" / last_lines.FILE).stat().st_size < 2 * last_lines.KEPT_BYTES


def test_lines_of_before_are_kept_when_a_file_is_full(tmp_path: Path) -> None:
    kept = last_lines._Kept(tmp_path)
    sizes = last_lines.KEPT_BYTES // 100 + 1
    for number in range(sizes + 1):  # the last one is alone in its file
        kept.emit(logging.makeLogRecord({"msg": f"{number} {'x' * 100}"}))
    kept.stream.close()
    lines = last_lines.of(tmp_path)
    assert [line.split()[0] for line in lines] == [str(sizes + 1 - back) for back in range(last_lines.LINES, 0, -1)]


def test_a_checkpoint_that_takes_long_is_no_step_that_stalls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    pace = launcher.Pace([tmp_path], stall_seconds=60.0)
    for step in range(1, 6):
        now += 1.0
        progress.write(tmp_path, Progress(stage="Training", step=step))
        assert pace.stalled() is None
    progress.write(tmp_path, Progress(stage="Training", step=5, saving=True))
    now += 600.0
    assert pace.stalled() is None
    progress.write(tmp_path, Progress(stage="Training", step=5))
    now += 50.0
    assert pace.stalled() is None, "counted from the end of the checkpoint"
    now += 11.0
    assert "step 6 took more than 60 s" in (pace.stalled() or "")


def test_progress_and_metrics_while_the_rank_runs(tmp_path: Path) -> None:
    launched = Launched(tmp_path, WAIT)
    await_file(tmp_path / "0" / "ready")  # the launcher serves its progress before it makes the rank's folder
    assert json.loads(launched.get("/progress"))["stage"] == "Loading"
    progress.write(
        tmp_path / "0", Progress(stage="Training", step=3, steps=9, epoch=0.5, loss=2.5, tokens_per_second=1200.0)
    )
    assert Progress.model_validate_json(launched.get("/progress")).loss == 2.5
    metrics = launched.get("/metrics")
    assert "wardrobe_training_step 3.0" in metrics
    assert "wardrobe_training_loss 2.5" in metrics
    assert "wardrobe_training_seconds_left" not in metrics
    with pytest.raises(urllib.error.HTTPError, match="404"):
        launched.get("/elsewhere")
    (tmp_path / "0" / "stop").touch()
    assert launched.result().exit_code is ExitCode.UNKNOWN


def test_sigterm_is_passed_on_and_ends_it(tmp_path: Path) -> None:
    ready, heard = tmp_path / "ready", tmp_path / "heard"
    launched = Launched(
        tmp_path,
        f"""
        import pathlib, signal, sys, time
        def hear(*_):
            pathlib.Path({str(heard)!r}).touch()
            sys.exit(1)
        signal.signal(signal.SIGTERM, hear)
        pathlib.Path({str(ready)!r}).touch()
        time.sleep(60)
        """,
    )
    await_file(ready)
    launched.process.send_signal(signal.SIGTERM)
    result = launched.result()
    assert (result.exit_code, result.reason) == (ExitCode.PREEMPTED, Reason.TERMINATED)
    assert heard.exists()


def test_a_rank_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    launched = Launched(
        tmp_path,
        f"""
        import pathlib, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path({str(ready)!r}).touch()
        time.sleep(60)
        """,
    )
    await_file(ready)
    launched.process.send_signal(signal.SIGTERM)
    assert launched.result().reason is Reason.TERMINATED


def test_children_of_the_rank_end_with_it(tmp_path: Path) -> None:
    """SIGTERM goes to the process group: a data loader's workers must not outlive their rank."""
    child = tmp_path / "child"
    launched = Launched(
        tmp_path,
        f"""
        import pathlib, subprocess, sys, time
        worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        pathlib.Path({str(child)!r}).write_text(str(worker.pid))
        time.sleep(60)
        """,
    )
    eventually(lambda: child.exists() and child.read_text(), what="the rank's child")
    launched.process.send_signal(signal.SIGTERM)
    assert launched.result().reason is Reason.TERMINATED
    pid = int(child.read_text())
    eventually(lambda: not alive(pid), what="its end")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_as_pid_1_it_reaps_orphans(tmp_path: Path) -> None:
    """In a process namespace of its own, as in a pod, an orphan of the rank must not stay a zombie."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("process namespaces are not allowed here")
    rank = """
        import pathlib, subprocess, sys, time
        leaves = "import subprocess; print(subprocess.Popen(['sleep', '0.2'], stdout=subprocess.DEVNULL).pid)"
        orphan = subprocess.run([sys.executable, "-c", leaves], stdout=subprocess.PIPE, text=True).stdout.strip()
        while pathlib.Path("/proc", orphan).exists():
            time.sleep(0.05)
        """
    write_order(tmp_path)
    done = subprocess.run(
        [*unshare, sys.executable, "-c", LAUNCH, str(tmp_path), dedent(rank), str(tmp_path / "order.json")],
        env={**os.environ, "WARDROBE_PROGRESS_PORT": "0"},
        check=False,
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.returncode == 0, done.stderr
    assert Result.model_validate_json(done.stdout.splitlines()[-1]).message.startswith("rank 0 ended with exit code 0")


def test_an_unreadable_progress_file_is_loading(tmp_path: Path) -> None:
    (tmp_path / progress.FILE).write_text("{")
    assert progress.read(tmp_path) == Progress(stage="Loading")
