"""A proof's measurements: what the engine says of the probes. What it means is decided in `proof`."""

import asyncio
import math
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from wardrobe_contracts.base import Variant
from wardrobe_contracts.probes import Probe, Probes
from wardrobe_contracts.state import Reason, Verdict

from ..engines import (
    Engine,
    EngineBusyError,
    EngineDownError,
    EngineRejectedError,
    EngineSilentError,
    Generation,
    Token,
)
from .adapters import LocalAdapter
from .outcomes import Unanswered
from .proof import Judgement, Measured, judge, judge_decode, recorded_scores

T = TypeVar("T")

PROOF_SECONDS = 180.0
"""For one proof, all of its requests together."""
UNFORESEEN = (Verdict.DIVERGED, Reason.PROOF_FAILED)
"""The verdict of a proof that could not be made, whatever prevented it."""
AT_ONCE = 4
"""Requests of a proof in the engine at a time, beside those of departments."""
DECODE_PROBES = 2
DECODE_TOKENS = 24
"""Past a department's greeting of about 20 tokens, which all its adapters share."""


class OtherTokensError(Exception):
    """The engine reads a text as other tokens than those that were recorded."""


async def prove_in_time(
    engine: Engine, adapter: LocalAdapter, variant: Variant, others: Sequence[str]
) -> Judgement | Unanswered:
    """What a proof says, whatever happens in it. Raises only that the engine is away or busy."""
    assert adapter.fetched is not None  # noqa: S101  decided by next_step
    try:
        async with asyncio.timeout(PROOF_SECONDS):
            return await prove(engine, adapter.name, adapter.fetched.probes, variant, others)
    except (EngineSilentError, TimeoutError):
        if adapter.verdict is Verdict.APPLIED:
            return Unanswered()
        return Judgement(*UNFORESEEN, f"the engine did not answer the probes within {PROOF_SECONDS:g} s")
    except (EngineBusyError, EngineDownError):
        raise
    except Exception as error:  # noqa: BLE001  probes and answers are not ours
        message = str(error) if isinstance(error, EngineRejectedError) else f"{type(error).__name__}: {error}"
        return Judgement(*UNFORESEEN, message[:500])


async def prove(engine: Engine, name: str, probes: Probes, variant: Variant, others: Sequence[str]) -> Judgement:
    """Prove one loaded adapter. Raises the engine's errors."""
    recorded = recorded_scores(probes, variant)
    limit = asyncio.Semaphore(AT_ONCE)
    try:
        base, own, *rest = await _all(_score_all(engine, limit, one, probes.probes) for one in (None, name, *others))
    except OtherTokensError as error:
        return Judgement(Verdict.DIVERGED, Reason.TOKENS_DIFFER, str(error))
    measured = Measured(base, own, dict(zip(others, rest, strict=True)))
    judgement = judge(len(probes.probes), recorded, measured, engine.facts.tolerance)
    if judgement.verdict is not Verdict.APPLIED:
        return judgement
    return judge_decode(judgement, await _decode(engine, name, probes.probes))


async def _score_all(
    engine: Engine, limit: asyncio.Semaphore, name: str | None, probes: Sequence[Probe]
) -> list[float]:
    async def one(probe: Probe) -> list[float]:
        async with limit:
            return completion_scores(probe, await engine.score(name, probe.prompt + probe.completion))

    scored = await _all(one(probe) for probe in probes)
    return [value for scores in scored for value in scores]


async def _all(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results; where one fails, the others end, so that no proof leaves requests in the engine behind."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def completion_scores(probe: Probe, tokens: Sequence[Token]) -> list[float]:
    """Scores of the completion's tokens, which are the last. Raises OtherTokensError where any token is another."""
    expected = probe.prompt_tokens + probe.completion_tokens
    if len(tokens) != expected:
        raise OtherTokensError(f"the engine reads a probe as {len(tokens)} tokens, it was recorded as {expected}")
    ids = [token.id for token in tokens]
    for recorded, read in (
        (probe.prompt_ids, ids[: probe.prompt_tokens]),
        (probe.completion_ids, ids[probe.prompt_tokens :]),
    ):
        if recorded is not None and recorded != read:
            at = next(number for number, pair in enumerate(zip(recorded, read, strict=True)) if pair[0] != pair[1])
            raise OtherTokensError(f"the engine reads {read[at]} where the probe has the token {recorded[at]}")
    return _finite(tokens[-probe.completion_tokens :])


async def _decode(engine: Engine, name: str, probes: Sequence[Probe]) -> list[tuple[float, float]]:
    """Generate, then score what was generated; for the first probes whose text survives being read again.

    Two at a time: beside departments' requests a token takes a whole step of the engine, for one row as for two.
    """
    found: list[list[tuple[float, float]]] = []
    for start in range(0, len(probes), DECODE_PROBES):
        some = probes[start : start + DECODE_PROBES]
        found += [pairs for pairs in await _all(_decode_one(engine, name, probe) for probe in some) if pairs]
        if len(found) >= DECODE_PROBES:
            break
    return [pair for pairs in found for pair in pairs]


async def _decode_one(engine: Engine, name: str, probe: Probe) -> list[tuple[float, float]]:
    generation = await engine.generate(name, probe.prompt, DECODE_TOKENS)
    return compare(generation, await engine.score(name, probe.prompt + generation.text))


def compare(generation: Generation, again: Sequence[Token]) -> list[tuple[float, float]]:
    """Pairs of scores of the same tokens, generated and read; none where the text is read as other tokens."""
    made = [token for token in generation.tokens if not token.special]
    read = again[-len(made) :] if made else []
    if [token.id for token in made] != [token.id for token in read]:
        return []
    try:
        return list(zip(_finite(made), _finite(read), strict=True))
    except OtherTokensError:
        return []


def _finite(tokens: Sequence[Token]) -> list[float]:
    scores = [token.logprob for token in tokens]
    if not all(score is not None and math.isfinite(score) for score in scores):
        raise OtherTokensError("the engine gives no score for some tokens")
    return [score for score in scores if score is not None]
