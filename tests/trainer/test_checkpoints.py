"""What an attempt writes down, the next one goes on from, to the adapter that one undisturbed would have made."""

import re
import signal
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from support.attempts import Attempt, Order

from wardrobe_contracts import base
from wardrobe_contracts.exits import ExitCode
from wardrobe_contracts.result import Result
from wardrobe_contracts.training import CheckpointPlan, Reached, TrainConfig
from wardrobe_trainer import checkpoints, checkpoints_folder, progress
from wardrobe_trainer import train as train_module
from wardrobe_trainer.checkpoints_folder import FOLDER
from wardrobe_trainer.peers import Place
from wardrobe_trainer.reporting import Reporter
from wardrobe_trainer.train import train

ALWAYS = CheckpointPlan(every_seconds=0.001, keep=2)
NEVER = CheckpointPlan(every_seconds=86_400, keep=2)
LONGER = {"epochs": 5}
"""20 steps, all of which the log has: enough left for who reads the second or third late."""
STEPS = 20
STORED = Path(__file__).parents[1] / "stored" / "samples" / "checkpoint"
ORDERS = Path(base.__file__).parents[2] / "samples" / "train-order"


def saved(attempt: Attempt) -> list[int]:
    return sorted(int(path.name) for path in (attempt.folder / FOLDER).iterdir() if path.name.isdecimal())


def reached(result: Result) -> Reached:
    assert result.reached is not None
    return result.reached


def losses(attempt: Attempt) -> dict[int, float]:
    """By step, as the log has them."""
    return {int(step): float(loss) for step, loss in re.findall(r"step (\d+)/.* loss ([0-9.]+)", attempt.output)}


def test_stopped_and_killed_and_on_other_processes_it_trains_what_one_trains_undisturbed(
    train_order: Order, tmp_path: Path
) -> None:
    alone = dict(enumerate(Attempt(train_order, tmp_path / "alone", schedule=LONGER).train(), 1))
    run = tmp_path / "run"

    stopped = Attempt(train_order, run, 1, processes=2, stage=2, checkpoints=NEVER, schedule=LONGER)
    assert stopped.stop_at("step 2/", signal.SIGTERM) == ExitCode.PREEMPTED
    found = reached(stopped.result())
    assert (found.resumed, found.step, saved(stopped)) == (0, found.saved, [found.saved]), "no step is lost"
    assert 2 <= found.saved < STEPS - 2
    assert f"after {found.step} steps, of which {found.saved} are saved" in stopped.result().message

    killed = Attempt(train_order, run, 2, checkpoints=ALWAYS, schedule=LONGER)
    killed.stop_at(f"step {found.saved + 1}/", signal.SIGKILL)
    assert f"after {found.saved} that are saved" in killed.output
    kept = checkpoints_folder.all_of(run)
    assert len(kept) <= 2

    last = Attempt(train_order, run, 3, processes=2, stage=3, checkpoints=NEVER, schedule=LONGER)
    last.train()
    together = losses(stopped) | losses(killed) | losses(last)
    assert together == pytest.approx(alone, abs=1e-2), "as near as two processes come to one"
    assert (reached(last.result()).resumed, reached(last.result()).step) == (int(kept[0].name), STEPS)
    assert not list(run.glob(f"*/{FOLDER}/*")), "of no use any more"


def test_on_the_same_processes_it_ends_in_the_same_adapter(train_order: Order, tmp_path: Path) -> None:
    dropout = {"rank": 4, "alpha": 8, "dropout": 0.1, "target_modules": ["q_proj"]}
    alone = Attempt(train_order, tmp_path / "alone", lora=dropout, schedule=LONGER)
    undisturbed = dict(enumerate(alone.train(), 1))
    stopped = Attempt(train_order, tmp_path / "run", 1, lora=dropout, checkpoints=NEVER, schedule=LONGER)
    assert stopped.stop_at("step 3/", signal.SIGTERM) == ExitCode.PREEMPTED
    last = Attempt(train_order, tmp_path / "run", 2, lora=dropout, checkpoints=NEVER, schedule=LONGER)
    last.train()
    assert losses(stopped) | losses(last) == undisturbed
    assert weights(last) == weights(alone)


def weights(attempt: Attempt) -> bytes:
    return (attempt.adapter / "adapter_model.safetensors").read_bytes()


def order_of(train_order: Order, folder: Path, number: int = 1, plan: CheckpointPlan = ALWAYS) -> TrainConfig:
    order = train_order(16, output_folder=str(folder / str(number)), schedule={"epochs": 3})
    return order.model_copy(update={"checkpoints": plan})


TENSORS = {"weight:a": torch.arange(6.0).reshape(2, 3), "exp_avg:a": torch.ones(2, 3)}


def write(order: TrainConfig, step: int) -> Path:
    checkpoints.write(order, TENSORS, step=step, tokens=100 * step, first_loss=5.0)
    return Path(order.output_folder) / FOLDER / f"{step:08d}"


def test_the_newest_of_any_attempt_is_taken(train_order: Order, tmp_path: Path) -> None:
    first, second = order_of(train_order, tmp_path), order_of(train_order, tmp_path, 2)
    assert checkpoints.newest(first) is None
    write(second, 5)
    write(first, 8)
    found = checkpoints.newest(second)
    assert found is not None
    assert (found.manifest.step, found.manifest.tokens) == (8, 800)
    assert torch.equal(found.stored("weight:a"), TENSORS["weight:a"])


def test_one_that_an_earlier_release_wrote_is_gone_on_from() -> None:
    """With its order, whose fingerprint must stay what it was: or an upgrade in mid-run begins the training anew."""
    order = TrainConfig.model_validate_json((ORDERS / "4-qlora.json").read_text())
    found = checkpoints.read(order, str(STORED / "4-qlora"))
    assert (found.manifest.step, found.manifest.tokens, found.manifest.first_loss) == (12, 9600, 4.7363)
    assert torch.equal(found.stored("weight:a"), TENSORS["weight:a"])


def test_who_goes_on_reads_what_was_saved_once(
    train_order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of a large adapter takes a while to read."""
    order = order_of(train_order, tmp_path)
    write(order, 8)
    reads: list[Path] = []
    monkeypatch.setattr(checkpoints, "_reader", lambda _, path: reads.append(path))
    begun = train_module.goes_on_from(order, Place())
    assert begun is not None
    assert (begun.manifest.step, len(reads)) == (8, 1)


def test_no_more_are_kept_than_were_ordered(train_order: Order, tmp_path: Path) -> None:
    first, second = order_of(train_order, tmp_path), order_of(train_order, tmp_path, 2)
    write(first, 3)
    for step in (5, 7, 9):
        write(second, step)
    assert sorted(path.name for path in tmp_path.glob(f"*/{FOLDER}/*")) == ["00000007", "00000009"]


def test_an_old_pod_that_still_lives_takes_nothing_from_a_later_attempt(train_order: Order, tmp_path: Path) -> None:
    old, new = order_of(train_order, tmp_path), order_of(train_order, tmp_path, 2)
    write(old, 400)
    for step in (500, 600):
        write(new, step)
    write(old, 450)
    assert {"00000500", "00000600"} <= {path.name for path in tmp_path.glob(f"2/{FOLDER}/*")}


def test_what_was_passed_over_is_not_kept_instead_of_what_is_new(train_order: Order, tmp_path: Path) -> None:
    """Training began anew after two later ones that were damaged."""
    order = order_of(train_order, tmp_path)
    for step in (90, 100):
        (write(order, step) / "manifest.json").unlink()
    assert checkpoints.newest(order) is None
    assert checkpoints.newest(order_of(train_order, tmp_path, 2)) is None
    assert write(order, 10).exists()
    assert checkpoints.newest(order) is not None


@pytest.mark.parametrize("damage", ["other bytes", "no manifest", "half a manifest", "no tensors"])
def test_one_that_is_damaged_is_passed_over(
    train_order: Order, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    order = order_of(train_order, tmp_path)
    write(order, 3)
    newest = write(order, 5)
    match damage:
        case "other bytes":
            (newest / "state.safetensors").write_bytes((newest / "state.safetensors").read_bytes()[:-1] + b"x")
        case "no manifest":
            (newest / "manifest.json").unlink()
        case "half a manifest":
            (newest / "manifest.json").write_text("{")
        case _:
            (newest / "state.safetensors").unlink()
    found = checkpoints.newest(order)
    assert found is not None
    assert found.folder == str(newest.with_name("00000003"))


OTHERS = [
    {"train_digest": f"sha256:{'1' * 64}"},
    {"base": {"folder": "/elsewhere", "fingerprint": f"sampled:sha256:{'1' * 64}"}},
    {"schedule": {"seed": 8}},
    {"schedule": {"batch_size": 16}},
    {"schedule": {"learning_rate": 0.5}},
]


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_one_of_other_data_base_or_settings_is_refused(
    train_order: Order, tmp_path: Path, other: dict[str, object]
) -> None:
    order = order_of(train_order, tmp_path)
    write(order, 3)
    values = order.model_dump()
    for name, value in other.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    assert checkpoints.newest(TrainConfig.model_validate(values)) is None


def test_other_processes_and_micro_batches_are_the_same_run(train_order: Order, tmp_path: Path) -> None:
    order = order_of(train_order, tmp_path)
    write(order, 3)
    schedule = order.schedule.model_copy(update={"micro_batch_size": 1})
    other = order.model_copy(update={"schedule": schedule, "output_folder": str(tmp_path / "2")})
    assert checkpoints.newest(other) is not None


def test_the_adapter_is_written_once_the_volume_takes_it(tmp_path: Path) -> None:
    """safetensors tells of a full disk by an error of its own."""
    tries = iter([OSError(28, "No space left on device"), SafetensorError("I/O error: No space left on device"), None])

    def write() -> None:
        if (error := next(tries)) is not None:
            raise error

    reporter = Reporter(tmp_path, 4, None)
    train_module.save_at_last(write, reporter, retry_seconds=0.0)
    assert next(tries, "no more") == "no more"
    assert "No space left" in (progress.read(tmp_path).problem or "")


def test_a_checkpoint_that_cannot_be_written_ends_nothing(train_order: Order, tmp_path: Path) -> None:
    """It is said, and the training goes on."""
    order = order_of(train_order, tmp_path / "run")
    (tmp_path / "run" / "1").mkdir(parents=True)
    (tmp_path / "run" / "1" / FOLDER).write_text("no folder")
    summary = train(order, tmp_path)
    assert summary.steps == 6
    assert "Not a directory" in (progress.read(tmp_path).problem or "")
    assert summary.reached is not None
    assert summary.reached.saved == 0
