"""A run's tasks as their pods run them, one after the other, on the example's base and few of its rows."""

import os
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Accelerator, BaseLocation, Method, Order, Task, Variant
from wardrobe_contracts.base_files import base_files
from wardrobe_contracts.check import CheckConfig, CheckReport
from wardrobe_contracts.digests import fingerprint
from wardrobe_contracts.manifest import BaseReference, Lineage
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_contracts.tracking import MlflowTracking
from wardrobe_contracts.training import Lora, LoraMethod, Schedule, TrainConfig, TrainingSummary

from . import results
from .fetching import CARDIOLOGY
from .real_engines import MODEL, python
from .waiting import HANG

LORA = Lora(rank=4, alpha=8, dropout=0, target_modules=["q_proj", "v_proj"])
SCHEDULE = Schedule(epochs=1, learning_rate=1e-3, batch_size=4, micro_batch_size=4, sequence_length=64, seed=7)


@dataclass(frozen=True)
class TrackedRun:
    """The folder of a run, and what all its pods are told of tracking."""

    folder: Path
    tracking: MlflowTracking
    rows: int = 40
    schedule: Schedule = SCHEDULE

    @cached_property
    def base(self) -> BaseLocation:
        return BaseLocation(folder=str(MODEL), fingerprint=fingerprint(MODEL, base_files(MODEL)))

    def check(self) -> CheckReport:
        """So that there is something to train on."""
        data = self.folder / "rows.jsonl"
        data.write_text("".join(CARDIOLOGY.read_text().splitlines(keepends=True)[: self.rows]))
        order = CheckConfig(
            base=self.base,
            dataset_file=str(data),
            source="pvc://datasets/cardiology.jsonl",
            sequence_length=self.schedule.sequence_length,
            validation_fraction=0.2,
            seed=7,
            output_folder=str(self.folder / "check"),
        )
        report = self.do("check", order).payload
        assert isinstance(report, CheckReport)
        return report

    def training(self, report: CheckReport, attempt: int = 1, **changes: Any) -> TrainConfig:
        """Order to train."""
        return TrainConfig(
            base=self.base,
            data_folder=str(self.folder / "check"),
            train_digest=report.train_digest,
            tokens_digest=report.tokens_digest,
            output_folder=str(self.folder / str(attempt)),
            method=LoraMethod(lora=LORA),
            accelerator=Accelerator.CPU,
            tracking=self.tracking,
            **{"schedule": self.schedule, **changes},
        )

    def assessment(self, report: CheckReport, trained: TrainingSummary, attempt: int = 1) -> AssessConfig:
        """Order to assess what an attempt trained."""
        lineage = Lineage(
            job="cardiology",
            job_uid=self.tracking.run_uid,
            dataset_source="pvc://datasets/cardiology.jsonl",
            dataset_digest=report.dataset_digest,
            train_rows=report.train_rows,
            heldout_rows=report.heldout_rows,
            schedule=self.schedule,
            packages=trained.packages,
            method=Method.LORA,
            lora=LORA,
        )
        digest = results.digest("a")
        return AssessConfig(
            run=self.tracking.run,
            line="cardiology",
            base=self.base,
            base_reference=BaseReference(name="tantanila-base", digest=digest, chat_template_digest=digest),
            data_folder=str(self.folder / "check"),
            heldout_digest=report.heldout_digest,
            candidate_folder=str(self.folder / str(attempt) / "adapter"),
            line_folder=str(self.folder / "line"),
            output_folder=str(self.folder / "assess"),
            variants=[Variant.NONE],
            max_rows=4,
            lineage=lineage,
            accelerator=Accelerator.CPU,
            tracking=self.tracking,
        )

    def start(self, task: Task, order: Order, name: str) -> "subprocess.Popen[bytes]":
        """A pod; its log is in the run's folder."""
        (self.folder / name).mkdir(exist_ok=True)
        variables = {
            "WARDROBE_CONFIG": order.model_dump_json(by_alias=True, exclude_none=True),
            "WARDROBE_TERMINATION_LOG": str(self.folder / name / "message"),
            "WARDROBE_PROGRESS_PORT": "0",
            "HF_HUB_OFFLINE": "1",
        }
        with (self.folder / "log").open("ab") as log:
            command = [str(python("trainer")), "-m", "wardrobe_trainer", task]
            return subprocess.Popen(command, env={**os.environ, **variables}, stdout=log, stderr=subprocess.STDOUT)

    def do(self, task: Task, order: Order, within: float = HANG) -> Result:
        """The result of a pod that came to its end; as it is recorded, of which the kubelet has the same."""
        name = Path(order.model_dump()["output_folder"]).name
        self.start(task, order, name).wait(within)
        result = Result.model_validate_json((self.folder / name / RESULT_FILE).read_text())
        assert result.succeeded, self.log
        told = Result.model_validate_json((self.folder / name / "message").read_text())
        assert told.tracked == result.tracked
        return result

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()
