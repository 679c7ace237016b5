"""A proof's measurements: what the engine says of the probes. What it means is decided in `proof`."""

import asyncio
import math
from collections.abc import Sequence

from wardrobe_contracts.base import Variant
from wardrobe_contracts.probes import Probe, Probes
from wardrobe_contracts.state import Reason, Verdict

from ..engines import Engine, Generation, Token
from .proof import Judgement, Measured, judge, judge_decode, recorded_scores

AT_ONCE = 4
"""Requests of a proof in the engine at a time, beside those of departments."""
DECODE_PROBES = 2
DECODE_TOKENS = 24
"""Past a department's greeting of about 20 tokens, which all its versions share."""


class OtherTokensError(Exception):
    """The engine reads a text as other tokens than those that were recorded."""


async def prove(engine: Engine, version: str, probes: Probes, variant: Variant, others: Sequence[str]) -> Judgement:
    """Prove one loaded version. Raises the engine's errors."""
    recorded = recorded_scores(probes, variant)
    limit = asyncio.Semaphore(AT_ONCE)
    try:
        base, own, *rest = await asyncio.gather(
            *(_score_all(engine, limit, name, probes.probes) for name in (None, version, *others))
        )
    except OtherTokensError as error:
        return Judgement(Verdict.DIVERGED, Reason.TOKENS_DIFFER, str(error))
    measured = Measured(base, own, dict(zip(others, rest, strict=True)))
    judgement = judge(len(probes.probes), recorded, measured, engine.tolerance)
    if judgement.verdict is not Verdict.APPLIED:
        return judgement
    return judge_decode(judgement, await _decode(engine, version, probes.probes))


async def _score_all(
    engine: Engine, limit: asyncio.Semaphore, version: str | None, probes: Sequence[Probe]
) -> list[float]:
    async def one(probe: Probe) -> list[float]:
        async with limit:
            return completion_scores(probe, await engine.score(version, probe.prompt + probe.completion))

    scored = await asyncio.gather(*(one(probe) for probe in probes))
    return [value for scores in scored for value in scores]


def completion_scores(probe: Probe, tokens: Sequence[Token]) -> list[float]:
    """Scores of the completion's tokens, which are the last. An engine may put its own token before the prompt."""
    expected = probe.prompt_tokens + probe.completion_tokens
    if len(tokens) not in {expected, expected + 1}:
        raise OtherTokensError(f"the engine reads a probe as {len(tokens)} tokens, it was recorded as {expected}")
    return _finite(tokens[-probe.completion_tokens :])


async def _decode(engine: Engine, version: str, probes: Sequence[Probe]) -> list[tuple[float, float]]:
    """Generate, then score what was generated; for the first probes whose text survives being read again."""
    pairs: list[tuple[float, float]] = []
    checked = 0
    for probe in probes:
        generation = await engine.generate(version, probe.prompt, DECODE_TOKENS)
        again = await engine.score(version, probe.prompt + generation.text)
        found = compare(generation, again)
        checked += bool(found)
        pairs += found
        if checked == DECODE_PROBES:
            break
    return pairs


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
