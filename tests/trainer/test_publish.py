"""An artifact is there whole or not at all, at whatever point its publication is cut short."""

import itertools
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.stores import store

from wardrobe_contracts.base import Method, Variant
from wardrobe_contracts.digests import of_files, sha256
from wardrobe_contracts.exits import ExitCode
from wardrobe_contracts.manifest import BaseReference, Comparison, Evaluation, Lineage, Manifest, Score
from wardrobe_contracts.paths import POD_UID_VARIABLE
from wardrobe_contracts.training import Lora, Schedule
from wardrobe_trainer import publish as module
from wardrobe_trainer.files import LEFT_SECONDS, clear_left, durably
from wardrobe_trainer.problems import TaskError, TerminatedError
from wardrobe_trainer.publish import NotWholeError, publish, published, stage_of, target_of, verify

CONFIG, PROBES = b'{"r": 4}', b"{}"
WEIGHTS = os.urandom(1000)
DIGESTS = {"adapter_config.json": sha256(CONFIG), "adapter_model.safetensors": sha256(WEIGHTS)}
DIGEST = of_files(DIGESTS)


def manifest() -> bytes:
    score = Score.of(10.0, 5)
    both = Comparison(base=score, candidate=score)
    lora = Lora(rank=4, alpha=8, dropout=0, target_modules=["all-linear"])
    schedule = Schedule(epochs=1, learning_rate=1e-4, batch_size=8, micro_batch_size=8, sequence_length=128, seed=7)
    lineage = Lineage(
        job="j", job_uid="u", dataset_source="s", dataset_digest=sha256(b"d"), train_rows=1, heldout_rows=1,
        method=Method.LORA, lora=lora, quantization=None, schedule=schedule, packages={},
    )  # fmt: skip
    return Manifest(
        line="cardiology",
        digest=DIGEST,
        files={**DIGESTS, "probes.json": sha256(PROBES)},
        base=BaseReference(name="b", digest=sha256(b"b"), chat_template_digest=sha256(b"t")),
        lineage=lineage,
        evaluations=[Evaluation(variant=Variant.NONE, whole=both, body=both)],
    ).model_dump_json(by_alias=True).encode()  # fmt: skip


@pytest.fixture
def line(tmp_path: Path) -> Path:
    return tmp_path / "adapters" / "cardiology"


@pytest.fixture
def contents(tmp_path: Path) -> dict[str, bytes | Path]:
    (tmp_path / "weights").write_bytes(WEIGHTS)
    weights = tmp_path / "weights"
    return {
        "adapter_config.json": CONFIG,
        "adapter_model.safetensors": weights,
        "probes.json": PROBES,
        "manifest.json": manifest(),
    }


Contents = dict[str, bytes | Path]


def test_a_publication(line: Path, contents: Contents) -> None:
    assert not published(line, DIGEST)
    publish(line, "run-1", DIGEST, contents)
    assert published(line, DIGEST)
    target = target_of(line, DIGEST)
    assert target.name == DIGEST.removeprefix("sha256:")
    assert {path.name for path in target.iterdir()} == set(contents)
    assert [path.name for path in line.iterdir()] == [target.name]


STEPS = ("sync_tree", "verify", "move", "sync_folder")


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), TerminatedError()])
@pytest.mark.parametrize("at", [("_put", 1), ("_put", 3), *((step, 1) for step in STEPS)])
def test_a_fault_between_any_two_steps(
    line: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch, at: tuple[str, int], fault: BaseException
) -> None:
    step, call = at
    original, calls = getattr(module, step), []

    def failing(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == call:
            raise fault
        return original(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(module, step, failing)
        with pytest.raises(type(fault)):
            publish(line, "run-1", DIGEST, contents)
    assert not stage_of(line, "run-1").exists(), "an interruption leaves no stage"
    if target_of(line, DIGEST).exists():
        verify(target_of(line, DIGEST), DIGEST)
    if not published(line, DIGEST):
        publish(line, "run-1", DIGEST, contents)
    assert published(line, DIGEST)
    assert len(list(line.iterdir())) == 1


OTHER, NEXT = "the-other-pod", "the-next-pod"


def a_change_at_a_time(line: Path, contents: Contents, pod: str, stops: Callable[[int], None]) -> int:
    """A pod's process that publishes; `stops` is called there before each change to the line's folder, with its number.

    Returns its pid. It ends with 0 where it was the first to publish, with 1 where another was, with 2 where it failed.
    """
    if pid := os.fork():
        return pid
    os.environ[POD_UID_VARIABLE] = pod
    changes, code = itertools.count(), 2

    def before(event: str, arguments: tuple[object, ...]) -> None:
        writes = event != "open" or (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if event in CHANGES and writes and str(arguments[0]).startswith(f"{line}/"):
            stops(next(changes))

    sys.addaudithook(before)
    try:
        code = 0 if publish(line, "run-1", DIGEST, contents) else 1
    finally:
        os._exit(code)


CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}
"""What Python tells audit hooks of before it does it, with the path first (docs.python.org, Audit events table)."""
MOST = 30
"""Changes of a publication, and some more."""


def is_whole(line: Path, besides: set[str]) -> None:
    """The artifact is there, and nothing else than these."""
    verify(target_of(line, DIGEST), DIGEST)
    assert {path.name for path in line.iterdir()} - besides == {target_of(line, DIGEST).name}


def test_a_pod_that_is_killed_before_any_of_its_changes_costs_the_next_nothing(
    line: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(POD_UID_VARIABLE, NEXT)
    for number in range(MOST):

        def stops(change: int, number: int = number) -> None:
            if change == number:
                os.kill(os.getpid(), signal.SIGKILL)

        ended = os.waitpid(a_change_at_a_time(line, contents, OTHER, stops), 0)[1]
        if target_of(line, DIGEST).exists():
            verify(target_of(line, DIGEST), DIGEST)
        published(line, DIGEST) or publish(line, "run-1", DIGEST, contents)
        is_whole(line, besides={f".run-1.{OTHER}"})
        shutil.rmtree(line)
        if ended == 0:
            break
    assert number > len(contents), "each file, the folder and the rename at least"
    assert os.WIFEXITED(ended)


def test_two_pods_of_one_run_publish_once_wherever_the_one_stands_while_the_other_does(
    line: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(POD_UID_VARIABLE, NEXT)
    for number in range(MOST):

        def stops(change: int, number: int = number) -> None:
            if change == number:
                os.kill(os.getpid(), signal.SIGSTOP)

        pid = a_change_at_a_time(line, contents, OTHER, stops)
        stands = os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
        first = not target_of(line, DIGEST).exists()
        clear_left(line)
        assert publish(line, "run-1", DIGEST, contents) == first
        verify(target_of(line, DIGEST), DIGEST)
        if stands:
            os.kill(pid, signal.SIGCONT)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == (1 if first else 0)
        is_whole(line, besides=set())
        shutil.rmtree(line)
        if not stands:
            break
    assert number > len(contents)


def test_two_pods_write_one_file_at_once_and_the_last_to_end_has_written_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each in a process of number 1, as in every pod: scores and results have the same names in both."""
    monkeypatch.setenv(POD_UID_VARIABLE, OTHER)
    with durably(tmp_path / "scores.json") as ours:
        ours.write(b"ours, which is longer")
        monkeypatch.setenv(POD_UID_VARIABLE, NEXT)
        with durably(tmp_path / "scores.json") as theirs:
            theirs.write(b"theirs")
        assert (tmp_path / "scores.json").read_bytes() == b"theirs"
        monkeypatch.setenv(POD_UID_VARIABLE, OTHER)
    assert (tmp_path / "scores.json").read_bytes() == b"ours, which is longer"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_pod_left_goes_after_a_day_and_not_while_it_may_still_work(line: Path) -> None:
    """Whichever run it was of, and as releases before the pods' uids called it, too."""
    for name in (".run-1.a-pod", ".run-2", ".run-3.written-lately"):
        (line / name).mkdir(parents=True)
        (line / name / "adapter_model.safetensors").write_bytes(WEIGHTS)
    whole = line / DIGEST.removeprefix("sha256:")
    whole.mkdir()
    day_before = time.time() - LEFT_SECONDS - 60
    for path in (line / ".run-3.written-lately", *line.glob(".run-[12]*/*"), *line.glob(".run-[12]*"), whole):
        os.utime(path, (day_before, day_before))
    clear_left(line)
    assert {path.name for path in line.iterdir()} == {".run-3.written-lately", whole.name}


def test_a_stage_that_is_taken_away_under_a_pod_is_never_published_in_part(
    line: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of one that hung for more than a day, and goes on."""
    monkeypatch.setenv(POD_UID_VARIABLE, NEXT)

    def stops(change: int) -> None:
        if change == len(contents) + 1:  # before the rename
            os.kill(os.getpid(), signal.SIGSTOP)

    pid = a_change_at_a_time(line, contents, OTHER, stops)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    stage = line / f".run-1.{OTHER}"
    for path in (*stage.iterdir(), stage):
        os.utime(path, (1, 1))
    clear_left(line)
    os.kill(pid, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
    assert list(line.iterdir()) == []


def test_a_store_that_is_full_keeps_nothing_of_it_and_takes_it_once_there_is_room(
    tmp_path: Path, contents: Contents
) -> None:
    room = 10 * len(WEIGHTS)
    with store(tmp_path / "store", size=room) as folder:
        filler = folder / "filler"
        filler.write_bytes(bytes(room - len(WEIGHTS) // 2))
        line = folder / "adapters" / "cardiology"
        with pytest.raises(OSError, match="No space left on device"):
            publish(line, "run-1", DIGEST, contents)
        assert list(line.iterdir()) == []
        filler.unlink()
        assert publish(line, "run-1", DIGEST, contents)
        is_whole(line, besides=set())


def test_nothing_is_overwritten(line: Path, contents: Contents) -> None:
    """Two runs of the same adapter: the first one's artifact stays, to the byte and to the file."""
    publish(line, "run-1", DIGEST, contents)
    before = {path.name: (path.stat().st_ino, path.read_bytes()) for path in target_of(line, DIGEST).iterdir()}
    publish(line, "run-2", DIGEST, contents | {"probes.json": PROBES})
    after = {path.name: (path.stat().st_ino, path.read_bytes()) for path in target_of(line, DIGEST).iterdir()}
    assert after == before
    assert not stage_of(line, "run-2").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("adapter_model.safetensors", b"other"),
        ("probes.json", b"other"),
        ("adapter_config.json", None),
        ("manifest.json", None),
        ("manifest.json", b"{}"),
    ],
)
def test_a_damaged_artifact_in_the_place(line: Path, contents: Contents, name: str, content: bytes | None) -> None:
    publish(line, "run-1", DIGEST, contents)
    damaged = target_of(line, DIGEST) / name
    damaged.unlink() if content is None else damaged.write_bytes(content)
    with pytest.raises(TaskError) as caught:
        published(line, DIGEST)
    assert caught.value.code is ExitCode.BAD_ADAPTER
    assert name in caught.value.problem.rule
    assert str(line) in caught.value.problem.value
    with pytest.raises(NotWholeError):
        publish(line, "run-2", DIGEST, contents)
    assert not stage_of(line, "run-2").exists()


def test_another_artifact_under_this_name(line: Path, contents: Contents) -> None:
    publish(line, "run-1", DIGEST, contents)
    other = sha256(b"other")
    shutil.move(target_of(line, DIGEST), target_of(line, other))
    with pytest.raises(TaskError, match=f"it is the artifact {DIGEST}"):
        published(line, other)


def test_contents_that_do_not_read_back(line: Path, contents: Contents) -> None:
    with pytest.raises(NotWholeError):
        publish(line, "run-1", DIGEST, contents | {"adapter_config.json": b"{}"})
    assert list(line.iterdir()) == []
