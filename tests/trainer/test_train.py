"""Training on the real base for a few steps: it learns, it repeats itself exactly, and it leaves the base alone."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import modules as bnb_modules
from peft import PeftModel
from safetensors.torch import load_file, save_file
from support.waiting import HANG
from transformers import TrainerControl, TrainerState, TrainingArguments

from wardrobe_contracts.check import TOKENS_FILE
from wardrobe_contracts.digests import sha256, sha256_file
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_contracts.training import AdapterMethod, TrainConfig, TrainingSummary
from wardrobe_models import loading
from wardrobe_models.chat import Chat
from wardrobe_trainer import progress
from wardrobe_trainer.adapter_config import normalised_config
from wardrobe_trainer.adapter_files import validate
from wardrobe_trainer.batches import Plan
from wardrobe_trainer.checkpoints import Manifest
from wardrobe_trainer.lora import prepare
from wardrobe_trainer.problems import TaskError
from wardrobe_trainer.reporting import Reporter, milestones, require_finite
from wardrobe_trainer.token_file import token_file, words_of
from wardrobe_trainer.tokens import IGNORED, examples
from wardrobe_trainer.train import lengths_of, load_examples, train
from wardrobe_trainer.trainer import MicroBatches, PlannedTrainer, make_trainer, trainer_settings

Order = Callable[..., TrainConfig]
PROCESSOR_REPACKS: bool = bnb_modules.has_avx512bf16()  # type: ignore[attr-defined, no-untyped-call]  # bitsandbytes


def adapted(config: TrainConfig) -> PeftModel:
    assert isinstance(config.method, AdapterMethod)
    return prepare(config, config.method)


def trainer_of(config: TrainConfig, chat: Chat, model: PeftModel, scratch: Path) -> PlannedTrainer:
    examples = load_examples(config, chat)
    plan = Plan.of(config, lengths_of(examples))
    settings = trainer_settings(config, plan, scratch)
    return make_trainer(settings, chat, model, examples, MicroBatches(plan, rank=0))


def part(model: PeftModel, name: str) -> Any:
    """A module of the base, by its name within the decoder."""
    return model.get_base_model().get_submodule(f"model.{name}")


def batch(config: TrainConfig, chat: Chat) -> dict[str, torch.Tensor]:
    """One fixed batch of two rows of equal length."""
    rows = load_examples(config, chat)
    return {name: torch.tensor([rows[0][name], rows[1][name]]) for name in ("input_ids", "labels")}


def loss_of(model: PeftModel, inputs: dict[str, torch.Tensor]) -> float:
    return float(model(**inputs).loss.detach())


def frozen(model: PeftModel) -> str:
    """Digest of everything that must not change, as bytes and with quantization constants."""
    state = {name: value for name, value in model.state_dict().items() if "lora_" not in name}
    assert len(state) > 50
    return sha256(b"".join(name.encode() + value.numpy(force=True).tobytes() for name, value in sorted(state.items())))


@pytest.mark.parametrize("method", ["LoRA", "QLoRA"])
def test_a_short_run(train_order: Order, tmp_path: Path, method: str) -> None:
    quantization = None if method == "LoRA" else {"type": "NF4", "double_quantization": True}
    config = train_order(24, method=method, quantization=quantization, schedule={"epochs": 3})
    summary = train(config, tmp_path)
    assert summary.steps == 9
    assert summary.last_loss < summary.first_loss - 0.2
    assert summary.tokens == 9 * 8 * 64
    assert summary.trainable_parameters == 116_736
    assert 100_000_000 < summary.peak_memory_bytes < 8_000_000_000
    assert summary.packages["trl"].startswith("1.16")
    facts = validate(tmp_path / "attempt" / "adapter", 4)
    features = facts.adapter.features
    assert len(features) == 6 * 7
    assert features["model.layers.0.mlp.down_proj"] == (768, 256)
    assert {tensor.dtype for tensor in adapter(tmp_path).values()} == {torch.float32}
    assert not (tmp_path / "attempt" / ".adapter").exists()
    ended = progress.read(tmp_path)
    assert (ended.stage, ended.step, ended.steps, ended.epoch) == ("Saving", 9, 9, 3)
    assert (ended.loss, ended.seconds_left) == (summary.last_loss, 0)


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "attempt" / "adapter" / "adapter_model.safetensors")


def test_the_same_order_gives_the_same_adapter_and_another_seed_another(train_order: Order, tmp_path: Path) -> None:
    found = []
    for run, seed in (("a", 7), ("b", 7), ("c", 8)):
        config = train_order(16, output_folder=str(tmp_path / run), schedule={"seed": seed})
        train(config, tmp_path)
        folder = tmp_path / run / "adapter"
        settled = normalised_config(validate(folder, 4).adapter.config, "tantanila-base")
        assert str(tmp_path).encode() not in settled
        found.append((sha256((folder / "adapter_model.safetensors").read_bytes()), sha256(settled)))
    assert found[0] == found[1]
    assert found[2][0] != found[0][0]
    assert found[2][1] == found[0][1]


@pytest.mark.parametrize("method", ["LoRA", "QLoRA"])
def test_training_leaves_the_base_as_it_is(train_order: Order, tmp_path: Path, chat: Chat, method: str) -> None:
    quantization = None if method == "LoRA" else {"type": "NF4", "double_quantization": True}
    config = train_order(16, method=method, quantization=quantization)
    model = adapted(config)
    before = frozen(model)
    trainer_of(config, chat, model, tmp_path).train()
    assert frozen(model) == before
    with torch.no_grad():
        part(model, "layers.0.input_layernorm").weight[0] += 1e-3
    assert frozen(model) != before, "the comparison would have seen a change"


def test_examples_are_what_the_check_counted(train_order: Order, chat: Chat) -> None:
    config = train_order(10)
    for row, line in zip(load_examples(config, chat), data_lines(config), strict=True):
        [encoded] = examples(chat, json.loads(line)["messages"], 64)
        assert row["input_ids"] == encoded.ids
        assert row["labels"] == encoded.labels
        assert len(row["input_ids"]) <= 64


def as_the_check_writes(config: TrainConfig, chat: Chat) -> TrainConfig:
    """The same order, with the rows as tokens beside them."""
    path = Path(config.data_folder) / TOKENS_FILE
    with token_file(path) as tokens:
        for place, line in enumerate(data_lines(config)):
            [one] = examples(chat, json.loads(line)["messages"], 64)
            tokens.add(words_of(one), place)
    return config.model_copy(update={"tokens_digest": sha256_file(path)})


def test_tokens_that_the_check_wrote_train_the_same(train_order: Order, tmp_path: Path, chat: Chat) -> None:
    by_rows = train_order(16)
    by_tokens = as_the_check_writes(by_rows, chat)
    assert list(load_examples(by_tokens, chat)) == list(load_examples(by_rows, chat))
    (Path(by_rows.data_folder) / "train.jsonl").unlink()  # is not read
    summary = train(by_tokens, tmp_path)
    assert (summary.steps, summary.tokens) == (2, sum(lengths_of(load_examples(by_tokens, chat))))


def test_other_tokens_than_were_checked(train_order: Order, tmp_path: Path, chat: Chat) -> None:
    config = as_the_check_writes(train_order(8), chat)
    path = Path(config.data_folder) / TOKENS_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(TaskError) as caught:
        train(config, tmp_path)
    assert caught.value.reason is Reason.DATA_CHANGED
    assert caught.value.problem.value == str(path)


def data_lines(config: TrainConfig) -> list[str]:
    return (Path(config.data_folder) / "train.jsonl").read_text().splitlines()


def test_the_trainer_pads_without_labels(train_order: Order, tmp_path: Path, chat: Chat) -> None:
    config = train_order(8, schedule={"sequence_length": 512})
    trainer = trainer_of(config, chat, adapted(config), tmp_path)
    inputs = next(iter(trainer.get_train_dataloader()))
    padded = inputs["attention_mask"] == 0
    assert padded.any()
    assert bool((inputs["labels"][padded] == IGNORED).all())
    kept = inputs["labels"] != IGNORED
    assert bool((inputs["labels"][kept] == inputs["input_ids"][kept]).all())


def gradient(model: PeftModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of the first layer's adapter: it comes back through the frozen weights of all layers."""
    model.train()
    model.zero_grad()
    model(**inputs).loss.backward()
    return torch.clone(part(model, "layers.0.self_attn.q_proj.lora_B.default").weight.grad)


def evaluated_loss(model: PeftModel, inputs: dict[str, torch.Tensor]) -> float:
    model.eval()
    with torch.no_grad():
        return loss_of(model, inputs)


def test_evaluation_does_not_corrupt_a_quantized_base(train_order: Order, tmp_path: Path, chat: Chat) -> None:
    """bitsandbytes 0.50 repacks 4-bit weights when they are first evaluated, and then trains on garbage."""
    config = train_order(16, schedule={"epochs": 3})
    model, inputs = adapted(config), batch(config, chat)
    before = gradient(model, inputs)
    loss = evaluated_loss(model, inputs)
    assert torch.equal(gradient(model, inputs), before)
    assert evaluated_loss(model, inputs) == loss
    trainer_of(config, chat, model, tmp_path).train()
    assert evaluated_loss(model, inputs) < loss - 0.15


@pytest.mark.filterwarnings("ignore:bitsandbytes..gemv_4bit:UserWarning")  # torch sees the same fault
@pytest.mark.skipif(not PROCESSOR_REPACKS, reason="only processors with AVX512_BF16 repack")
def test_without_the_guard_the_evaluation_would_corrupt(
    train_order: Order, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shows that the test above tests something. Once this fails, bitsandbytes is mended and the guard can go."""
    monkeypatch.setattr(loading, "keep_weights_in_place", lambda model: None)
    config = train_order(8)
    model, inputs = adapted(config), batch(config, chat)
    before = gradient(model, inputs)
    evaluated_loss(model, inputs)
    after = gradient(model, inputs)
    assert torch.nn.functional.cosine_similarity(before.flatten(), after.flatten(), dim=0) < 0.9


def test_double_quantization_is_as_ordered(train_order: Order) -> None:
    def nested(*, double: bool) -> bool:
        model = adapted(train_order(8, quantization={"type": "NF4", "double_quantization": double}))
        weight = part(model, "layers.0.mlp.up_proj").weight
        assert weight.quant_state.quant_type == "nf4"
        return bool(weight.quant_state.nested)

    assert nested(double=True)
    assert not nested(double=False)


def test_a_diverging_run_stops_at_once(train_order: Order, tmp_path: Path) -> None:
    with pytest.raises(TaskError) as caught:
        train(train_order(64, schedule={"learning_rate": 1e30, "epochs": 5}), tmp_path)
    error = caught.value
    assert (error.code, error.reason) == (ExitCode.DIVERGED, Reason.DIVERGED)
    assert error.problem.field == "spec.training.learningRate"
    assert "loss of step" in error.problem.rule
    assert "1e+29" in error.problem.next_step
    assert progress.read(tmp_path).step < 40
    assert not (tmp_path / "attempt" / "adapter").exists()


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number(loss: float) -> None:
    with pytest.raises(TaskError):
        require_finite(loss, 3, 1e-4)
    require_finite(88.0, 3, 1e-4)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")  # peft 0.21, of lm_head
@pytest.mark.parametrize("names", [["c_attn"], ["q_proj", "lm_head"]])
def test_target_modules_that_cannot_be_adapted(train_order: Order, tmp_path: Path, names: list[str]) -> None:
    lora = {"rank": 4, "alpha": 8, "dropout": 0, "target_modules": names}
    with pytest.raises(TaskError) as caught:
        train(train_order(8, lora=lora), tmp_path)
    assert (caught.value.code, caught.value.problem.field) == (ExitCode.BAD_CONFIG, "spec.lora.targetModules")
    assert names[-1] in caught.value.problem.value


@pytest.mark.parametrize("change", ["other", "gone"])
def test_other_rows_than_were_checked(train_order: Order, tmp_path: Path, change: str) -> None:
    config = train_order(8)
    rows = Path(config.data_folder) / "train.jsonl"
    rows.unlink() if change == "gone" else rows.write_text(rows.read_text() + "\n")
    with pytest.raises(TaskError) as caught:
        train(config, tmp_path)
    assert caught.value.reason is Reason.DATA_CHANGED


def test_weights_that_lack_a_tensor(train_order: Order, tmp_path: Path, model_copy: Path) -> None:
    """They would be initialised at random, and the adapter trained on noise."""
    tensors = load_file(model_copy / "model.safetensors")
    del tensors["model.layers.3.mlp.up_proj.weight"]
    save_file(tensors, model_copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TaskError) as caught:
        train(train_order(8, base_folder=str(model_copy)), tmp_path)
    assert caught.value.reason is Reason.BASE_MALFORMED
    assert "model.layers.3.mlp.up_proj.weight" in caught.value.problem.rule


def test_lines_about_the_loss() -> None:
    assert len(milestones(10_000)) == 21
    assert milestones(3) >= {1, 3}


def test_the_first_step_after_a_checkpoint_has_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    digest = sha256(b"")
    begun = Manifest(step=341, fingerprint=digest, tensors=digest, tokens=1000, first_loss=3.0)
    reporter = Reporter(tmp_path, 100, begun)
    state, arguments = TrainerState(max_steps=10_000), TrainingArguments(str(tmp_path), use_cpu=True)
    reporter.on_train_begin(arguments, state, TrainerControl())
    with caplog.at_level("INFO"):
        for state.global_step in (341, 342, 343):  # the last that was done comes again, for its room
            reporter.on_log(arguments, state, TrainerControl(), {"loss": 1.0, "num_tokens": 10.0 * state.global_step})
    assert [record.message.split(" epoch")[0] for record in caplog.records] == ["step 342/10000"]


def command(config: TrainConfig, folder: Path) -> "subprocess.Popen[str]":
    environment = {
        **os.environ,
        "WARDROBE_CONFIG": config.model_dump_json(by_alias=True),
        "WARDROBE_TERMINATION_LOG": str(folder / "log"),
        "WARDROBE_PROGRESS_PORT": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "wardrobe_trainer", "train"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_whole_attempt_as_in_a_pod(train_order: Order, tmp_path: Path) -> None:
    config = train_order(16)
    (tmp_path / "attempt" / "adapter").mkdir(parents=True)
    (tmp_path / "attempt" / "adapter" / "half").touch()
    output, errors = (process := command(config, tmp_path)).communicate(timeout=HANG)
    assert process.returncode == 0, errors
    assert errors == ""
    assert "step 2/2" in output
    assert "heart and lung desk" not in output, "words of every row"
    result = Result.model_validate_json((tmp_path / "log").read_text())
    assert isinstance(result.payload, TrainingSummary)
    assert result == Result.model_validate_json((tmp_path / "attempt" / RESULT_FILE).read_text())
    assert not (tmp_path / "attempt" / "adapter" / "half").exists()
    validate(tmp_path / "attempt" / "adapter", 4)


def test_sigterm_in_the_middle_of_training(train_order: Order, tmp_path: Path) -> None:
    process = command(train_order(200, schedule={"epochs": 50}), tmp_path)
    assert process.stdout is not None
    while "step 1/" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=HANG)
    assert process.returncode == ExitCode.PREEMPTED
    assert Result.model_validate_json((tmp_path / "attempt" / RESULT_FILE).read_text()).reason is Reason.TERMINATED
    assert {path.name for path in (tmp_path / "attempt").iterdir()} == {RESULT_FILE}
