"""Attempts to train as a pod runs them: the real launcher and real ranks, on CPU, in a folder of their own."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wardrobe_contracts import deepspeed
from wardrobe_contracts.base import Accelerator
from wardrobe_contracts.result import Result
from wardrobe_contracts.training import AdapterMethod, Processes, TrainConfig, TrainingSummary

from .ports import free_port
from .waiting import HANG

Order = Callable[..., TrainConfig]
Stage = deepspeed.ZeroStage
SETTINGS = {"batch_size": 8, "micro_batch_size": 2, "epochs": 2}
ROWS = 27
"""No multiple of the batch size: the last step of an epoch has rows for some ranks only."""
STEPS = 8


class Attempt:
    """One attempt of the run in `folder`."""

    def __init__(
        self,
        train_order: Order,
        folder: Path,
        number: int = 1,
        *,
        processes: int = 1,
        stage: Stage | None = None,
        method: str | Mapping[str, Any] = "QLoRA",
        **changes: Any,
    ) -> None:
        self.folder = folder / str(number)
        self.folder.mkdir(parents=True)
        schedule = {**SETTINGS, **changes.pop("schedule", {})}
        settings: dict[str, Any] = {"schedule": schedule}
        settings |= {"lora": changes.pop("lora")} if "lora" in changes else {}
        order = train_order(changes.pop("rows", ROWS), output_folder=str(self.folder), **settings)
        if method == "LoRA":
            assert isinstance(order.method, AdapterMethod)
            method = {"name": method, "lora": order.method.lora}
        group = Processes(per_node=processes, start_seconds=120)
        changed: dict[str, object] = {"processes": group, **changes}
        changed |= {} if isinstance(method, str) else {"method": method}
        if stage is not None:
            file = self.folder / deepspeed.CONFIG_FILE
            file.write_text(json.dumps(deepspeed.configuration(stage, order.schedule, group, Accelerator.CPU)))
            changed["deepspeed"] = str(file)
        self.order = TrainConfig.model_validate({**order.model_dump(), **changed})
        self.output = ""

    def start(self, **environment: str) -> "subprocess.Popen[str]":
        """The launcher, which has begun."""
        own = {
            "WARDROBE_CONFIG": self.order.model_dump_json(by_alias=True),
            "WARDROBE_TERMINATION_LOG": str(self.folder / "log"),
            "WARDROBE_PROGRESS_PORT": "0",
            "WARDROBE_MASTER_PORT": str(free_port()),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "wardrobe_trainer", "train"],
            env={**os.environ, **own, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stop_at(self, line: str, number: signal.Signals) -> int:
        """Run until the log has this, then send a signal to the launcher, or SIGKILL to all; returns how it ended."""
        process = self.start()
        assert process.stdout is not None
        said = ""
        while line not in said:
            assert process.poll() is None, self.output
            said = process.stdout.readline()
            self.output += said
        if number is signal.SIGKILL:
            for child in self.ranks(process):
                os.kill(child, signal.SIGKILL)
        process.send_signal(number)
        output, _ = process.communicate(timeout=HANG)
        self.output += output
        return process.returncode

    def ranks(self, process: "subprocess.Popen[str]") -> list[int]:
        """Process ids, in the ranks' order."""
        found = subprocess.run(["pgrep", "--parent", str(process.pid)], stdout=subprocess.PIPE, text=True, check=True)
        return sorted(map(int, found.stdout.split()))

    def result(self) -> Result:
        """What it left for the kubelet."""
        return Result.model_validate_json((self.folder / "log").read_text())

    def train(self) -> list[float]:
        """To its end. Returns the losses that the log has: all steps', where there are few."""
        self.output, errors = (process := self.start()).communicate(timeout=HANG)
        assert process.returncode == 0, self.output + errors
        assert isinstance(self.result().payload, TrainingSummary)
        return [float(found) for found in re.findall(r"loss ([0-9.]+)", self.output)]

    @property
    def adapter(self) -> Path:
        """Where it leaves the adapter."""
        return self.folder / "adapter"
