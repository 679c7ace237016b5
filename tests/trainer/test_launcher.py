"""The launcher's judgement of how ranks end, with small programs in the ranks' place. One test uses a real rank."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from textwrap import dedent

import pytest
from support import results

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_contracts.training import Progress
from wardrobe_trainer import progress
from wardrobe_trainer.launcher import conclude

LAUNCH = """
import sys
from pathlib import Path
from wardrobe_trainer import console, launcher
console.set_up()
result = launcher.supervise("{}", Path(sys.argv[1]), [sys.executable, "-c", sys.argv[2]])
print(result.model_dump_json(by_alias=True))
"""


WAIT = """
import pathlib, time
while not pathlib.Path({!r}).exists():
    time.sleep(0.05)
"""


class Launched:
    """A launcher in a process of its own, as in a pod, with a program as its rank."""

    def __init__(self, folder: Path, rank: str) -> None:
        with socket.socket() as free:
            free.bind(("", 0))
            self.port: int = free.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(folder), dedent(rank)],
            env={**os.environ, "WARDROBE_PROGRESS_PORT": str(self.port)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def result(self) -> Result:
        output, _ = self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        return Result.model_validate_json(output.splitlines()[-1])

    def get(self, path: str) -> str:
        deadline = time.monotonic() + 10
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                    return str(answer.read().decode())
            except urllib.error.HTTPError:
                raise
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def await_file(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.05)


def launch(folder: Path, rank: str) -> Result:
    return Launched(folder, rank).result()


def test_a_ranks_own_word_is_the_result(tmp_path: Path) -> None:
    said = Result.failure("train", ExitCode.DIVERGED, Reason.DIVERGED, "inf")
    (tmp_path / RESULT_FILE).write_text(said.model_dump_json(by_alias=True))
    assert launch(tmp_path, "raise SystemExit(68)") == said


def test_a_rank_that_ends_without_a_word(tmp_path: Path) -> None:
    result = launch(tmp_path, "raise SystemExit(9)")
    assert (result.exit_code, result.reason) == (ExitCode.UNKNOWN, Reason.UNKNOWN)
    assert "exit code 9" in result.message


def test_a_killed_rank(tmp_path: Path) -> None:
    result = launch(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert result.exit_code is ExitCode.UNKNOWN
    assert "SIGKILL" in result.message


def test_a_rank_killed_for_memory() -> None:
    result = conclude({0: -signal.SIGKILL}, stopped=False, result=None, kills=1)
    assert (result.exit_code, result.reason) == (ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY)
    assert "microBatchSize" in result.message


def test_another_kill_for_memory_does_not_excuse_a_crash() -> None:
    assert conclude({0: -signal.SIGSEGV}, stopped=False, result=None, kills=1).exit_code is ExitCode.UNKNOWN


def test_a_rank_that_finished_before_the_signal_reached_it() -> None:
    done = results.success("train")
    assert conclude({0: 0}, stopped=True, result=done, kills=0) == done
    failed = Result.failure("train", ExitCode.UNKNOWN, Reason.UNKNOWN, "interrupted")
    assert conclude({0: 70}, stopped=True, result=failed, kills=0).reason is Reason.TERMINATED


def test_ranks_get_what_torch_distributed_reads(tmp_path: Path) -> None:
    out = tmp_path / "environment"
    launch(tmp_path, f"import json, os; open({str(out)!r}, 'w').write(json.dumps(dict(os.environ)))")
    found = json.loads(out.read_text())
    assert (found["RANK"], found["LOCAL_RANK"], found["WORLD_SIZE"]) == ("0", "0", "1")
    assert found["MASTER_ADDR"] == "127.0.0.1"
    assert found["WARDROBE_CONFIG"] == "{}"
    assert found["WARDROBE_RANK_FOLDER"] == str(tmp_path)


def test_progress_and_metrics_while_the_rank_runs(tmp_path: Path) -> None:
    launched = Launched(tmp_path, WAIT.format(str(tmp_path / "stop")))
    assert json.loads(launched.get("/progress"))["stage"] == "Loading"
    progress.write(tmp_path, Progress(stage="Training", step=3, steps=9, epoch=0.5, loss=2.5, tokens_per_second=1200.0))
    assert Progress.model_validate_json(launched.get("/progress")).loss == 2.5
    metrics = launched.get("/metrics")
    assert "wardrobe_training_step 3.0" in metrics
    assert "wardrobe_training_loss 2.5" in metrics
    assert "wardrobe_training_seconds_left" not in metrics
    with pytest.raises(urllib.error.HTTPError, match="404"):
        launched.get("/elsewhere")
    (tmp_path / "stop").touch()
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
    while not child.exists() or not child.read_text():
        time.sleep(0.05)
    launched.process.send_signal(signal.SIGTERM)
    assert launched.result().reason is Reason.TERMINATED
    pid = int(child.read_text())
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(pid)


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
    rank = f"""
        import pathlib, subprocess, sys, time
        subprocess.run([sys.executable, "-c", "import subprocess, sys; subprocess.Popen(['sleep', '0.2'])"])
        time.sleep(1.5)
        states = [p.read_text().rsplit(")", 1)[1].split()[0] for p in pathlib.Path("/proc").glob("[0-9]*/stat")]
        pathlib.Path({str(tmp_path / "states")!r}).write_text(" ".join(states))
        """
    with socket.socket() as free:
        free.bind(("", 0))
        port = str(free.getsockname()[1])
    done = subprocess.run(
        [*unshare, sys.executable, "-c", LAUNCH, str(tmp_path), dedent(rank)],
        env={**os.environ, "WARDROBE_PROGRESS_PORT": port},
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert "Z" not in (tmp_path / "states").read_text().split()


def test_an_unreadable_progress_file_is_loading(tmp_path: Path) -> None:
    (tmp_path / progress.FILE).write_text("{")
    assert progress.read(tmp_path) == Progress(stage="Loading")
