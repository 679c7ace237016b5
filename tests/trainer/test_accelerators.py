"""What the driver says is held against what training needs, before anything is loaded."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.training import TrainConfig
from wardrobe_trainer import accelerators
from wardrobe_trainer import train as train_module
from wardrobe_trainer.accelerators import GIB, Found, out_of_memory, require
from wardrobe_trainer.problems import TaskError

UNUSABLE = [
    (Found(0, trouble="Found no NVIDIA driver on your system"), "no accelerator that works: Found no NVIDIA", "a GPU"),
    (Found(1, free_bytes=80 * GIB), "1 accelerators", "2, one for each process"),
    (Found(2, bfloat16=False, free_bytes=80 * GIB), "without bfloat16", "Ampere or newer"),
    (Found(2, free_bytes=3 * GIB), "3.0 GiB of free memory", "4.0 GiB at least"),
]


@pytest.mark.parametrize(("found", "said", "needed"), UNUSABLE)
def test_what_will_not_do_is_named_with_what_is_needed(found: Found, said: str, needed: str) -> None:
    with pytest.raises(TaskError) as caught:
        require(found, processes=2, needed_bytes=4 * GIB)
    assert (caught.value.code, caught.value.reason) == (ExitCode.ACCELERATOR, Reason.ACCELERATOR_UNUSABLE)
    assert said in caught.value.problem.value
    assert needed in caught.value.problem.rule


def test_what_will_do() -> None:
    require(Found(2, free_bytes=4 * GIB), processes=2, needed_bytes=4 * GIB)


@pytest.mark.parametrize(("micro", "next_step"), [(8, "Lower it to 4"), (3, "Lower it to 1"), (1, "sequenceLength")])
def test_too_little_memory_says_the_next_smaller_micro_batch(
    train_order: Callable[..., TrainConfig], micro: int, next_step: str
) -> None:
    order = train_order(8, schedule={"batch_size": 24, "micro_batch_size": micro})
    error = out_of_memory(order, 23 * GIB, 24 * GIB)
    assert (error.code, error.problem.value) == (ExitCode.OUT_OF_MEMORY, str(micro))
    assert "24.0 GiB of its GPU: 23.0 GiB were taken" in error.problem.rule
    assert next_step in error.problem.next_step


LACKS_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    torch.distributed.DistBackendError("NCCL error: unhandled cuda error. Last error: Cuda failure 2 'out of memory'"),
    RuntimeError("CUDA error: out of memory"),
]


@pytest.mark.parametrize("error", LACKS_MEMORY, ids=lambda error: type(error).__name__)
def test_a_training_that_its_gpu_is_too_small_for_says_what_it_had_taken(
    train_order: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    """A library beside torch says it in its own words; NCCL's must not count as a lost peer's."""

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(accelerators, "take", lambda *_: None)
    monkeypatch.setattr(train_module, "_train", fails)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=24 * GIB))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 23 * GIB)
    with pytest.raises(TaskError, match=r"23\.0 GiB were taken when it asked for more") as caught:
        train_module.train(train_order(8, accelerator="GPU"), tmp_path)
    assert (caught.value.code, caught.value.reason) == (ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY)
    assert caught.value.problem.field == "spec.training.microBatchSize"


def test_what_else_fails_on_a_gpu_is_no_lack_of_memory(
    train_order: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(accelerators, "take", lambda *_: None)
    monkeypatch.setattr(train_module, "_train", fails)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        train_module.train(train_order(8, accelerator="GPU"), tmp_path)
