"""What is compiled at run time: Triton's module on a GPU, and nothing of DeepSpeed's."""

import os
import subprocess
import sys
from pathlib import Path

from deepspeed.accelerator.cuda_accelerator import CUDA_Accelerator  # type: ignore[import-untyped]  # ships no types
from deepspeed.utils.pin_memory import get_active_native_pinned_memory  # type: ignore[import-untyped]
from support.attempts import Attempt, Order
from support.waiting import HANG

COMPILES = Path(__file__).parents[2] / "images" / "image_check" / "compiles.py"


def test_triton_compiles_a_module_in_the_places_that_a_pod_may_write(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, COMPILES], env=environment, cwd="/", check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob(".triton/cache/*/compiled.*.so"))


def test_on_a_gpu_deepspeed_has_nothing_to_compile_when_it_begins() -> None:
    """Its collective through shared memory is for CPUs, memory is pinned by torch, and what can be built is not even
    looked for: a pod has no CUDA compiler, which each look would warn of."""
    assert CUDA_Accelerator().create_op_builder("ShareMemCommBuilder") is None
    assert get_active_native_pinned_memory() is None
    found = subprocess.run(
        [sys.executable, "-c", "import deepspeed; print('__compatible_ops__' in vars(deepspeed.ops))"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.split()[-1] == "False"


def test_several_processes_train_where_nothing_can_be_compiled(train_order: Order, tmp_path: Path) -> None:
    attempt = Attempt(train_order, tmp_path, processes=2, stage=3, schedule={"epochs": 1})
    process = attempt.start(PATH=str(tmp_path), CC="/nowhere", CXX="/nowhere")
    output, errors = process.communicate(timeout=HANG)
    assert process.returncode == 0, output + errors
