"""A variant's process may end as it likes: what became of it is known, and the others go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from support.waiting import HANG

from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Accelerator, Variant
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.manifest import NotAssessed
from wardrobe_contracts.problem import Problem
from wardrobe_contracts.result import Result
from wardrobe_models.loading import skeleton
from wardrobe_trainer import drafts, variants
from wardrobe_trainer.comparison import Counts, Sums
from wardrobe_trainer.hardware import Room, peak_bytes, taken_bytes
from wardrobe_trainer.measuring import needed_bytes
from wardrobe_trainer.problems import TaskError
from wardrobe_trainer.spreading import weight_bytes
from wardrobe_trainer.task import ProcessFailedError
from wardrobe_trainer.variants import (
    END_FILE,
    End,
    Measured,
    VariantOrder,
    in_order,
    measure_all,
    none_fits,
    not_assessed,
    run,
)

NO_LIMIT = Room(None)
SAMPLE = Path(__file__).parents[2] / "contracts" / "samples" / "assess-order" / "1-cardiology.json"
CONFIG = AssessConfig.model_validate_json(SAMPLE.read_text())
MEASURED = Measured(
    counts=Counts(whole=[2], body=[1]),
    base=Sums(whole=[3.0], body=[1.0]),
    candidate=Sums(whole=[2.0], body=[1.0]),
    drafts=[],
    probe_scores=[],
)


def order(variant: Variant = Variant.NF4) -> VariantOrder:
    return VariantOrder(config=CONFIG, variant=variant, candidate="sha256:" + "0" * 64)


def ends(script: str, room: Room = NO_LIMIT) -> End:
    return run(order(), room, [sys.executable, "-c", f"import os, signal, sys, time\n{script}"])


def says(end: End) -> str:
    return f"open(sys.argv[1] + '/{END_FILE}', 'w').write({end.model_dump_json(by_alias=True)!r})"


def failure(code: ExitCode, reason: Reason, problem: Problem | None = None) -> End:
    return End(failed=Result.failure("assess", code, reason, "as it is", problem))


def test_what_was_measured_arrives() -> None:
    assert ends(says(End(measured=MEASURED))).measured == MEASURED


def test_the_order_arrives() -> None:
    script = "text = open(sys.argv[1] + '/order.json').read()\nassert '\"variant\":\"NF4\"' in text\n"
    assert ends(script + says(End(measured=MEASURED))).measured


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV"),
        ("os._exit(3)", "ended with code 3"),
        ("os._exit(0)", "ended with code 0"),
        (f"open(sys.argv[1] + '/{END_FILE}', 'w').write('half')", "ended with code 0"),
    ],
)
def test_a_crash_is_the_variants_own(script: str, words: str) -> None:
    found = not_assessed(Variant.NF4, ends(script))
    assert (found.variant, found.reason) == (Variant.NF4, Reason.UNKNOWN)
    assert words in found.message
    assert found.needed_bytes is None


def test_one_that_would_fill_the_container_is_ended_before() -> None:
    """Its parent, which the kernel would have killed with it, is alive and knows what was needed."""
    taken = 2**28
    room = Room(limit=taken_bytes(os.getpid()) + taken)
    found = not_assessed(Variant.NF4, ends("x = []\nwhile True: x.append(b'x' * 2**20); time.sleep(0.01)", room))
    assert found.reason is Reason.OUT_OF_MEMORY
    assert "it would have needed more than the container's" in found.message
    assert found.needed_bytes is not None
    assert taken / 2 < found.needed_bytes < taken


def test_out_of_memory_that_the_process_says_itself() -> None:
    problem = Problem(field="spec.parallelism.accelerator", value="GPU", rule="NF4 takes more", next_step="Larger ones")
    end = End(failed=failure(ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, problem).failed, needed_bytes=7)
    wanted = NotAssessed(variant=Variant.NF4, reason=Reason.OUT_OF_MEMORY, message="NF4 takes more", needed_bytes=7)
    assert not_assessed(Variant.NF4, ends(says(end))) == wanted


def test_what_a_variant_needed_is_what_it_had_when_it_asked_for_more(
    base_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On GPUs what all of them had given, and at least the base's weights, which may not even have been loaded."""
    before = peak_bytes(os.getpid())
    assert before <= needed_bytes(order()) <= peak_bytes(os.getpid())
    here = CONFIG.base.model_copy(update={"folder": str(base_folder)})
    config = CONFIG.model_copy(update={"accelerator": Accelerator.GPU, "base": here})
    weights = weight_bytes(skeleton(base_folder), Variant.NF4)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for given, needed in (([0, 0], weights), ([weights, 7], weights + 7)):
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda index, given=given: given[index])
        assert needed_bytes(order().model_copy(update={"config": config})) == needed


def test_what_is_wrong_on_every_variant_ends_the_task() -> None:
    problem = Problem(field="spec.output.adapter", value="x", rule="every B is zero", next_step="Train again")
    with pytest.raises(TaskError, match="every B is zero") as caught:
        not_assessed(Variant.NF4, failure(ExitCode.BAD_ADAPTER, Reason.ADAPTER_INVALID, problem))
    assert (caught.value.code, caught.value.reason) == (ExitCode.BAD_ADAPTER, Reason.ADAPTER_INVALID)
    with pytest.raises(ProcessFailedError) as lost:
        not_assessed(Variant.NF4, failure(ExitCode.STORE, Reason.STORE_FAILED))
    assert lost.value.result.exit_code.infrastructure


def test_the_one_trained_on_is_first() -> None:
    wanted = CONFIG.model_copy(update={"variants": [Variant.INT8, Variant.NONE, Variant.NF4, Variant.NONE]})
    assert in_order(wanted) == [Variant.NF4, Variant.NONE, Variant.INT8]


def test_what_it_drafts_there_is_what_the_others_score(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[VariantOrder] = []
    question = drafts.Question(messages=[{"role": "user", "content": "Why?"}], prompt="p")
    drafted = [drafts.Draft(question=question, completion="c", prompt_tokens=1, ids=[1, 2])]

    def running(order: VariantOrder) -> End:
        asked.append(order)
        return End(measured=MEASURED.model_copy(update={"drafts": order.drafts or drafted}))

    monkeypatch.setattr(variants, "run", running)
    measure_all(CONFIG.model_copy(update={"variants": list(Variant)[:3]}), order().candidate)
    assert [one.drafts for one in asked] == [[], drafted, drafted]


def test_one_that_does_not_fit_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[VariantOrder] = []

    def running(order: VariantOrder) -> End:
        asked.append(order)
        gone = failure(ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY)
        return gone if order.variant is Variant.NF4 else End(measured=MEASURED)

    monkeypatch.setattr(variants, "run", running)
    found = measure_all(CONFIG, order().candidate)
    assert [one.variant for one in asked] == [Variant.NF4, Variant.NONE]
    assert list(found.measured) == [Variant.NONE]
    assert [one.variant for one in found.not_assessed] == [Variant.NF4]


def test_none_that_fits_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    end = End(failed=failure(ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY).failed, needed_bytes=3 * 2**30)
    monkeypatch.setattr(variants, "run", lambda order: end)
    with pytest.raises(TaskError) as caught:
        measure_all(CONFIG, order().candidate)
    assert (caught.value.code, caught.value.problem.field) == (
        ExitCode.OUT_OF_MEMORY,
        "spec.pod.resources.limits.memory",
    )
    assert "NF4: as it is (3.00 GiB at least); None: as it is (3.00 GiB at least)" in caught.value.problem.rule


def test_none_that_survives_fails_the_run_without_blaming_memory() -> None:
    crashed = NotAssessed(variant=Variant.NF4, reason=Reason.UNKNOWN, message="its process was killed by SIGSEGV")
    error = none_fits(Accelerator.CPU, [crashed])
    assert isinstance(error, ProcessFailedError)
    assert error.result.exit_code is ExitCode.UNKNOWN


def test_the_process_that_starts_the_others_stays_small() -> None:
    script = "import sys, wardrobe_trainer.assess; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_it_goes_with_who_started_it(tmp_path: Path) -> None:
    """As at SIGTERM, which raises in the task's process."""
    script = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    parent = f"""
import signal, sys
from wardrobe_trainer.measuring import needed_bytes
from wardrobe_trainer.problems import TerminatedError
from wardrobe_trainer.variants import VariantOrder, run
def stop(*_): raise TerminatedError
signal.signal(signal.SIGTERM, stop)
order = VariantOrder.model_validate_json({order().model_dump_json(by_alias=True)!r})
try:
    run(order, None, [sys.executable, "-c", {f"import os, time{chr(10)}{script}"!r}])
except TerminatedError:
    print("told to stop")
"""
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=HANG)[0] == "told to stop\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_container_without_a_limit_is_never_full(tmp_path: Path) -> None:
    (tmp_path / "none").write_text("max\n")
    (tmp_path / "huge").write_text("9223372036854771712\n")
    (tmp_path / "some").write_text("1000\n")
    assert Room.of_container([tmp_path / "none"]).limit is None
    assert Room.of_container([tmp_path / "huge"]).limit is None
    assert Room.of_container([tmp_path / "absent", tmp_path / "some"]).limit == 1000
    assert not Room(None).is_full(2**60)
    assert Room(1000).is_full(0)


def test_memory_of_a_process() -> None:
    assert 0 < taken_bytes(os.getpid()) <= peak_bytes(os.getpid())
    assert taken_bytes(2**30) == 0
