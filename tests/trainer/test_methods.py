"""Every method and optimizer trains, alone and shared out, and goes on from a checkpoint where it was."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.optim.adamw import AdamW8bit
from support.attempts import Attempt, Order, Stage

from wardrobe_contracts.exits import ExitCode
from wardrobe_contracts.training import CheckpointPlan, Optimizer, TrainingSummary
from wardrobe_trainer import eight_bits
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
    ("given", "optimizer", "used"),
    [
        (method("LoRA", {"type": "INT8"}), Optimizer.ADAMW_8BIT, Optimizer.ADAMW_8BIT),
        (method("QLoRA", {"type": "FP4", "double_quantization": True}), Optimizer.PAGED_ADAMW, Optimizer.ADAMW),
        (
            method("QLoRA", {"type": "FP4", "double_quantization": False}),
            Optimizer.PAGED_ADAMW_8BIT,
            Optimizer.ADAMW_8BIT,
        ),
        (method("QLoRA", {"type": "NF4", "double_quantization": False}), Optimizer.ADAMW, Optimizer.ADAMW),
        (
            method("LoRA", None, scaling="RankStabilized", initialization="Gaussian"),
            Optimizer.ADAMW,
            Optimizer.ADAMW,
        ),
    ],
    ids=["INT8", "FP4 doubly", "FP4", "NF4", "as stored"],
)
def test_every_way_to_hold_the_base_and_every_optimizer_learns(
    train_order: Order, tmp_path: Path, given: dict[str, Any], optimizer: Optimizer, used: Optimizer
) -> None:
    attempt = Attempt(train_order, tmp_path, method=given, schedule={"optimizer": optimizer})
    found = attempt.train()
    assert found[-1] < found[0]
    validate(attempt.adapter, 4)
    config = json.loads((attempt.adapter / "adapter_config.json").read_text())
    assert config["use_rslora"] is (given["lora"].get("scaling") == "RankStabilized")
    summary = attempt.result().payload
    assert isinstance(summary, TrainingSummary)
    assert summary.optimizer is used
    assert summary.instead_of is (None if optimizer is used else optimizer), "what stood in is said"


def test_a_base_in_eight_bits_is_trained_on_by_several(train_order: Order, tmp_path: Path) -> None:
    given = method("LoRA", {"type": "INT8"})
    alone = Attempt(train_order, tmp_path / "alone", method=given).train()
    shared = Attempt(train_order, tmp_path / "shared", processes=2, stage=2, method=given).train()
    assert shared == pytest.approx(alone, abs=1e-2)


def stepped(weight: torch.nn.Parameter, steps: int) -> AdamW8bit:
    optimizer = AdamW8bit([weight], lr=1e-3)  # type: ignore[no-untyped-call]  # bitsandbytes
    for _ in range(steps):
        weight.grad = torch.randn_like(weight) * 0.01
        weight.grad[:3] = 0  # blocks without a moment
        optimizer.step()  # type: ignore[no-untyped-call]
    return optimizer


def test_moments_in_eight_bits_come_back_on_their_codes() -> None:
    torch.manual_seed(7)
    weight = torch.nn.Parameter(torch.randn(64, 129))  # the last block is not full
    state = stepped(weight, 5).state[weight]
    for number, moment in (("1", "exp_avg"), ("2", "exp_avg_sq")):
        before = eight_bits.read(state, number, weight.device)
        with eight_bits.as_float32({weight: state}, moment, written=True):
            assert torch.equal(state[moment], before)
        assert not {"exp_avg", "exp_avg_sq"} & state.keys()
        assert torch.equal(eight_bits.read(state, number, weight.device), before)


def test_other_moments_are_rounded_to_the_nearest_code() -> None:
    torch.manual_seed(7)
    weight = torch.nn.Parameter(torch.randn(64, 128))
    state = stepped(weight, 2).state[weight]
    wanted = torch.randn(64, 128)
    with eight_bits.as_float32({weight: state}, "exp_avg", written=True):
        state["exp_avg"].copy_(wanted)
    found = eight_bits.read(state, "1", weight.device)
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 0.02


@pytest.mark.parametrize("stage", [pytest.param(1, marks=pytest.mark.gauntlet), 3])
def test_moments_in_eight_bits_go_on_where_they_were(train_order: Order, tmp_path: Path, stage: Stage) -> None:
    given: dict[str, Any] = {
        "processes": 2,
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
