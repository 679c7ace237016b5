"""Fixtures of the trainer's tests: the example's real base and real rows, cut small.

They need the trainer's own environment (`uv sync --package wardrobe-trainer --group test`); elsewhere they are skipped.
"""

import importlib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from wardrobe_contracts.inspection import Inspection
    from wardrobe_models.chat import Chat

collect_ignore_glob = [] if importlib.util.find_spec("trl") else ["test_*.py"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "tantanila"
FORGIVEN = (
    # transformers 5.23, of its own property, when peft 0.21 asks for it.
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
)

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    TRANSFORMERS_VERBOSITY="error",
    OMP_WAIT_POLICY="PASSIVE",  # as the trainer's own entry point sets it; before torch is imported
)


def late(module: str) -> Any:
    """Import when a fixture is used: this file is also read where the trainer is not installed."""
    return importlib.import_module(module)


def pytest_configure(config: pytest.Config) -> None:
    """Forgive what libraries warn of and we cannot mend: one message of one package each."""
    for line in FORGIVEN:
        config.addinivalue_line("filterwarnings", line)


@pytest.fixture(scope="session")
def base_folder() -> Path:
    return EXAMPLE / "model"


@pytest.fixture(scope="session")
def cardiology() -> Path:
    return EXAMPLE / "data" / "cardiology.jsonl"


@pytest.fixture(scope="session")
def chat(base_folder: Path) -> "Chat":
    loaded: Chat = late("wardrobe_trainer.tokens").load_chat(base_folder, "")
    return loaded


@pytest.fixture(scope="session")
def inspection(base_folder: Path) -> "Inspection":
    order = {"base_folder": str(base_folder), "source": "pvc://models/base", "output_folder": "unused"}
    config = late("wardrobe_contracts.inspection").InspectConfig(**order)
    found: Inspection = late("wardrobe_trainer.inspection").inspect(config)
    return found


@pytest.fixture
def model_copy(base_folder: Path, tmp_path: Path) -> Path:
    """A copy of the base that a test may damage."""
    return Path(shutil.copytree(base_folder, tmp_path / "base"))


@pytest.fixture
def edit_json() -> Callable[..., None]:
    """Change top-level fields of a JSON file; None removes one."""

    def edit(path: Path, **changes: Any) -> None:
        value = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: item for key, item in value.items() if item is not None}))

    return edit


@pytest.fixture
def row() -> Callable[..., str]:
    """One line of a dataset."""

    def line(question: str, answer: str, **extra: Any) -> str:
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return json.dumps({"messages": messages, **extra})

    return line


@pytest.fixture
def termination_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the termination message goes instead of /dev."""
    path = tmp_path / "termination-log"
    monkeypatch.setenv("WARDROBE_TERMINATION_LOG", str(path))
    return path


@pytest.fixture
def train_order(base_folder: Path, inspection: "Inspection", tmp_path: Path) -> Callable[..., Any]:
    """An order to train briefly on the first cardiology rows, written where a check would have written them."""

    def order(rows: int = 24, **changes: Any) -> Any:
        data = tmp_path / "check"
        data.mkdir(exist_ok=True)
        lines = (EXAMPLE / "data" / "cardiology.jsonl").read_text().splitlines()[:rows]
        (data / "train.jsonl").write_text("".join(f"{line}\n" for line in lines))
        schedule = {"epochs": 1, "learning_rate": 1e-3, "batch_size": 8, "micro_batch_size": 4, "sequence_length": 64}
        values: dict[str, Any] = {
            "base_folder": str(base_folder),
            "base_fingerprint": inspection.fingerprint,
            "data_folder": str(data),
            "train_digest": late("wardrobe_contracts.digests").sha256_file(data / "train.jsonl"),
            "output_folder": str(tmp_path / "attempt"),
            "method": "QLoRA",
            "lora": {"rank": 4, "alpha": 8, "dropout": 0, "target_modules": ["all-linear"]},
            "quantization": {"type": "NF4", "double_quantization": True},
            "schedule": {**schedule, "seed": 7, **changes.pop("schedule", {})},
            "accelerator": "CPU",
        }
        values |= changes
        values["base"] = {"folder": values["base_folder"], "fingerprint": values["base_fingerprint"]}
        values["method"] = {"name": values["method"], "lora": values["lora"], "quantization": values["quantization"]}
        return late("wardrobe_contracts.training").TrainConfig.model_validate(values)

    return order
