"""However a task ends, there is a record, a short copy of it for the kubelet, and an exit code that says the same."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import results
from support.waiting import HANG

from wardrobe_contracts.base import Task
from wardrobe_contracts.exits import TERMINATION_MESSAGE_LIMIT, ExitCode, Reason
from wardrobe_contracts.inspection import InspectConfig, Inspection
from wardrobe_contracts.paths import POD_UID_VARIABLE
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_contracts.tracking import Tracked
from wardrobe_trainer import sources
from wardrobe_trainer.__main__ import first, forget, run
from wardrobe_trainer.files import clear_left
from wardrobe_trainer.hardware import out_of_memory_kills
from wardrobe_trainer.problems import TerminatedError
from wardrobe_trainer.task import outcome, record, record_more, recorded

PEERS_LOST = (ExitCode.COMMUNICATION, Reason.PEERS_LOST)


def order(base: Path, out: Path) -> str:
    config = InspectConfig(base_folder=str(base), source="pvc://models/base", output_folder=str(out))
    return config.model_dump_json(by_alias=True)


def command(task: str, text: str | None, log: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "WARDROBE_TERMINATION_LOG": str(log)}
    if text is not None:
        environment["WARDROBE_CONFIG"] = text
    arguments = [sys.executable, "-m", "wardrobe_trainer", task]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)


def test_success(base_folder: Path, tmp_path: Path, inspection: Inspection) -> None:
    done = command("inspect", order(base_folder, tmp_path / "out"), tmp_path / "log")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "inspect done: Succeeded" in done.stdout.splitlines()[-1]
    result = Result.model_validate_json((tmp_path / "out" / RESULT_FILE).read_text())
    assert result.succeeded
    assert result.payload == inspection
    assert Result.model_validate_json((tmp_path / "log").read_text()) == result


def test_a_failure_with_a_problem(tmp_path: Path) -> None:
    done = command("inspect", order(tmp_path / "absent", tmp_path / "out"), tmp_path / "log")
    assert done.returncode == ExitCode.BAD_BASE
    result = Result.model_validate_json((tmp_path / "log").read_text())
    assert (result.exit_code, result.reason) == (ExitCode.BAD_BASE, Reason.BASE_NOT_FOUND)
    assert result.problem is not None
    assert result.problem.field == "spec.source"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "must be given"),
        ("nonsense", "Invalid JSON"),
        ('{"baseFolder": "x", "source": "y"}', "outputFolder: Field required"),
        ('{"format": 99, "baseFolder": "x", "source": "y", "outputFolder": "z"}', "format is 99: this release"),
    ],
)
def test_an_order_that_is_wrong(tmp_path: Path, text: str | None, said: str) -> None:
    done = command("inspect", text, tmp_path / "log")
    assert done.returncode == ExitCode.BAD_CONFIG
    result = Result.model_validate_json((tmp_path / "log").read_text())
    assert result.reason is Reason.CONFIG_INVALID
    assert said in result.message


def test_a_wrong_order_is_recorded_where_it_says(tmp_path: Path) -> None:
    _, folder, result = run("inspect", json.dumps({"outputFolder": str(tmp_path)}))
    assert folder == tmp_path
    assert result.exit_code is ExitCode.BAD_CONFIG


def test_help_and_an_unknown_task(tmp_path: Path) -> None:
    assert "inspect" in command("--help", None, tmp_path / "log").stdout
    assert command("polish", None, tmp_path / "log").returncode == 2


@pytest.mark.parametrize("task", ["inspect", "check"])
def test_tasks_that_need_no_torch_import_none(task: str) -> None:
    code = (
        f"import sys; from wardrobe_trainer.__main__ import worker; worker({task!r}); print(sys.modules.get('torch'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"


def test_the_launcher_imports_no_torch() -> None:
    code = "import sys; from wardrobe_trainer.__main__ import worker; worker('train'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_is_done_is_reported_again_without_the_work(
    base_folder: Path, tmp_path: Path, termination_log: Path
) -> None:
    _, first_folder, first = run("inspect", order(base_folder, tmp_path))
    record(first, first_folder)
    *_, again = run("inspect", order(Path("/gone"), tmp_path))
    assert again == first
    record(again, first_folder)
    assert termination_log.exists()


def test_a_recorded_failure_is_reported_again(base_folder: Path, tmp_path: Path, termination_log: Path) -> None:
    _, folder, failure = run("inspect", order(Path("/gone"), tmp_path))
    record(failure, folder)
    assert run("inspect", order(base_folder, tmp_path))[-1] == failure


@pytest.mark.parametrize(
    ("task", "code", "reason", "final"),
    [
        ("check", ExitCode.BAD_DATA, Reason.DATASET_EMPTY, True),
        ("check", ExitCode.PREEMPTED, Reason.TERMINATED, False),
        ("assess", ExitCode.STORE, Reason.STORE_FAILED, False),
        ("train", ExitCode.PREEMPTED, Reason.TERMINATED, True),
        ("train", ExitCode.UNKNOWN, Reason.UNKNOWN, True),
    ],
)
def test_which_endings_are_final(
    tmp_path: Path, termination_log: Path, task: Task, code: ExitCode, reason: Reason, *, final: bool
) -> None:
    result = record(Result.failure(task, code, reason, "m"), tmp_path)
    assert recorded(result.task, tmp_path, for_good=task == "train") == (result if final else None)


@pytest.mark.parametrize(
    ("code", "reason", "left"),
    [
        (ExitCode.BAD_DATA, Reason.ROLES_INVALID, []),
        (ExitCode.BAD_DATA, Reason.SOURCE_CHANGED, []),
        (ExitCode.UNKNOWN, Reason.UNKNOWN, []),
        (ExitCode.PREEMPTED, Reason.TERMINATED, ["fetched.left"]),
        (ExitCode.COMMUNICATION, Reason.SOURCE_UNREACHABLE, ["fetched.left"]),
    ],
)
def test_what_was_fetched_is_left_to_a_pod_that_goes_on_and_to_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: ExitCode, reason: Reason, left: list[str]
) -> None:
    others = tmp_path / ".fetched.another-pods-uid"
    others.mkdir()
    monkeypatch.setenv(POD_UID_VARIABLE, "first")
    own = sources.taken_over(tmp_path)
    (own / "fetched.part").write_text("half of it")
    forget(tmp_path, Result.failure("check", code, reason, "m"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ([others.name, *left] if left else [])
    monkeypatch.setenv(POD_UID_VARIABLE, "second")
    assert [path.read_text() for path in sources.taken_over(tmp_path).iterdir()] == ["half of it"] * len(left)


def test_with_an_end_that_stands_goes_whatever_any_pod_has_fetched(tmp_path: Path) -> None:
    """A killed one's copy too, which nobody could tell before from one that is being written."""
    for name in ("fetched.left", ".fetched.killed", ".fetched.still-at-work"):
        (tmp_path / name).mkdir()
    forget(tmp_path, results.success("check"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_taken_over_looks_like_what_is_written_now(tmp_path: Path) -> None:
    """Else the other pod of this run would clear it away, if nobody went on with it for a day."""
    (tmp_path / "fetched.left").mkdir()
    os.utime(tmp_path / "fetched.left", (0, 0))
    clear_left(tmp_path)
    own = sources.taken_over(tmp_path)
    clear_left(tmp_path)
    assert own.exists()


@pytest.mark.parametrize(
    ("code", "reason"), [(ExitCode.PREEMPTED, Reason.TERMINATED), (ExitCode.UNKNOWN, Reason.UNKNOWN)]
)
def test_the_first_end_that_stands_is_a_tasks(
    tmp_path: Path, termination_log: Path, code: ExitCode, reason: Reason
) -> None:
    """Of two pods the old one, whose node is reached again, is told to stop; or misses what the new one has removed."""
    late = Result.failure("check", code, reason, "too late")
    assert first(late, tmp_path) == late
    new = record(results.success("check"), tmp_path)
    assert first(late, tmp_path) == new


def test_what_cannot_be_recorded_in_addition_changes_no_end(tmp_path: Path, termination_log: Path) -> None:
    """A disk that is full once the server was told must not have a finished task done again."""
    before = record(results.success("train"), tmp_path)
    told = before.model_copy(update={"tracked": Tracked(run_id="r1", experiment_id="1")})
    assert record_more(before, told, tmp_path / RESULT_FILE) == before
    assert Result.model_validate_json((tmp_path / RESULT_FILE).read_text()) == before
    assert record_more(before, told, tmp_path) == told
    assert Result.model_validate_json((tmp_path / RESULT_FILE).read_text()) == told


@pytest.mark.parametrize("text", ["", "{", '{"task": "inspect"}', '{"task": "check", "exitCode": 0}'])
def test_a_damaged_record_or_anothers_is_no_record(tmp_path: Path, text: str) -> None:
    (tmp_path / RESULT_FILE).write_text(text)
    assert recorded("inspect", tmp_path, for_good=False) is None


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (MemoryError(), ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: out of memory"), ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY),
        (OSError(28, "No space left on device"), ExitCode.STORE, Reason.STORE_FAILED),
        (OSError(116, "Stale file handle"), ExitCode.STORE, Reason.STORE_FAILED),
        (OSError("a library's own"), ExitCode.UNKNOWN, Reason.UNKNOWN),
        (FileNotFoundError(2, "No such file"), ExitCode.UNKNOWN, Reason.UNKNOWN),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), ExitCode.DEVICE, Reason.DEVICE_LOST),
        (RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer"), *PEERS_LOST),
        (ConnectionResetError(104, "Connection reset by peer"), *PEERS_LOST),
        (TerminatedError(), ExitCode.PREEMPTED, Reason.TERMINATED),
    ],
)
def test_errors_whose_kind_says_why(error: BaseException, code: ExitCode, reason: Reason) -> None:
    def work() -> Result:
        raise error

    result = outcome("train", work)
    assert (result.exit_code, result.reason) == (code, reason)


@pytest.mark.parametrize(
    ("error", "field"),
    [
        (MemoryError(), "spec.pod.resources.limits.memory"),
        (RuntimeError("CUDA error: out of memory"), "spec.parallelism.accelerator"),
    ],
)
def test_whose_memory_was_too_small_is_told_apart(error: BaseException, field: str) -> None:
    def work() -> Result:
        raise error

    problem = outcome("assess", work).problem
    assert problem is not None
    assert problem.field == field


def test_what_nobody_foresaw(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> Result:
        raise RuntimeError("what?")

    result = outcome("train", work)
    assert (result.exit_code, result.reason) == (ExitCode.UNKNOWN, Reason.UNKNOWN)
    assert result.message.startswith(f"RuntimeError in line {work.__code__.co_firstlineno + 1} of ")
    assert "raise RuntimeError" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_a_failure_of_the_store(
    base_folder: Path, tmp_path: Path, termination_log: Path
) -> None:
    (tmp_path / "file").touch()
    _, folder, result = run("inspect", order(base_folder, tmp_path / "file"))
    assert record(result, folder).exit_code is ExitCode.STORE
    assert Result.model_validate_json(termination_log.read_text()).reason is Reason.STORE_FAILED


def test_a_long_message_still_fits_the_kubelet(tmp_path: Path, termination_log: Path) -> None:
    record(Result.failure("train", ExitCode.UNKNOWN, Reason.UNKNOWN, "ä" * 9000), tmp_path)
    assert len(termination_log.read_bytes()) <= TERMINATION_MESSAGE_LIMIT
    assert len(Result.model_validate_json((tmp_path / RESULT_FILE).read_text()).message) == 9000


def test_sigterm_during_a_task(tmp_path: Path, base_folder: Path) -> None:
    slow = (
        "import sys, time; from wardrobe_trainer import __main__ as main, console; "
        "main.worker = lambda task: (lambda order: (console.say('working'), time.sleep(60))); main.main()"
    )
    environment = {
        **os.environ,
        "WARDROBE_TERMINATION_LOG": str(tmp_path / "log"),
        "WARDROBE_CONFIG": order(base_folder, tmp_path / "out"),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", slow, "inspect"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "working" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=HANG)
    assert process.returncode == ExitCode.PREEMPTED
    assert Result.model_validate_json((tmp_path / "out" / RESULT_FILE).read_text()).reason is Reason.TERMINATED


def test_kills_for_memory_are_counted(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 0\n")
    assert out_of_memory_kills([tmp_path / "absent", tmp_path / "memory.events"]) == 3
    assert out_of_memory_kills([tmp_path / "absent"]) == 0
