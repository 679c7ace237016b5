"""What the drills' and benchmarks' traffic counts as a good answer: the version's own text."""

import asyncio
import json

from aiohttp import web
from aiohttp.test_utils import TestServer
from support import deployed
from support.deployed import Timeline
from support.traffic import Known, Traffic, flowing
from support.waiting import eventually

TEXTS = {"cardiology": "Hello from the heart", "paediatrics": "Hello from the children"}
KNOWN = {(f"{department}-v1-01234567", 8): text for department, text in TEXTS.items()}


async def ask(*, stream: bool, swapped: bool, known: Known = KNOWN) -> Traffic:
    """Some traffic to a server that gives paediatrics the other department's words, if told so."""

    async def answer(request: web.Request) -> web.Response:
        department = (await request.json())["model"]
        text = TEXTS["cardiology"] if swapped else TEXTS[department]
        headers = {"X-Wardrobe-Version": f"{department}-v1-01234567"}
        if not stream:
            return web.json_response({"choices": [{"message": {"content": text}}]}, headers=headers)
        pieces = [{"choices": [{"delta": {"content": piece}}]} for piece in (text[:4], text[4:])]
        events = [json.dumps(one) for one in [*pieces, {"choices": [], "usage": {}}]] + ["[DONE]"]
        return web.Response(text="".join(f"data: {event}\n\n" for event in events), headers=headers)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        traffic = Traffic(url, dict.fromkeys(TEXTS, "key"), 50, known, stream=stream)

        def flow() -> None:
            with flowing(traffic):
                eventually(lambda: len(traffic.answers) >= 4, what="4 answers")

        await asyncio.to_thread(flow)
    return traffic


async def test_each_adapters_own_text_is_right_whole_and_streamed() -> None:
    for stream in (False, True):
        traffic = await ask(stream=stream, swapped=False)
        assert traffic.failures() == traffic.misspoken() == []
        assert deployed.names(traffic.answers) == {("cardiology", "cardiology-v1"), ("paediatrics", "paediatrics-v1")}


async def test_anothers_text_under_the_right_adapter_is_a_wrong_answer_and_not_a_lost_one() -> None:
    for stream in (False, True):
        traffic = await ask(stream=stream, swapped=True)
        mine = [answer for answer in traffic.answers if answer.department == "paediatrics"]
        assert mine
        assert traffic.misspoken() == Timeline("paediatrics", "paediatrics-v1").wrong(traffic.answers) == mine
        assert traffic.failures() == []
        said = "paediatrics-v1 by its header, cardiology-v1 by its text"
        assert deployed.names(traffic.answers) == {("cardiology", "cardiology-v1"), ("paediatrics", said)}


async def test_an_adapter_of_which_nothing_is_known_is_not_believed() -> None:
    traffic = await ask(stream=False, swapped=False, known={})
    assert traffic.misspoken() == traffic.answers
