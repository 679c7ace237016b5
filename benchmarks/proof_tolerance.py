"""How far an engine's scores are from recorded ones: measures a row of contracts/engines/tolerances.py.

Run as `make bench-tolerance`, which records adapters and probes with the trainer and starts the embedded engine for
each variant, and vLLM for the one that it serves on a CPU; or before an engine that runs already, on any machine:

    .venv/bin/python benchmarks/proof_tolerance.py --engine TGI --url http://127.0.0.1:8000 --variant NF4 \
        --adapters FOLDER

FOLDER has a folder for each adapter with its two files and probes.json, named as the engine knows it; the engine must
see it under the same path, or, where it takes adapters only at its start, have been started with them. Nats per token:
mean and largest absolute difference of the base's scores and of the adapters', of the adapters' effects, what share of
the recorded effect is found, and how far scores of generated tokens are from those in one prefill of the same engine. A
row's `noise` must be above the means but the effects', with room for other models.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import engine_servers, real_engines
from support.artifacts import BASE

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import ENGINES, EngineType, Tolerance
from wardrobe_contracts.probes import PROBES_FILE, Probe, Probes
from wardrobe_gateway.agent.probing import completion_scores, decode
from wardrobe_gateway.agent.proof import Decoded, Scores, Yardstick, recorded_scores
from wardrobe_gateway.engines import Engine, loads_at_run_time
from wardrobe_gateway.engines.dialects import DIALECTS
from wardrobe_gateway.engines.http import EngineHttp
from wardrobe_gateway.forwarding import session

ANSWER_SECONDS = 120
NONE = Tolerance(0, 0)
"""A share is the same by any."""


@dataclass(frozen=True)
class Pair:
    """The same tokens, recorded and found."""

    recorded: Scores
    found: Scores
    decoded: Decoded


def main() -> None:
    """Print one line per variant."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", type=EngineType, default=EngineType.TRANSFORMERS, choices=sorted(DIALECTS))
    parser.add_argument("--url", help="of an engine that runs already; unset: it is started, on the CPU")
    parser.add_argument("--variant", type=Variant, help="what the engine at --url serves; else: only this one")
    parser.add_argument("--adapters", type=Path, help="unset: recorded here by the trainer")
    asked = parser.parse_args()
    if asked.url and not (asked.variant and asked.adapters):
        parser.error("--url needs --variant, and --adapters that the engine can read")
    if asked.engine is EngineType.TGI and not asked.url:
        parser.error("--engine TGI needs --url: it takes adapters only when it starts")
    known = served(asked.engine)
    if asked.variant and not asked.url and asked.variant not in known:
        parser.error(f"--variant {asked.variant}: started here, {asked.engine} serves {', '.join(known)}")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as logs:
        adapters = asked.adapters or record(Path(folder))
        for variant in [asked.variant] if asked.variant else known:
            running = contextlib.nullcontext(asked.url) if asked.url else started(asked.engine, Path(logs), variant)
            with running as url:
                folders = sorted(path for path in adapters.iterdir() if path.is_dir())
                pairs = asyncio.run(measure(asked.engine, url, variant, folders))
            report(asked.engine, variant, pairs)


def served(engine: EngineType) -> list[Variant]:
    """On a CPU."""
    facts = ENGINES[engine]
    return [variant for variant, precision in facts.tolerances if precision is facts.precision]


def started(engine: EngineType, logs: Path, variant: Variant) -> contextlib.AbstractContextManager[str]:
    """Its URL."""
    return engine_servers.vllm(logs) if engine is EngineType.VLLM else engine_servers.transformers(logs, variant)


def record(folder: Path) -> Path:
    """Random adapters with probes, as the trainer records them."""
    real_engines.run(real_engines.python("trainer"), "-m", "support.record_artifacts", str(folder), BASE)
    return folder


async def measure(engine: EngineType, url: str, variant: Variant, folders: Sequence[Path]) -> list[Pair]:
    """All adapters' probes, scored one after the other."""
    async with session(ANSWER_SECONDS) as connection:
        dialect = DIALECTS[engine](EngineHttp(connection, url))
        return [await score(dialect, folder, variant) for folder in folders]


async def score(engine: Engine, folder: Path, variant: Variant) -> Pair:
    """One adapter's probes under base and adapter."""
    if loads_at_run_time(engine):
        await engine.load(folder.name, folder)
    probes = Probes.model_validate_json((folder / PROBES_FILE).read_bytes())
    base, adapter = [await scores(engine, name, probes.probes) for name in (None, folder.name)]
    decoded = await decode(engine, folder.name, [None], probes.probes)
    return Pair(recorded_scores(probes, variant), Scores(base, adapter), decoded)


async def scores(engine: Engine, name: str | None, probes: Sequence[Probe]) -> list[float]:
    """Of all completions in a row."""
    found = [completion_scores(probe, await engine.score(name, probe.prompt + probe.completion)) for probe in probes]
    return [value for one in found for value in one]


def report(engine: EngineType, variant: Variant, pairs: Sequence[Pair]) -> None:
    """One line."""
    bases = [(pair.found.base, pair.recorded.base) for pair in pairs]
    adapters = [(pair.found.adapter, pair.recorded.adapter) for pair in pairs]
    effects = [(pair.found.effect, pair.recorded.effect) for pair in pairs]
    answers = [answer for one in pairs for answer in (one.decoded.alone, one.decoded.among, *one.decoded.after)]
    generated = [list(zip(*answer, strict=True)) for answer in answers]
    print(
        f"{engine} {variant}: base {differences(bases)}, adapter {differences(adapters)}, {shown(effects)}, "
        f"generated {differences(generated)}",
        flush=True,
    )


def differences(pairs: Iterable[Sequence[Sequence[float]]]) -> str:
    """Mean and largest, over all adapters."""
    found = [abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True)]
    return f"mean {sum(found) / len(found):.4f} max {max(found):.4f}"


def shown(effects: Sequence[tuple[Sequence[float], Sequence[float]]]) -> str:
    """Of effects: the same, how large they are, and the share that is farthest from 1."""
    sizes = [sum(map(abs, recorded)) / len(recorded) for _, recorded in effects]
    shares = [Yardstick(recorded, NONE).share(found) for found, recorded in effects]
    worst = max(shares, key=lambda share: abs(share - 1))
    return f"effect {differences(effects)} of {min(sizes):.2f} to {max(sizes):.2f}, share {worst:.4f}"


if __name__ == "__main__":
    main()
