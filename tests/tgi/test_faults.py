"""The stand-in's switchable faults, each of which an agent's proof must find; the real TGI has few of them."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from support import lora_files, tgi
from support.artifacts import copied
from support.gateway import until
from support.tgi import WARDROBE
from support.tgi_pods import TgiPod, stand_in, tgi_pod
from support.waiting import HANG

from wardrobe_contracts.state import Reason, Verdict
from wardrobe_gateway.agent.tgi.padding import WrittenSet, environment, write_set

pytestmark = [pytest.mark.tgi, pytest.mark.skipif(tgi.REAL is not None, reason="switches of the stand-in")]

SHAPE = lora_files.base_shape(tgi.TANTANILA)


@dataclass(frozen=True)
class Start:
    """What a TGI is started with."""

    base: Path
    made: WrittenSet
    environment: dict[str, str]
    folder: Path


@pytest.fixture
def start(base: Path, recorded: Path, made: WrittenSet, tmp_path: Path) -> Start:
    folders = sorted(path for path in recorded.iterdir() if path.is_dir())
    write_set(tmp_path / "set", made, dict(zip(sorted(made.members), folders, strict=True)), SHAPE)
    return Start(base, made, {**WARDROBE, **environment(tmp_path / "set", made)}, tmp_path / "run")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("cuda-graphs", (Verdict.NOT_APPLIED, Reason.LOST_IN_DECODE)),
        ("prefix-cache", (Verdict.DIVERGED, Reason.ANSWERS_MIXED)),
        ("adapters-ignored", (Verdict.NOT_APPLIED, Reason.ANSWERS_AS_BASE)),
        ("half-an-adapter", (Verdict.DIVERGED, Reason.SCORES_UNKNOWN)),
    ],
)
async def test_an_engine_with_a_fault_is_found_out_and_never_ready(
    base: Path, recorded: Path, tmp_path: Path, fault: str, expected: tuple[Verdict, Reason]
) -> None:
    store = tmp_path / "store"
    live, *others = (copied(store, recorded / name) for name in ("root-v1", "eight-v1", "four-v1", "half-v1"))
    async with tgi_pod(store, tmp_path / "cache", stand_in(base, STAND_IN_FAULTS=fault)) as pod:
        pod.give(live, *others, live=live)
        await until(lambda: _all_judged(pod, 1 + len(others)), what=pod.agent.state, within=HANG)
        state = pod.agent.state()
    found = state.adapters[live.name]
    assert (found.verdict, found.reason) == expected, found
    assert not found.served
    assert not state.ready


def _all_judged(pod: TgiPod, count: int) -> bool:
    found = pod.agent.state().adapters.values()
    return len(found) == count and all(one.verdict is not Verdict.PENDING for one in found)


def test_a_set_with_a_name_crashes_it(start: Start) -> None:
    with tgi.started(start.folder, start.base, **start.environment, STAND_IN_CRASH="half-v1") as running:
        assert running.process.wait() == 1
        assert "half-v1 cannot be read" in running.log.read_text()


def test_one_with_a_name_crashes_it_when_it_is_asked(start: Start) -> None:
    half, other = (
        next(name for name in start.made.members if name.startswith(line)) for line in ("half-v1", "root-v1")
    )
    with tgi.started(start.folder, start.base, **start.environment, STAND_IN_CRASH_ASKED="half-v1") as running:
        assert running.generate("Hello", max_new_tokens=1, adapter_id=other).status_code == 200
        assert running.generate("Hello", max_new_tokens=1, adapter_id=half).status_code == 424
        assert running.process.wait() == 1
        assert f"illegal memory access was encountered at {half}" in running.log.read_text()
