"""A proof's measurements: what the engine says of the probes. What it means is decided in `proof`.

A proof of P probes with S siblings makes (2 + S)·P prefills and 2 chats of one token; then, until the texts of two
probes are read back as they were generated, which the first two nearly always are, for each two probes at most 6
generations of 24 tokens and 3 prefills. At most 4 of them are in the engine at a time.
"""

import asyncio
import contextlib
import math
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import Tolerance
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
from .proof import Decoded, Judgement, Measured, judge, judge_decode, recorded_scores

T = TypeVar("T")

Answer = list[tuple[float, float]]
"""A token's score while it was generated, and in one prefill afterwards; empty where it is read as other tokens."""

UNFORESEEN = (Verdict.DIVERGED, Reason.PROOF_FAILED)
"""The verdict of a proof that could not be made, whatever prevented it."""
AT_ONCE = 4
"""Requests of a proof in the engine at a time, beside those of departments."""
DECODE_PROBES = 2
DECODE_TOKENS = 24
"""Past a department's greeting of about 20 tokens, which all its adapters share."""
BESIDE = AT_ONCE - 1
"""Others that generate in one batch with the adapter."""
CHATS = 2
"""Probes that are asked as chats, too."""


@dataclass(frozen=True)
class Replica:
    """What a proof is made on: how the engine serves, and who else is in it."""

    variant: Variant
    tolerance: Tolerance
    siblings: Sequence[str]
    """Other adapters of the same departments: what it may be mistaken for."""
    strangers: Sequence[str] = ()
    """Those of other departments."""

    @property
    def beside(self) -> list[str | None]:
        """Who generates in one batch with the adapter: siblings first, and the base where there are few."""
        return [*self.siblings, *self.strangers, None][:BESIDE]


class OtherTokensError(Exception):
    """The engine reads a text as other tokens than those that were recorded."""


async def prove_in_time(
    engine: Engine, adapter: LocalAdapter, replica: Replica, seconds: float
) -> Judgement | Unanswered:
    """What a proof says within so many seconds, whatever happens in it. Raises only that the engine is away or busy."""
    assert adapter.fetched is not None  # noqa: S101  decided by next_step
    try:
        async with asyncio.timeout(seconds):
            return await prove(engine, adapter.name, adapter.fetched.probes, replica)
    except (EngineSilentError, TimeoutError):
        if adapter.verdict is Verdict.APPLIED:
            return Unanswered()
        return Judgement(*UNFORESEEN, f"the engine did not answer the probes within {seconds:g} s")
    except (EngineBusyError, EngineDownError):
        raise
    except Exception as error:  # noqa: BLE001  probes and answers are not ours
        message = str(error) if isinstance(error, EngineRejectedError) else f"{type(error).__name__}: {error}"
        return Judgement(*UNFORESEEN, message[:500])


async def prove(engine: Engine, name: str, probes: Probes, replica: Replica) -> Judgement:
    """Prove one loaded adapter. Raises the engine's errors."""
    recorded = recorded_scores(probes, replica.variant)
    limit, names = asyncio.Semaphore(AT_ONCE), (None, name, *replica.siblings)
    try:
        base, own, *rest = await _all(_score_all(engine, limit, one, probes.probes) for one in names)
        measured = Measured(base, own, dict(zip(replica.siblings, rest, strict=True)))
        judgement = judge(len(probes.probes), recorded, measured, replica.tolerance)
        if judgement.verdict is not Verdict.APPLIED:
            return judgement
        decoded = await _decode(engine, name, replica.beside, probes.probes)
        await _chats(engine, name, probes.probes)  # at last: an engine that caches has read their prompts as this one's
    except OtherTokensError as error:
        return Judgement(Verdict.DIVERGED, Reason.TOKENS_DIFFER, str(error))
    return judge_decode(judgement, decoded, replica.tolerance)


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


async def _chats(engine: Engine, name: str, probes: Sequence[Probe]) -> None:
    """The engine's chat template is ours, as far as counts tell. Raises OtherTokensError."""
    for probe in [probe for probe in probes if probe.messages][:CHATS]:
        read = await engine.chat_tokens(name, probe.messages or [])
        if read != probe.prompt_tokens:
            raise OtherTokensError(
                f"a chat of a probe's messages is {read} tokens to the engine, it was recorded as {probe.prompt_tokens}"
            )


async def _decode(engine: Engine, name: str, beside: Sequence[str | None], probes: Sequence[Probe]) -> Decoded:
    """Generate, then score what was generated; for the first probes whose text survives being read again."""
    alone: list[Answer] = []
    among: list[Answer] = []
    for start in range(0, len(probes), DECODE_PROBES):
        *others, last = await _decode_some(engine, name, beside, probes[start : start + DECODE_PROBES])
        among += filter(None, others)
        alone += filter(None, [last])
        if alone and len(among) > 1:
            break
    return Decoded(alone, among)


async def _decode_some(
    engine: Engine, name: str, beside: Sequence[str | None], probes: Sequence[Probe]
) -> tuple[Answer, Answer, Answer]:
    """The last probe's answer in a batch with others', then the first probe's, and the last's once more.

    The others answer the first probe before the adapter does: a cache that does not tell them apart is filled by them.
    Those of a batch go at once: beside departments' requests a token takes a whole step of the engine, for one row as
    for four.
    """
    first, last = probes[0], probes[-1]
    mixed, *_ = await _all(
        [engine.generate(name, last.prompt, DECODE_TOKENS), *(_unread(engine, other, first) for other in beside)]
    )
    assert mixed is not None  # noqa: S101  only others' answers may be missing
    after, again = await _all(engine.generate(name, probe.prompt, DECODE_TOKENS) for probe in (first, last))
    made = ((last, mixed), (first, after), (last, again))
    texts = sorted({probe.prompt + generation.text for probe, generation in made})
    read = dict(zip(texts, await _all(engine.score(name, text) for text in texts), strict=True))
    one, two, three = (compare(generation, read[probe.prompt + generation.text]) for probe, generation in made)
    return one, two, three


async def _unread(engine: Engine, name: str | None, probe: Probe) -> Generation | None:
    """Another's answer, which nobody reads: what is wrong with it is found in its own proof."""
    with contextlib.suppress(EngineRejectedError):
        return await engine.generate(name, probe.prompt, DECODE_TOKENS)
    return None


def compare(generation: Generation, again: Sequence[Token]) -> Answer:
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
