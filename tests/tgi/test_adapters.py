"""Adapters in a TGI: padded copies are proved in any mixture, what they were copied from is not."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import aiohttp
import pytest
from support.tgi import Served

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import ENGINES, EngineType
from wardrobe_contracts.engines.tolerances import Precision
from wardrobe_contracts.probes import Message
from wardrobe_contracts.state import Verdict
from wardrobe_gateway.agent.probing import Replica, prove
from wardrobe_gateway.agent.proof import Judgement
from wardrobe_gateway.engines import EngineDownError, EngineRejectedError, Generation
from wardrobe_gateway.engines.http import EngineHttp
from wardrobe_gateway.engines.tgi import TgiEngine

pytestmark = pytest.mark.tgi

TOLERANCE = ENGINES[EngineType.TGI].tolerance(Variant.NONE, Precision.BFLOAT16)
TOKENS = 24
FORMS = ("eight-v1", "four-v1", "half-v1", "root-v1")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as one:
        yield one


async def proof(served: Served, session: aiohttp.ClientSession, adapter: str) -> Judgement:
    """Alone, then beside all others."""
    names = dict(served.names)
    own = names.pop(adapter)
    replica = Replica(Variant.NONE, TOLERANCE, siblings=list(names.values()))
    return await prove(TgiEngine(EngineHttp(session, served.tgi.url)), own, served.probes[adapter], replica)


@pytest.mark.parametrize("adapter", FORMS)
async def test_padded_copies_of_any_form_are_proved(
    padded: Served, session: aiohttp.ClientSession, adapter: str
) -> None:
    judgement = await proof(padded, session, adapter)
    print(adapter, judgement.numbers)  # noqa: T201  for who runs this with -s
    assert judgement.verdict is Verdict.APPLIED, judgement


@pytest.mark.parametrize("adapter", ["four-v1", "half-v1", "root-v1"])
async def test_unpadded_ones_are_not(unpadded: Served, session: aiohttp.ClientSession, adapter: str) -> None:
    try:
        judgement = await proof(unpadded, session, adapter)
    except EngineDownError:  # reading past a table may end it
        return
    except EngineRejectedError:
        return
    assert judgement.verdict is not Verdict.APPLIED


async def generated(
    tgi: TgiEngine, asked: Iterable[tuple[str | None, str]]
) -> list[Generation | EngineRejectedError | EngineDownError]:
    """All at once."""

    async def one(name: str | None, prompt: str) -> Generation | EngineRejectedError | EngineDownError:
        try:
            return await tgi.generate(name, prompt, TOKENS)
        except (EngineRejectedError, EngineDownError) as error:
            return error

    return list(await asyncio.gather(*(one(*item) for item in asked)))


async def test_a_mixed_batch_answers_as_each_alone(padded: Served, session: aiohttp.ClientSession) -> None:
    tgi = TgiEngine(EngineHttp(session, padded.tgi.url))
    prompts = [probe.prompt for probe in padded.probes["eight-v1"].probes[:2]]
    asked = [(name, prompt) for prompt in prompts for name in (*padded.names.values(), None)]
    alone = [await tgi.generate(name, prompt, TOKENS) for name, prompt in asked]
    together = await generated(tgi, asked)
    assert not [found for found in together if not isinstance(found, Generation)]
    assert len({one.text for one in alone}) > len(prompts)
    same = [a.text == b.text for a, b in zip(alone, together, strict=True) if isinstance(b, Generation)]
    assert sum(same) >= len(same) - 1  # a near tie of two tokens may fall the other way in another batch


async def test_a_mixed_batch_of_unpadded_ones_fails(unpadded: Served, session: aiohttp.ClientSession) -> None:
    prompt = unpadded.probes["eight-v1"].probes[0].prompt
    tgi = TgiEngine(EngineHttp(session, unpadded.tgi.url))
    found = await generated(tgi, [(name, prompt) for name in (*unpadded.names.values(), None)])
    assert any(not isinstance(one, Generation) for one in found)


async def test_the_zero_adapter_scores_as_the_base(padded: Served, session: aiohttp.ClientSession) -> None:
    tgi = TgiEngine(EngineHttp(session, padded.tgi.url))
    differences: list[float] = []
    for probe in padded.probes["eight-v1"].probes:
        tokens = await tgi.score(None, probe.prompt + probe.completion)
        found = [token.logprob or 0.0 for token in tokens[probe.prompt_tokens :]]
        pairs = zip(found, probe.scores[Variant.NONE].base, strict=True)
        differences += [abs(a - b) for a, b in pairs]
    assert sum(differences) / len(differences) < TOLERANCE.noise


async def test_ids_are_the_recorded_ones(padded: Served, session: aiohttp.ClientSession) -> None:
    tgi = TgiEngine(EngineHttp(session, padded.tgi.url))
    for probe in padded.probes["four-v1"].probes:
        tokens = await tgi.score(padded.names["four-v1"], probe.prompt + probe.completion)
        assert [token.id for token in tokens] == [*(probe.prompt_ids or []), *(probe.completion_ids or [])]
        assert [token.logprob is None for token in tokens] == [True, *[False] * (len(tokens) - 1)]


async def test_a_chat_is_the_recorded_prompt(padded: Served, session: aiohttp.ClientSession) -> None:
    tgi = TgiEngine(EngineHttp(session, padded.tgi.url))
    for probe in padded.probes["root-v1"].probes:
        assert probe.messages
        messages = [Message(role=message.role, content=message.content) for message in probe.messages]
        read = await tgi.chat_prompt(padded.names["root-v1"], messages)
        assert (read.tokens, read.ids) == (probe.prompt_tokens, probe.prompt_ids)


def test_an_unknown_name_answers_from_the_base(padded: Served) -> None:
    prompt = padded.probes["eight-v1"].probes[0].prompt
    texts = {
        name: padded.tgi.generate(prompt, adapter_id=name, max_new_tokens=TOKENS).json()["generated_text"]
        for name in (padded.names["eight-v1"], "nobody", padded.names["eight-v1"].upper(), "")
    }
    assert texts["nobody"] == texts[""] == texts[padded.names["eight-v1"].upper()] != texts[padded.names["eight-v1"]]
    assert (
        padded.tgi.post(
            "/generate",
            {"inputs": prompt, "adapter_id": padded.names["eight-v1"], "parameters": {"max_new_tokens": TOKENS}},
        ).json()["generated_text"]
        == texts[""]
    )


def test_no_endpoint_lists_adapters(padded: Served) -> None:
    for path in ("/info", "/v1/models"):
        answer = padded.tgi.get(path)
        assert answer.status_code == 200
        assert not any(name in answer.text for name in padded.names.values())


def test_a_chat_echoes_any_name_and_a_completion_the_base(padded: Served) -> None:
    chat = {"model": "nobody", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2, "temperature": 0}
    assert padded.tgi.post("/v1/chat/completions", chat).json()["model"] == "nobody"
    completion = {"model": padded.names["eight-v1"], "prompt": "Hello", "max_tokens": 2, "temperature": 0}
    answer = padded.tgi.post("/v1/completions", completion).json()
    assert answer["model"] == padded.tgi.get("/info").json()["model_id"]
    assert answer["choices"][0]["logprobs"] is None
