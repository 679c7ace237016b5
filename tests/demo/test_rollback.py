"""What the demo says of a rollback is what the traffic saw."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer
from demo.rollback import Flip, judge, report
from demo.traffic import Reply, Traffic, flowing
from support.waiting import eventually

FLIP = Flip("cardiology-v2", "cardiology-v1", started=10.0, patched=10.1, applied=10.4)


def reply(adapter: str, began: float, ended: float, department: str = "cardiology", status: int = 200) -> Reply:
    return Reply(department, began, ended, status, adapter, "" if status == 200 else "no")


def test_either_version_may_answer_while_routers_change() -> None:
    replies = [
        reply("cardiology-v2", 9.0, 9.2),
        reply("cardiology-v2", 10.3, 10.6),
        reply("cardiology-v1", 9.9, 10.2),
        reply("cardiology-v1", 11.0, 11.2),
        reply("paediatrics-v1", 9.0, 9.1, "paediatrics"),
        reply("paediatrics-v1", 12.0, 12.1, "paediatrics"),
    ]
    judgement = judge(replies, FLIP)
    assert (judgement.asked, judgement.failed, judgement.wrong) == (6, [], [])
    assert judgement.first is not None
    assert round(judgement.first, 3) == 0.1


def test_wrong_versions_and_failures_are_counted() -> None:
    early, late = reply("cardiology-v1", 9.0, 9.9), reply("cardiology-v2", 10.5, 10.8)
    foreign = reply("cardiology-v1", 9.0, 9.1, "paediatrics")
    lost = reply("", 10.0, 10.1, status=503)
    first = reply("paediatrics-v1", 8.0, 8.1, "paediatrics")
    judgement = judge([first, early, late, foreign, lost], FLIP)
    assert judgement.wrong == [early, late, foreign]
    assert judgement.failed == [lost]
    said = "\n".join(report(FLIP, judgement, restarts="the same 3"))
    assert "503: no" in said


async def test_every_request_is_counted_with_what_became_of_it() -> None:
    async def answer(request: web.Request) -> web.Response:
        model = (await request.json())["model"]
        if request.headers["Authorization"] != f"Bearer key-of-{model}":
            return web.Response(status=401, text="whose key?")
        return web.json_response({}, headers={"X-Wardrobe-Version": f"{model}-v1-01234567"})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    async with TestServer(app) as server:
        keys = {"cardiology": "key-of-cardiology", "paediatrics": "stolen"}
        traffic = Traffic(str(server.make_url("")).rstrip("/"), keys)

        def ask() -> None:
            with flowing(traffic):
                eventually(lambda: len(traffic.replies) >= 4, within=10, what="4 answers")

        await asyncio.to_thread(ask)
    good = [one for one in traffic.replies if one.department == "cardiology"]
    assert {(one.status, one.adapter) for one in good} == {(200, "cardiology-v1")}
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
