"""Method Full: all weights are trained, and the store gets another base."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.attempts import Attempt, Order

from wardrobe_contracts.base import Accelerator, BaseLocation
from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.inspection import InspectConfig, Inspection
from wardrobe_contracts.manifest import BaseReference, Origin
from wardrobe_contracts.release import RELEASE_FILE, ModelManifest, ReleaseConfig
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_contracts.training import CheckpointPlan
from wardrobe_models.chat import Chat
from wardrobe_trainer.card import CARD_FILE, model_card
from wardrobe_trainer.check import check
from wardrobe_trainer.inspection import inspect
from wardrobe_trainer.model_files import model_files, tensors, weight_files
from wardrobe_trainer.problems import TaskError
from wardrobe_trainer.release import release
from wardrobe_trainer.tokens import load_chat

from .test_checkpoints import losses

FULL = {"name": "Full"}
GENTLY = {"learning_rate": 1e-4, "epochs": 5}
"""20 steps, all of which the log has: enough left for who reads the third late."""
STEPS = 20
NEVER = CheckpointPlan(every_seconds=86_400, keep=2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a model is trained once for all tests that look at it."""
    return tmp_path_factory.mktemp("full")


@pytest.fixture
def candidate(trained: Path, train_order: Order) -> Path:
    """The folder that training has left."""
    if not (trained / "1").exists():
        attempt = Attempt(train_order, trained, method=FULL, schedule=GENTLY)
        found = attempt.train()
        assert len(found) == STEPS
        assert found[-1] < found[0]
        (trained / "losses.json").write_text(json.dumps(found))
    return trained / "1" / "model"


def inspected(folder: Path) -> Inspection:
    return inspect(InspectConfig(base_folder=str(folder), source="pvc://models/new", output_folder="unused"))


def test_the_new_model_is_the_base_with_other_weights(candidate: Path, base_folder: Path) -> None:
    assert tensors(candidate, weight_files(candidate)) == tensors(base_folder, weight_files(base_folder))
    described = set(model_files(base_folder)) - set(weight_files(base_folder))
    assert set(model_files(candidate)) - set(weight_files(candidate)) == described
    assert all((candidate / name).read_bytes() == (base_folder / name).read_bytes() for name in described)
    assert inspected(candidate).digest != inspected(base_folder).digest


@pytest.mark.gauntlet
def test_several_processes_train_what_one_trains(
    train_order: Order, tmp_path: Path, candidate: Path, trained: Path
) -> None:
    shared = Attempt(train_order, tmp_path, processes=2, stage=2, method=FULL, schedule=GENTLY)
    assert shared.train() == pytest.approx(json.loads((trained / "losses.json").read_text()), abs=1e-2)
    names = ["model.safetensors"]
    assert tensors(shared.folder / "model", names) == tensors(candidate, names)


def test_a_partitioned_base_goes_on_where_it_was(
    train_order: Order, tmp_path: Path, candidate: Path, trained: Path
) -> None:
    given: dict[str, Any] = {"processes": 2, "stage": 3, "method": FULL, "checkpoints": NEVER}
    stopped = Attempt(train_order, tmp_path, 1, **given, schedule=GENTLY)
    assert stopped.stop_at("step 3/", signal.SIGTERM) == ExitCode.PREEMPTED
    last = Attempt(train_order, tmp_path, 2, **given, schedule=GENTLY)
    last.train()
    alone = dict(enumerate(json.loads((trained / "losses.json").read_text()), 1))
    assert losses(stopped) | losses(last) == pytest.approx(alone, abs=1e-2), "as near as two processes come to one"
    assert tensors(last.folder / "model", ["model.safetensors"]) == tensors(candidate, ["model.safetensors"])


@pytest.fixture
def order(
    candidate: Path, base_folder: Path, cardiology: Path, train_order: Order, tmp_path: Path
) -> Callable[..., ReleaseConfig]:
    """To publish the candidate as the next of `models/tuned`, after a real check."""
    base, data, rows = inspected(base_folder), tmp_path / "checked", tmp_path / "rows.jsonl"
    rows.write_text("".join(line + "\n" for line in cardiology.read_text().splitlines()[:50]))
    checked = CheckConfig(
        base=BaseLocation(folder=str(base_folder), fingerprint=base.fingerprint),
        dataset_file=str(rows),
        source="pvc://datasets/rows.jsonl",
        sequence_length=256,
        validation_fraction=0.2,
        seed=7,
        output_folder=str(data),
    )
    report = check(checked)
    (data / RESULT_FILE).write_text(Result.success("done", report).model_dump_json(by_alias=True))

    def make(**changes: Any) -> ReleaseConfig:
        return ReleaseConfig(
            run="tune-00000001",
            base=BaseLocation(folder=str(base_folder), fingerprint=base.fingerprint),
            base_reference=BaseReference(
                name="base", digest=base.digest, chat_template_digest=base.tokenizer.chat_template_digest
            ),
            data_folder=str(data),
            heldout_digest=report.heldout_digest,
            heldout_tokens_digest=report.heldout_tokens_digest,
            candidate_folder=changes.get("candidate", str(candidate)),
            models_folder=str(tmp_path / "models"),
            output_folder=str(tmp_path / "release"),
            max_rows=4,
            lineage=Origin(
                job="tune",
                job_uid="1",
                dataset_source="pvc://datasets/rows.jsonl",
                dataset_digest=report.dataset_digest,
                train_rows=report.train_rows,
                heldout_rows=report.heldout_rows,
                schedule=train_order().schedule,
                packages={},
            ),
            accelerator=Accelerator.CPU,
        )

    return make


def test_rows_are_read_by_the_effective_template(
    order: Callable[..., ReleaseConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = order()
    given = config.base.model_copy(update={"chat_prelude": "{% set today = '1 May' %}"})
    seen: list[str] = []

    def told(folder: Path, prelude: str) -> Chat:
        seen.append(prelude)
        return load_chat(folder, prelude)

    monkeypatch.setattr("wardrobe_trainer.release.load_chat", told)
    release(config.model_copy(update={"base": given}))
    assert seen == [given.chat_prelude]


def test_a_model_is_published_under_the_digest_that_inspection_finds(
    order: Callable[..., ReleaseConfig], base_folder: Path
) -> None:
    config = order()
    found = release(config)
    target = Path(config.models_folder) / found.digest.removeprefix("sha256:")
    again = inspected(target)
    assert (again.digest, again.files, again.size_bytes) == (found.digest, found.files, found.size_bytes)
    assert again.tokenizer == inspected(base_folder).tokenizer
    assert found.evaluation.whole.candidate.loss < found.evaluation.whole.base.loss
    manifest = ModelManifest.model_validate_json((target / RELEASE_FILE).read_bytes())
    assert (manifest.base.name, manifest.lineage.job) == ("base", "tune")
    assert (target / CARD_FILE).read_text() == model_card(manifest)
    assert found.evaluated_rows == manifest.evaluated_rows == 4 < manifest.lineage.heldout_rows
    assert [path.name for path in Path(config.models_folder).iterdir()] == [target.name], "nothing half remains"
    assert release(config) == found, "and whoever publishes it again finds it"


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: os.truncate(folder / "model.safetensors", 100_000),
        lambda folder: (folder / "config.json").write_text("{}"),
    ],
    ids=["no weights", "half of them", "no configuration"],
)
def test_what_is_no_whole_model_is_not_published(
    order: Callable[..., ReleaseConfig], candidate: Path, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    damaged = Path(shutil.copytree(candidate, tmp_path / "damaged"))
    damage(damaged)
    with pytest.raises(TaskError) as raised:
        release(order(candidate=str(damaged)))
    assert raised.value.reason is Reason.MODEL_INVALID


def test_a_base_that_training_has_left_as_it_was_is_no_new_one(
    order: Callable[..., ReleaseConfig], base_folder: Path
) -> None:
    with pytest.raises(TaskError, match="training has changed nothing") as raised:
        release(order(candidate=str(base_folder)))
    assert raised.value.reason is Reason.MODEL_INVALID


def test_a_damaged_model_in_its_place_is_said_and_left(order: Callable[..., ReleaseConfig]) -> None:
    config = order()
    target = Path(config.models_folder) / release(config).digest.removeprefix("sha256:")
    (target / "config.json").write_text("{}")
    with pytest.raises(TaskError, match="already in the store and is damaged") as raised:
        release(config)
    assert raised.value.reason is Reason.MODEL_INVALID
    assert (target / "config.json").read_text() == "{}"
