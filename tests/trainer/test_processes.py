"""Several processes with DeepSpeed train what one trains: real ranks under the real launcher, on CPU."""

import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.attempts import STEPS, Attempt, Order, Stage
from support.waiting import HANG

from wardrobe_contracts.base import Accelerator
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Failed
from wardrobe_trainer.adapter_files import validate


@pytest.mark.parametrize(
    ("method", "stages"), [("QLoRA", (2, 3)), pytest.param("LoRA", (0, 3), marks=pytest.mark.gauntlet)]
)
def test_two_processes_train_what_one_trains(
    train_order: Order, tmp_path: Path, method: str, stages: tuple[Stage, ...]
) -> None:
    alone = Attempt(train_order, tmp_path / "alone", method=method)
    losses = alone.train()
    assert len(losses) == STEPS
    found = []
    for stage in stages:
        shared = Attempt(train_order, tmp_path / f"zero-{stage}", processes=2, stage=stage, method=method)
        found.append(shared.train())
        assert found[-1] == pytest.approx(losses, abs=1e-2)
        modules = validate(shared.adapter, 4).adapter.matrices
        assert modules.keys() == validate(alone.adapter, 4).adapter.matrices.keys()
        weights = load_file(shared.adapter / "adapter_model.safetensors")
        assert {weight.dtype for weight in weights.values()} == {torch.float32}
        assert all(bool(weight.any()) for name, weight in weights.items() if "lora_B" in name)
    assert found[0] == pytest.approx(found[1], abs=1e-3)


def test_a_peer_that_never_comes_costs_no_more_than_start_seconds(train_order: Order, tmp_path: Path) -> None:
    attempt = Attempt(train_order, tmp_path, processes=2, stage=2)
    missing = attempt.order.processes.model_copy(update={"nodes": 2, "per_node": 1, "start_seconds": 3.0})
    attempt.order = attempt.order.model_copy(update={"processes": missing})
    output, _ = (process := attempt.start()).communicate(timeout=HANG)
    assert process.returncode == ExitCode.COMMUNICATION
    assert attempt.result().reason is Reason.PEERS_MISSING
    assert "loading the base" not in output, "it would hold memory for nothing"


def test_a_rank_that_is_killed_ends_the_attempt(train_order: Order, tmp_path: Path) -> None:
    attempt = Attempt(train_order, tmp_path, processes=2, stage=2, schedule={"epochs": 500})
    process = attempt.start()
    assert process.stdout is not None
    while "step 1/" not in process.stdout.readline():
        assert process.poll() is None
    os.kill(attempt.ranks(process)[1], signal.SIGKILL)
    process.communicate(timeout=HANG)
    assert process.returncode == ExitCode.UNKNOWN
    result = attempt.result()
    assert "rank 1 was killed by SIGKILL" in result.message
    assert isinstance(result.outcome, Failed)
    assert (result.outcome.rank, "loading the base (NF4)" in " ".join(result.outcome.lines)) == (1, True)


def test_a_gpu_that_is_not_there_is_said_before_the_base_is_loaded(train_order: Order, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    attempt = Attempt(train_order, tmp_path, accelerator=Accelerator.GPU)
    output, _ = (process := attempt.start()).communicate(timeout=HANG)
    assert process.returncode == ExitCode.ACCELERATOR
    assert attempt.result().reason is Reason.ACCELERATOR_UNUSABLE
    assert "found: no accelerator that works" in attempt.result().message
    assert "loading the base" not in output
