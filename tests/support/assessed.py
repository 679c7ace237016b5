"""A run on the example's base as far as its assessment: checked, and trained for a few steps."""

from pathlib import Path
from typing import Any

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.check import CheckConfig, CheckReport
from wardrobe_contracts.inspection import Inspection
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_contracts.training import TrainConfig
from wardrobe_trainer.check import check
from wardrobe_trainer.train import train

SCHEDULE = {
    "epochs": 3,
    "learning_rate": 3e-3,
    "batch_size": 8,
    "micro_batch_size": 8,
    "sequence_length": 96,
    "seed": 7,
}
METHOD = {
    "name": "QLoRA",
    "lora": {"rank": 4, "alpha": 8, "dropout": 0, "target_modules": ["all-linear"]},
    "quantization": {"type": "NF4", "double_quantization": True},
}


def trained(run: Path, base: Path, inspection: Inspection, dataset: Path, prelude: str = "") -> Path:
    """Fill a run's folder with what check and train leave: of 50 rows, after 18 steps."""
    (run / "data.jsonl").write_text("".join(line + "\n" for line in dataset.read_text().splitlines()[:50]))
    common = {"base": {"folder": str(base), "fingerprint": inspection.fingerprint, "chatPrelude": prelude}}
    report = check(
        CheckConfig.model_validate(
            {
                **common,
                "dataset_file": str(run / "data.jsonl"),
                "source": "pvc://data/cardiology.jsonl",
                "sequence_length": 256,
                "validation_fraction": 0.2,
                "seed": 7,
                "output_folder": str(run / "check"),
            }
        )
    )
    (run / "check" / RESULT_FILE).write_text(Result.success("done", report).model_dump_json(by_alias=True))
    order = {
        **common,
        "data_folder": str(run / "check"),
        "train_digest": report.train_digest,
        "output_folder": str(run / "1"),
        "method": METHOD,
        "schedule": SCHEDULE,
        "accelerator": "CPU",
    }
    train(TrainConfig.model_validate(order), run)
    return run


def order(run: Path, base: Path, inspection: Inspection, into: Path, /, **changes: Any) -> AssessConfig:
    """To assess it in a store of its own."""
    report = Result.model_validate_json((run / "check" / RESULT_FILE).read_text()).payload
    assert isinstance(report, CheckReport)
    lineage = {
        "job": "cardiology-1",
        "job_uid": "0000",
        "dataset_source": "pvc://data/cardiology.jsonl",
        "dataset_digest": report.dataset_digest,
        "train_rows": report.train_rows,
        "heldout_rows": report.heldout_rows,
        "method": METHOD["name"],
        "lora": METHOD["lora"],
        "quantization": METHOD["quantization"],
        "schedule": SCHEDULE,
        "packages": {},
    }
    values = {
        "run": "cardiology-1-0000",
        "line": "cardiology",
        "base": {"folder": str(base), "fingerprint": inspection.fingerprint},
        "base_reference": {
            "name": "tantanila-base",
            "digest": inspection.digest,
            "chat_template_digest": inspection.tokenizer.chat_template_digest,
        },
        "data_folder": str(run / "check"),
        "heldout_digest": report.heldout_digest,
        "heldout_tokens_digest": report.heldout_tokens_digest,
        "candidate_folder": str(run / "1" / "adapter"),
        "line_folder": str(into / "line"),
        "output_folder": str(into / "assess"),
        "variants": ["None"],
        "lineage": lineage,
        "accelerator": "CPU",
    }
    return AssessConfig.model_validate(values | changes)
