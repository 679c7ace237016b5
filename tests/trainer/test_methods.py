"""Every method and optimizer trains, alone and shared out, and goes on from a checkpoint where it was."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from support.attempts import Attempt, Order, Stage

from wardrobe_contracts.exits import ExitCode
from wardrobe_contracts.training import CheckpointPlan, Optimizer, TrainingSummary
from wardrobe_trainer.adapter_files import validate

from .test_checkpoints import losses

NEVER = CheckpointPlan(every_seconds=86_400, keep=2)
LORA = {"rank": 4, "alpha": 8, "dropout": 0, "target_modules": ["all-linear"]}
WIDE = {**LORA, "rank": 64, "alpha": 64}
"""Matrices of over 4,096 values, which bitsandbytes keeps in 8 bits."""
FOUR_BITS = {"type": "NF4", "double_quantization": True}


def method(name: str, quantization: dict[str, Any] | None, **lora: Any) -> dict[str, Any]:
    return {"name": name, "lora": {**LORA, **lora}, "quantization": quantization}


@pytest.mark.parametrize(
    "given",
    [
        method("LoRA", {"type": "INT8"}),
        method("QLoRA", {"type": "FP4", "double_quantization": True}),
        method("QLoRA", {"type": "FP4", "double_quantization": False}),
        method("QLoRA", {"type": "NF4", "double_quantization": False}),
        method("LoRA", None, scaling="RankStabilized", initialization="Gaussian"),
    ],
    ids=str,
)
def test_every_way_to_hold_the_base_learns(train_order: Order, tmp_path: Path, given: dict[str, Any]) -> None:
    attempt = Attempt(train_order, tmp_path, method=given)
    found = attempt.train()
    assert found[-1] < found[0]
    validate(attempt.adapter, 4)
    config = json.loads((attempt.adapter / "adapter_config.json").read_text())
    assert config["use_rslora"] is (given["lora"].get("scaling") == "RankStabilized")


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_base_in_eight_bits_is_trained_on_by_several(train_order: Order, tmp_path: Path, stage: Stage) -> None:
    given = method("LoRA", {"type": "INT8"})
    alone = Attempt(train_order, tmp_path / "alone", method=given).train()
    shared = Attempt(train_order, tmp_path / "shared", processes=2, stage=stage, method=given).train()
    assert shared == pytest.approx(alone, abs=1e-2)


@pytest.mark.parametrize(
    ("optimizer", "used"),
    [
        (Optimizer.ADAMW_8BIT, Optimizer.ADAMW_8BIT),
        (Optimizer.PAGED_ADAMW, Optimizer.ADAMW),
        (Optimizer.PAGED_ADAMW_8BIT, Optimizer.ADAMW_8BIT),
    ],
)
def test_what_stands_in_for_paging_is_said(
    train_order: Order, tmp_path: Path, optimizer: Optimizer, used: Optimizer
) -> None:
    attempt = Attempt(train_order, tmp_path, schedule={"optimizer": optimizer})
    found = attempt.train()
    assert found[-1] < found[0]
    summary = attempt.result().payload
    assert isinstance(summary, TrainingSummary)
    assert summary.optimizer is used
    assert summary.instead_of is (None if optimizer is used else optimizer)


@pytest.mark.parametrize(("processes", "stage"), [(1, None), (2, 1), (2, 3)])
def test_moments_in_eight_bits_go_on_where_they_were(
    train_order: Order, tmp_path: Path, processes: int, stage: Stage | None
) -> None:
    given: dict[str, Any] = {
        "processes": processes,
        "stage": stage,
        "method": {"name": "QLoRA", "lora": WIDE, "quantization": FOUR_BITS},
        "schedule": {"optimizer": Optimizer.ADAMW_8BIT, "epochs": 3},
        "checkpoints": NEVER,
    }
    alone = Attempt(train_order, tmp_path / "alone", **given)
    undisturbed = dict(enumerate(alone.train(), 1))
    stopped = Attempt(train_order, tmp_path / "run", 1, **given)
    assert stopped.stop_at("step 3/", signal.SIGTERM) == ExitCode.PREEMPTED
    last = Attempt(train_order, tmp_path / "run", 2, **given)
    last.train()
    assert losses(stopped) | losses(last) == pytest.approx(undisturbed, abs=2e-4), "as the log rounds them"
