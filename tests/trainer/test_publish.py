"""An artifact is there whole or not at all, at whatever point its publication is cut short."""

import os
import shutil
from pathlib import Path

import pytest

from wardrobe_contracts.base import Method, Variant
from wardrobe_contracts.digests import of_files, sha256
from wardrobe_contracts.exits import ExitCode
from wardrobe_contracts.manifest import BaseReference, Comparison, Evaluation, Lineage, Manifest, Score
from wardrobe_contracts.training import Lora, Schedule
from wardrobe_trainer import publish as module
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


STEPS = ("clear_stage", "sync_tree", "verify", "move", "sync_folder")


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


@pytest.mark.parametrize("names", [[], ["adapter_config.json"], ["manifest.json", "probes.json"]])
def test_a_stage_that_a_killed_pod_left(line: Path, contents: Contents, names: list[str]) -> None:
    stage = stage_of(line, "run-1")
    stage.mkdir(parents=True)
    for name in names:
        (stage / name).write_text("half")
    publish(line, "run-1", DIGEST, contents)
    assert published(line, DIGEST)
    assert not stage.exists()


def test_the_stage_of_another_run_is_left_alone(line: Path, contents: Contents) -> None:
    stage_of(line, "run-2").mkdir(parents=True)
    publish(line, "run-1", DIGEST, contents)
    assert stage_of(line, "run-2").exists()


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
