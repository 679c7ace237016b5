"""Tokens a second that an engine decodes with 1, 8 and 32 adapters in a batch, to the base alone, by its own HTTP.

32 clients stream an answer each at the same time. A row's rate is its tokens after the first by the seconds from its
first to its last, so that prompts are not in it; the rates of all rows are added up. Cases take turns, so that a busy
machine slows all alike, and a ratio is of two figures of one round.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import aiohttp
from support import lora_files, tgi
from support.traffic import QUESTION

from wardrobe_contracts.digests import of_files, sha256_file
from wardrobe_contracts.engines.tgi import ADAPTED_MODULES
from wardrobe_contracts.manifest import ADAPTER_FILES
from wardrobe_contracts.routes import engine_adapter_name
from wardrobe_gateway.agent.tgi.forms import read_form, set_form
from wardrobe_gateway.agent.tgi.padding import WrittenSet, environment, write_set
from wardrobe_gateway.engines import loads_at_run_time
from wardrobe_gateway.engines.dialects import DIALECTS
from wardrobe_gateway.engines.http import EngineHttp
from wardrobe_gateway.forwarding import session

from .subjects import Subject
from .ward import SHAPE

ROWS = 32
TOKENS = 40
"""Of an answer. The base has more to say to the question, so that all rows stay to the end."""
RANK = 16
WHISPER = 0.01
"""Factor of B: rows with adapters, too, say what the base says. Products take the same time whatever they hold."""
COUNTS = (0, 1, 8, 32)
"""Adapters among the rows; none is the base alone."""
SECONDS = 600.0
"""Of silence."""

Rates = dict[int, list[float]]
"""Tokens a second by number of adapters, in the order of rounds."""


@dataclass(frozen=True)
class Row:
    """One stream. Times are of the monotonic clock."""

    first: float
    last: float
    tokens: int

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return (self.tokens - 1) / (self.last - self.first)


def measure(subject: Subject, folder: Path, rounds: int) -> Rates:
    """By case and round; a round before them warms up."""
    folder.mkdir()
    made = _adapters(folder / "made")
    with _started(subject, folder, made) as url:
        return asyncio.run(_measure(subject, url, made, rounds))


def tell_rates(subject: Subject, rates: Rates) -> None:
    """One line."""
    base = rates[0]
    cases = ", ".join(
        f"{count} adapters {median(found):.0f} tokens/s ({_ratio(found, base):.2f} of the base)"
        for count, found in rates.items()
        if count
    )
    print(
        f"{subject.label}: decode, {ROWS} rows, rank {RANK}: base alone {median(base):.0f} tokens/s, {cases}",
        flush=True,
    )


def tell_beside(one: Subject, rates: Rates, other: Subject, others: Rates) -> None:
    """Two engines' figures, each of its own minutes."""
    cases = ", ".join(
        f"{f'{count} adapters' if count else 'base'} {median(found) / median(others[count]):.2f}"
        for count, found in rates.items()
    )
    print(f"{one.label} to {other.label}, tokens/s: {cases}", flush=True)


def _ratio(found: list[float], base: list[float]) -> float:
    return median(here / alone for here, alone in zip(found, base, strict=True))


def _adapters(folder: Path) -> dict[str, Path]:
    """By engine name, random ones on all modules, of little effect."""
    made: dict[str, Path] = {}
    for number in range(ROWS):
        random = lora_files.matrices(SHAPE, RANK, ADAPTED_MODULES, seed=number)
        tensors = {name: WHISPER * one if name.endswith("lora_B.weight") else one for name, one in random.items()}
        path = lora_files.write(folder / f"row-{number:02}-v1", tensors, RANK, base_model_name_or_path="base")
        made[engine_adapter_name(path.name, _digest(path))] = path
    return made


def _digest(folder: Path) -> str:
    return of_files({name: sha256_file(folder / name) for name in ADAPTER_FILES})


@contextlib.contextmanager
def _started(subject: Subject, folder: Path, made: dict[str, Path]) -> Iterator[str]:
    """An engine without an agent. What takes adapters at its start has them all."""
    if not subject.starts_with_adapters:
        with subject.begun(folder, folder) as url:
            yield url
        return
    form = set_form([read_form(path, SHAPE) for path in made.values()], 1)
    written = WrittenSet(members={name: _digest(path) for name, path in made.items()}, form=form)
    write_set(folder / "set", written, made, SHAPE)
    base = tgi.readable_base(folder / "base")
    with tgi.started(folder / "run", base, **tgi.WARDROBE, **environment(folder / "set", written)) as running:
        assert running.process.poll() is None, running.log.read_text()
        yield running.url


async def _measure(subject: Subject, url: str, made: dict[str, Path], rounds: int) -> Rates:
    rates: Rates = {count: [] for count in COUNTS}
    async with session(SECONDS) as connection:
        engine = DIALECTS[subject.type](EngineHttp(connection, url))
        if loads_at_run_time(engine):
            for name, path in made.items():
                await engine.load(name, path)
        for turn in range(rounds + 1):
            for count, found in rates.items():
                rate = await _rate(connection, url, list(made)[:count] or [subject.base])
                if turn:
                    found.append(rate)
            print(f"{subject.label}: round {turn} of {rounds} of tokens/s", file=sys.stderr, flush=True)
    return rates


async def _rate(connection: aiohttp.ClientSession, url: str, models: list[str]) -> float:
    """Of all rows together."""
    rows = await asyncio.gather(*(_row(connection, url, models[row % len(models)]) for row in range(ROWS)))
    return sum(row.rate for row in rows)


async def _row(connection: aiohttp.ClientSession, url: str, model: str) -> Row:
    """Raises AssertionError for another answer than asked for."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": TOKENS,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    times: list[float] = []
    tokens = 0
    async with connection.post(f"{url}/v1/chat/completions", json=body) as answer:
        assert answer.status == 200, await answer.text()
        async for line in answer.content:
            if not line.startswith(b"data:") or b"[DONE]" in line:
                continue
            event = json.loads(line.removeprefix(b"data:"))
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
            if any(choice["delta"].get("content") for choice in event["choices"]):
                times.append(time.monotonic())
    assert tokens == TOKENS, f"{model} answered {tokens} tokens and not {TOKENS}: its row left the batch early"
    return Row(times[0], times[-1], tokens)
