"""A proof's measurements: what the engine says of the probes. What it means is decided in `proof`.

A proof of P probes with S siblings makes (2 + S)·P prefills and 2 chats of one token; then at most 8 generations of 24
tokens, 3 of one and 5 prefills. The latter again, in at most 8 rounds, where the engine has no room for long texts or
reads none of an answer of each kind as it made it. At most 4 requests are in the engine at a time.
"""

import asyncio
import contextlib
import itertools
import math
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import Tolerance
from wardrobe_contracts.probes import Probe, Probes
from wardrobe_contracts.state import Reason, Verdict

from ..engines import (
    ChatPrompt,
    Engine,
    EngineBusyError,
    EngineDownError,
    EngineInvalidError,
    EngineRejectedError,
    EngineSilentError,
    Generation,
    Token,
)
from .adapters import LocalAdapter
from .outcomes import Unanswered
from .proof import Decoded, Judgement, Measured, Pairs, judge, judge_decode, recorded_scores

T = TypeVar("T")

UNFORESEEN = (Verdict.DIVERGED, Reason.PROOF_FAILED)
"""The verdict of a proof that could not be made, whatever prevented it."""
AT_ONCE = 4
"""Requests of a proof in the engine at a time, beside those of departments."""
DECODE_TOKENS = 24
"""Past a department's greeting of about 20 tokens, which all its adapters share."""
TEXTS = 3
"""That the adapter answers after others have read them."""
LONG_TOKENS = 256
"""A long text has more, where the probes have so many: the largest block of a cache (TGI's with flash decoding)."""
ROUNDS = 8
"""In which nothing is read back as it was made, after which nothing will be."""
BESIDE = AT_ONCE - 1
"""Answers that are generated in one batch with the adapter's."""
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
        decoded = await decode(engine, name, replica.beside, probes.probes)
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
    """All results; where one fails, the others end first, so that nothing leaves requests in the engine behind."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def completion_scores(probe: Probe, tokens: Sequence[Token]) -> list[float]:
    """Scores of the completion's tokens, which are the last. Raises OtherTokensError where any token is another."""
    expected = probe.prompt_tokens + probe.completion_tokens
    if len(tokens) != expected:
        raise OtherTokensError(f"the engine reads a probe as {len(tokens)} tokens, it was recorded as {expected}")
    ids = [token.id for token in tokens]
    _require_same("the engine", probe.prompt_ids, ids[: probe.prompt_tokens])
    _require_same("the engine", probe.completion_ids, ids[probe.prompt_tokens :])
    return _finite(tokens[-probe.completion_tokens :])


async def _chats(engine: Engine, name: str, probes: Sequence[Probe]) -> None:
    """The engine renders chats as ours were. Raises OtherTokensError."""
    for probe in [probe for probe in probes if probe.messages][:CHATS]:
        require_same_chat(probe, await engine.chat_prompt(name, probe.messages or []))


def require_same_chat(probe: Probe, read: ChatPrompt) -> None:
    """By their number, and token by token where the engine says them. Raises OtherTokensError."""
    if read.tokens != probe.prompt_tokens:
        raise OtherTokensError(
            f"a chat of a probe's messages is {read.tokens} tokens to the engine, it was recorded as "
            f"{probe.prompt_tokens}"
        )
    if read.ids is not None:
        _require_same("in a chat of a probe's messages the engine", probe.prompt_ids, read.ids)


def _require_same(who: str, recorded: Sequence[int] | None, read: Sequence[int]) -> None:
    """Where they were recorded. Raises OtherTokensError."""
    if recorded is None or [*recorded] == [*read]:
        return
    if len(recorded) != len(read):
        raise OtherTokensError(f"{who} reads {len(read)} tokens, where the probe has {len(recorded)}")
    at = next(number for number, pair in enumerate(zip(recorded, read, strict=True)) if pair[0] != pair[1])
    raise OtherTokensError(f"{who} reads {read[at]} where the probe has the token {recorded[at]}")


async def decode(engine: Engine, name: str, beside: Sequence[str | None], probes: Sequence[Probe]) -> Decoded:
    """Generate, then score what was generated; again until there is an answer of each kind that is read as it was made.

    First after long texts. Where the engine has no room for them, or reads none of the answers to them as it made
    them, after the probes' own prompts. Others read first what the adapter has been asked, then the last probes: what
    it is asked next, it is to be the first to read.
    """
    found = Decoded([], [], [])
    with contextlib.suppress(EngineInvalidError):
        found = await _decode_some(engine, name, beside, probes[0].prompt, long_texts(probes[1:] or probes))
    for number, probe in enumerate(probes[:ROUNDS]):
        if found.alone and found.among and found.after:
            break
        others = [*reversed(probes[:number]), *reversed(probes[number + 1 :])] or [probe]
        texts = [other.prompt for other in others[:TEXTS]]
        found = found.filled_by(await _decode_some(engine, name, beside, probe.prompt, texts))
    return found


def long_texts(probes: Sequence[Probe]) -> list[str]:
    """Probes in a row, beginning with each of the last."""
    starts = range(len(probes))[-TEXTS:]
    return [long_text([*probes[start:], *probes[:start]]) for start in starts]


def long_text(probes: Sequence[Probe]) -> str:
    """One probe's text after the other's, the last answer cut in half.

    A cache that keeps blocks keeps none of a short prompt, and in the midst of an answer more than one token is likely:
    what another has read shows in its score. Where a language has blanks, a token ends before one.
    """
    wholes = itertools.accumulate(probe.prompt_tokens + probe.completion_tokens for probe in probes)
    begun = [whole - probe.completion_tokens for whole, probe in zip(wholes, probes, strict=True)]
    *before, last = probes[: 1 + sum(tokens <= LONG_TOKENS for tokens in begun)]
    middle = len(last.completion) // 2
    blank = last.completion.rfind(" ", 0, middle)
    half = last.completion[: middle if blank < 0 else blank]
    return "".join(probe.prompt + probe.completion for probe in before) + last.prompt + half


async def _decode_some(
    engine: Engine, name: str, beside: Sequence[str | None], prompt: str, texts: Sequence[str]
) -> Decoded:
    """An answer to the prompt in a batch with others'; then one without them, and those to the texts.

    The base reads the texts before all others, and they answer them before the adapter does: a cache that does not tell
    them apart holds what is farthest from the adapter's; if it tells adapters from the base, another adapter's. Those
    of a batch go at once: beside departments' requests a token takes a whole step of the engine, for one row as for
    four.
    """
    await _all(_unread(engine, None, text, 1) for text in texts)
    asked = zip(range(BESIDE), itertools.cycle(beside), itertools.cycle(texts), strict=False)
    unread = (_unread(engine, other, text, DECODE_TOKENS) for _, other, text in asked)
    among, *_ = await _all([engine.generate(name, prompt, DECODE_TOKENS), *unread])
    assert among is not None  # noqa: S101  only others' answers may be missing
    generated = await _all(engine.generate(name, text, DECODE_TOKENS) for text in (prompt, *texts))
    [first] = await _compared(engine, name, [(prompt, among)])
    second, *rest = await _compared(engine, name, zip((prompt, *texts), generated, strict=True))
    return Decoded(alone=second, among=first, after=[answer for answer in rest if answer])


async def _compared(engine: Engine, name: str, answers: Iterable[tuple[str, Generation]]) -> list[Pairs]:
    """What was generated, with the scores that the engine gives it in one prefill."""
    made = [(generation, text + generation.text) for text, generation in answers]
    read = await _all(engine.score(name, whole) for _, whole in made)
    return [compare(generation, again) for (generation, _), again in zip(made, read, strict=True)]


async def _unread(engine: Engine, name: str | None, text: str, tokens: int) -> Generation | None:
    """Another's answer, which nobody reads: what is wrong with it is found in its own proof."""
    with contextlib.suppress(EngineRejectedError):
        return await engine.generate(name, text, tokens)
    return None


def compare(generation: Generation, again: Sequence[Token]) -> Pairs:
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
