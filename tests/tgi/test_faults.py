"""The stand-in's switchable faults, each of which a proof must find; the real TGI has few of them."""

from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from support import lora_files, tgi
from support.tgi import WARDROBE

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import ENGINES, EngineType
from wardrobe_contracts.engines.tolerances import Precision
from wardrobe_contracts.probes import PROBES_FILE, Probes
from wardrobe_contracts.state import Reason, Verdict
from wardrobe_gateway.agent.padding import WrittenSet, environment, write_set
from wardrobe_gateway.agent.probing import Replica, prove
from wardrobe_gateway.engines.http import EngineHttp
from wardrobe_gateway.engines.tgi import TgiEngine

pytestmark = [pytest.mark.tgi, pytest.mark.skipif(tgi.REAL is not None, reason="switches of the stand-in")]

SHAPE = lora_files.base_shape(tgi.TANTANILA)
TOLERANCE = ENGINES[EngineType.TGI].tolerance(Variant.NONE, Precision.BFLOAT16)


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
async def test_a_fault_is_found_by_the_proof(
    start: Start, recorded: Path, fault: str, expected: tuple[Verdict, Reason]
) -> None:
    probes = Probes.model_validate_json((recorded / "root-v1" / PROBES_FILE).read_bytes())
    [own] = (name for name in start.made.members if name.startswith("root-v1"))
    replica = Replica(Variant.NONE, TOLERANCE, siblings=[name for name in start.made.members if name != own])
    with tgi.started(start.folder, start.base, **start.environment, STAND_IN_FAULTS=fault) as running:
        async with aiohttp.ClientSession() as session:
            judgement = await prove(TgiEngine(EngineHttp(session, running.url)), own, probes, replica)
    assert (judgement.verdict, judgement.reason) == expected, judgement


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
