"""What the demo says of a rollback is what the traffic saw."""

import asyncio
import dataclasses

from aiohttp import web
from aiohttp.test_utils import TestServer
from demo.rollback import Flip, judge, report
from demo.traffic import Known, Reply, Traffic, flowing, learn
from support.waiting import eventually

FLIP = Flip("cardiology-v2", "cardiology-v1", started=10.0, patched=10.1, applied=10.4)
KNOWN = Known(8, {name: f"I am {name}" for name in ("cardiology-v1", "cardiology-v2", "paediatrics-v1")})


def reply(adapter: str, began: float, ended: float, department: str = "cardiology", status: int = 200) -> Reply:
    error, text = ("", f"I am {adapter}") if status == 200 else ("no", "")
    return Reply(department, began, ended, status, adapter, error, text)


def test_either_adapter_may_answer_while_routers_change() -> None:
    replies = [
        reply("cardiology-v2", 9.0, 9.2),
        reply("cardiology-v2", 10.3, 10.6),
        reply("cardiology-v1", 9.9, 10.2),
        reply("cardiology-v1", 11.0, 11.2),
        reply("paediatrics-v1", 9.0, 9.1, "paediatrics"),
        reply("paediatrics-v1", 12.0, 12.1, "paediatrics"),
    ]
    judgement = judge(replies, FLIP, KNOWN)
    assert (judgement.asked, judgement.failed, judgement.wrong) == (6, [], [])
    assert judgement.first is not None
    assert round(judgement.first, 3) == 0.1


def test_wrong_adapters_and_failures_are_counted() -> None:
    early, late = reply("cardiology-v1", 9.0, 9.9), reply("cardiology-v2", 10.5, 10.8)
    foreign = reply("cardiology-v1", 9.0, 9.1, "paediatrics")
    lost = reply("", 10.0, 10.1, status=503)
    first = reply("paediatrics-v1", 8.0, 8.1, "paediatrics")
    judgement = judge([first, early, late, foreign, lost], FLIP, KNOWN)
    assert judgement.wrong == [early, late, foreign]
    assert judgement.failed == [lost]
    assert judgement.misspoken == []
    said = "\n".join(report(FLIP, judgement, restarts="the same 3"))
    assert "503: no" in said


def test_anothers_text_under_the_right_name_is_counted() -> None:
    swapped = dataclasses.replace(reply("paediatrics-v1", 9.0, 9.1, "paediatrics"), text="I am cardiology-v1")
    judgement = judge([reply("cardiology-v2", 9.0, 9.2), swapped], FLIP, KNOWN)
    assert (judgement.failed, judgement.wrong, judgement.misspoken) == ([], [], [swapped])
    assert "with another text than its own      1" in "\n".join(report(FLIP, judgement, restarts="the same 3"))


def test_adapters_that_no_text_tells_apart_are_named() -> None:
    alike = Known(32, {**KNOWN.texts, "cardiology-v2": "I am cardiology-v1"})
    said = report(FLIP, judge([], FLIP, alike), restarts="the same 3")
    assert "answer alike, so that no text tells them apart: cardiology-v1, cardiology-v2" in said


async def test_every_adapter_is_asked_by_its_name_for_as_much_as_tells_it_apart() -> None:
    async def models(request: web.Request) -> web.Response:
        name = request.headers["Authorization"].removeprefix("Bearer key-of-")
        return web.json_response({"data": [{"id": name}, {"id": f"{name}-v1-01234567"}]})

    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        text = f"Good day, here is {asked['model']}"[: asked["max_tokens"]]
        return web.json_response({"choices": [{"message": {"content": text}}]})

    app = web.Application()
    app.router.add_get("/v1/models", models)
    app.router.add_post("/v1/chat/completions", answer)
    async with TestServer(app) as server:
        keys = {name: f"key-of-{name}" for name in ("cardiology", "paediatrics")}
        known = await asyncio.to_thread(learn, str(server.make_url("")).rstrip("/"), keys)
    assert known.tokens == 32
    assert known.texts == {
        f"{name}-v1": f"Good day, here is {name}-v1-01234567"[:32] for name in ("cardiology", "paediatrics")
    }


async def test_every_request_is_counted_with_what_became_of_it() -> None:
    async def answer(request: web.Request) -> web.Response:
        model = (await request.json())["model"]
        if request.headers["Authorization"] != f"Bearer key-of-{model}":
            return web.Response(status=401, text="whose key?")
        said = {"choices": [{"message": {"content": f"I am {model}"}}]}
        return web.json_response(said, headers={"X-Wardrobe-Version": f"{model}-v1-01234567"})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with TestServer(app) as server:
        keys = {"cardiology": "key-of-cardiology", "paediatrics": "stolen"}
        traffic = Traffic(str(server.make_url("")).rstrip("/"), keys)

        def ask() -> None:
            with flowing(traffic):
                eventually(lambda: len(traffic.replies) >= 4, what="4 answers")

        await asyncio.to_thread(ask)
    good = [one for one in traffic.replies if one.department == "cardiology"]
    assert {(one.status, one.adapter, one.text) for one in good} == {(200, "cardiology-v1", "I am cardiology")}
    refused = [one for one in traffic.replies if one.department == "paediatrics"]
    assert {(one.status, one.error) for one in refused} == {(401, "whose key?")}


async def test_a_router_that_is_gone_is_a_failure_too() -> None:
    server = TestServer(web.Application())
    await server.start_server()
    url = str(server.make_url("")).rstrip("/")
    await server.close()
    traffic = Traffic(url, {"cardiology": "key"})
    ended = asyncio.Event()
    driving = asyncio.create_task(traffic.drive(ended))
    async with asyncio.timeout(10):
        while not traffic.replies:  # noqa: ASYNC110  no event tells of it
            await asyncio.sleep(0.01)
        ended.set()
        await driving
    assert traffic.replies[0].status == 0
    assert "ClientConnectorError" in traffic.replies[0].error
