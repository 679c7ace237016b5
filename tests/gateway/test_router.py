"""The router before real agents on test engines: who may ask what, and what becomes of it when parts fail."""

import asyncio
import contextlib
import io
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from support import gateway
from support.artifacts import Artifact, publish
from support.gateway import Pod, RouterProcess, Server, routes, until
from support.ports import free_port

from wardrobe_contracts.routes import Authentication
from wardrobe_contracts.state import (
    ADAPTER_HEADER,
    DEPARTMENT_HEADER,
    DIGEST_HEADER,
    WAIT_HEADER,
    AdapterState,
    AgentState,
    EngineState,
    Reason,
    RouterState,
    Verdict,
)
from wardrobe_gateway.agent.engine_admission import EngineAdmission
from wardrobe_gateway.process.source import Address
from wardrobe_gateway.router.backends import SILENT_SECONDS, Backends

KEYS = {"cardiology": "heart-of-cardiology\nspare-of-cardiology", "paediatrics": "child-of-paediatrics"}
CHAT = "/v1/chat/completions"
ANSWERED = 200


@dataclass
class Reply:
    """An answer, read to its end."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def voice(self) -> str:
        """Who spoke."""
        return str(self.json["choices"][0]["message"]["content"].split()[0])

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


@contextlib.asynccontextmanager
async def asking(
    router: RouterProcess, model: str | None, *, key: str = "heart-of-cardiology", path: str = CHAT, **more: Any
) -> AsyncIterator[aiohttp.ClientResponse]:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "how much? "}], **more}
    if path != CHAT:
        body = {"inputs": "how much? ", "parameters": {"adapter_id": model, "max_new_tokens": 3}, **more}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(router.server.url + path, json=body) as answer,
    ):
        yield answer


async def ask(router: RouterProcess, model: str | None = "cardiology", **more: Any) -> Reply:
    async with asking(router, model, **more) as answer:
        return Reply(answer.status, await answer.read(), dict(answer.headers))


async def get(router: RouterProcess, path: str, key: str = "") -> Reply:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = (router.server if path.startswith("/v1/") else router.ops).url + path
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as answer:
        return Reply(answer.status, await answer.read(), dict(answer.headers))


@dataclass
class Ward:
    """Two engine pods and a router, with three adapters proved everywhere."""

    pods: list[Pod]
    router: RouterProcess
    c1: Artifact
    c2: Artifact
    p1: Artifact
    generation: int = field(default=0)

    @property
    def addresses(self) -> list[str]:
        return [pod.server.address for pod in self.pods]

    def route(self, cardiology: Artifact, **more: Any) -> None:
        """New routes, at everybody at once."""
        self.generation += 1
        given = routes(
            [self.c1.routed(), self.c2.routed(), self.p1.routed()],
            {"cardiology": cardiology.name, "paediatrics": self.p1.name},
            generation=self.generation,
            **more,
        )
        for pod in self.pods:
            pod.apply(given)
        self.router.apply(given)


@pytest.fixture
async def ward(store: Path, tmp_path: Path) -> AsyncIterator[Ward]:
    c1, c2, p1 = (publish(store, name) for name in ("cardiology-v1", "cardiology-v2", "paediatrics-v1"))
    async with (
        gateway.pod(store, tmp_path / "cache-0") as one,
        gateway.pod(store, tmp_path / "cache-1") as other,
        gateway.router(one, other, keys=KEYS) as router,
    ):
        made = Ward([one, other], router, c1, c2, p1)
        made.route(c2)
        for pod in made.pods:
            await pod.proved(c1.name, c2.name, p1.name)
        await router.sees(c2.name, *made.addresses)
        yield made


# Who may ask what


async def test_a_department_is_answered_by_its_live_adapter(ward: Ward) -> None:
    reply = await ask(ward.router)
    assert (reply.status, reply.voice) == (200, "[cardiology-v2]")
    assert reply.headers[DEPARTMENT_HEADER] == "cardiology"
    assert reply.headers[ADAPTER_HEADER] == ward.c2.name
    assert reply.headers[DIGEST_HEADER] == ward.c2.digest
    assert (await ask(ward.router, key="spare-of-cardiology")).voice == "[cardiology-v2]"
    assert (await ask(ward.router, "paediatrics", key="child-of-paediatrics")).voice == "[paediatrics-v1]"


async def test_a_loaded_adapter_may_be_asked_by_name(ward: Ward) -> None:
    reply = await ask(ward.router, ward.c1.name)
    assert (reply.voice, reply.headers[ADAPTER_HEADER]) == ("[cardiology-v1]", ward.c1.name)


@pytest.mark.parametrize(
    ("key", "model", "status", "code"),
    [
        ("", "cardiology", 401, "key_missing"),
        ("wrong", "cardiology", 401, "key_unknown"),
        ("child-of-paediatrics", "cardiology", 403, "model_forbidden"),
        ("heart-of-cardiology", "gpt-4", 404, "model_not_found"),
    ],
)
async def test_others_are_refused(ward: Ward, key: str, model: str, status: int, code: str) -> None:
    reply = await ask(ward.router, model, key=key)
    assert (reply.status, reply.code) == (status, code)
    if status in {403, 404}:
        assert ("cardiology" if key == "heart-of-cardiology" else "paediatrics") in reply.json["error"]["message"]
    page = (await get(ward.router, "/metrics")).body.decode()
    department = {"child-of-paediatrics": "paediatrics", "heart-of-cardiology": "cardiology"}.get(key, "")
    assert f'wardrobe_rejected_total{{department="{department}",reason="{code}"}} 1.0' in page


async def test_every_error_has_openais_form(ward: Ward) -> None:
    url = ward.router.server.url
    headers = {"Authorization": "Bearer heart-of-cardiology"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for method, path, body, status in (
            ("POST", CHAT, b"{", 400),
            ("POST", CHAT, b"[]", 400),
            ("POST", CHAT, b'{"model": 1}', 400),
            ("POST", CHAT, b" " * 1_048_577, 413),
            ("POST", "/v1/embeddings", b"{}", 404),
            ("GET", CHAT, b"", 405),
        ):
            async with session.request(method, url + path, data=io.BytesIO(body)) as answer:
                assert answer.status == status
                error = (await answer.json())["error"]
                assert error.keys() == {"message", "type", "param", "code"}


async def test_models_lists_what_the_key_may_use(ward: Ward) -> None:
    listed = (await get(ward.router, "/v1/models", "heart-of-cardiology")).json["data"]
    assert [model["id"] for model in listed] == ["cardiology", ward.c1.name, ward.c2.name]
    assert (await get(ward.router, "/v1/models")).status == 401


async def test_plain_text_needs_no_name_beside_the_key(ward: Ward) -> None:
    for path in ("/generate", "/"):
        reply = await ask(ward.router, None, path=path)
        answer = reply.json[0] if path == "/" else reply.json
        assert answer == {"generated_text": answer["generated_text"]}
        assert answer["generated_text"].startswith("[cardiology-v2]")
    reply = await ask(ward.router, None, path="/", stream=True)
    assert reply.headers["Content-Type"] == "text/event-stream"
    events = [json.loads(event.removeprefix(b"data:")) for event in reply.body.split(b"\n\n")[:-1]]
    assert [event["details"] for event in events] == [None] * len(events)


async def test_without_authentication_the_model_is_enough(ward: Ward) -> None:
    ward.route(ward.c2, authentication=Authentication.NONE)
    assert (await ask(ward.router, "paediatrics", key="")).voice == "[paediatrics-v1]"
    assert (await ask(ward.router, None, key="")).code == "model_missing"


async def test_keys_come_go_and_rotate(ward: Ward) -> None:
    router = ward.router.router
    router.take_keys({"paediatrics": "child-of-paediatrics"})
    reply = await ask(ward.router)
    assert (reply.status, reply.code) == (401, "keys_not_loaded")
    assert (await ask(ward.router, "paediatrics", key="child-of-paediatrics")).status == 200
    assert router.state().missing_keys == ["cardiology"]
    router.take_keys({"paediatrics": "child-of-paediatrics", "cardiology": "heart-of-cardiology\nanother-of-theirs"})
    assert (await ask(ward.router)).status == (await ask(ward.router, key="another-of-theirs")).status == 200
    router.take_keys({"paediatrics": "child-of-paediatrics", "cardiology": "another-of-theirs"})
    assert (await ask(ward.router)).status == 401
    router.take_keys(
        {
            "paediatrics": "another-of-theirs\nchild-of-paediatrics",
            "cardiology": "another-of-theirs\nheart-of-cardiology",
        }
    )
    assert (await ask(ward.router, key="another-of-theirs")).code == "key_ambiguous"
    assert (await ask(ward.router)).status == 200
    assert router.state().duplicate_keys == ["cardiology", "paediatrics"]
    assert router.state().keys == {"cardiology": 1, "paediatrics": 1}


# Streams and counts


async def test_streams_come_piece_by_piece_without_what_nobody_asked_for(ward: Ward) -> None:
    go = asyncio.Semaphore(1)

    async def step(_: int) -> None:
        await go.acquire()

    for pod in ward.pods:
        pod.engine.pace = step
    async with asking(ward.router, "cardiology", stream=True) as answer:
        assert answer.headers[ADAPTER_HEADER] == ward.c2.name
        assert b"[cardiology-v2]" in await answer.content.readuntil(b"\n\n")  # and nothing more is there yet
        for _ in range(9):
            go.release()
        rest = await answer.read()
    assert rest.endswith(b"data: [DONE]\n\n")
    assert b'"choices": []' not in rest
    page = (await get(ward.router, "/metrics")).body.decode()
    adapter, department = f'adapter="{ward.c2.name}"', 'department="cardiology"'
    assert f'wardrobe_requests_total{{{adapter},code="200",{department}}} 1.0' in page
    assert f'wardrobe_tokens_total{{{adapter},{department},kind="completion"}} 5.0' in page
    assert f'wardrobe_tokens_total{{{adapter},{department},kind="prompt"}} 2.0' in page
    assert f"wardrobe_time_to_first_token_seconds_count{{{adapter},{department}}} 1.0" in page
    assert f"wardrobe_time_per_token_seconds_count{{{adapter},{department}}} 1.0" in page
    assert 'wardrobe_requests_in_flight{department="cardiology"} 0.0' in page


async def test_who_asks_for_the_usage_gets_it(ward: Ward) -> None:
    reply = await ask(ward.router, stream=True, stream_options={"include_usage": True})
    assert b'"completion_tokens": 5' in reply.body


async def test_a_client_that_leaves_stops_the_engine(ward: Ward) -> None:
    for pod in ward.pods:
        pod.engine.pace = _never_after_the_first
    async with asking(ward.router, "cardiology", stream=True) as answer:
        await answer.content.readuntil(b"\n\n")
    await until(lambda: sum(pod.engine.cancelled for pod in ward.pods) == 1)
    await until(lambda: not any(backend.in_flight for backend in ward.router.router.backends))
    page = (await get(ward.router, "/metrics")).body.decode()
    assert f'wardrobe_requests_total{{adapter="{ward.c2.name}",code="499"' in page


async def _never_after_the_first(number: int) -> None:
    if number:
        await asyncio.Event().wait()


# When parts fail


async def test_the_least_loaded_is_asked(ward: Ward) -> None:
    hold = asyncio.Event()

    async def held(number: int) -> None:
        if number:
            await hold.wait()

    for pod in ward.pods:
        pod.engine.pace = held
    async with asking(ward.router, "cardiology", stream=True) as first:
        await first.content.readuntil(b"\n\n")
        async with asking(ward.router, "cardiology", stream=True) as second:
            await second.content.readuntil(b"\n\n")
            assert [pod.engine.under_way for pod in ward.pods] == [1, 1]
            hold.set()


async def test_a_replica_that_has_not_proved_it_is_not_asked(ward: Ward) -> None:
    ward.pods[0].engine.faults.answers_from_base = True
    ward.pods[0].reconciler.adapters.change(ward.c2.name, due=0.0)
    await ward.pods[0].judged(ward.c2.name, Verdict.NOT_APPLIED)
    for _ in range(6):  # the first of them may still go there, be refused, and tried elsewhere
        assert (await ask(ward.router)).voice == "[cardiology-v2]"
    await ward.router.sees(ward.c2.name, ward.addresses[1])


async def test_421_is_tried_elsewhere(ward: Ward) -> None:
    for adapter in ward.pods[0].reconciler.adapters.by_name:  # nothing polls the router between this and the requests
        ward.pods[0].reconciler.adapters.change(adapter, verdict=Verdict.DIVERGED, due=1e12)
    replies = [await ask(ward.router) for _ in range(4)]
    assert {(reply.status, reply.voice) for reply in replies} == {(200, "[cardiology-v2]")}


async def test_a_refused_connection_is_tried_elsewhere(ward: Ward) -> None:
    for server in (ward.pods[0].server, ward.pods[0].ops):
        await server.stop()
    replies = [await ask(ward.router) for _ in range(4)]
    assert {(reply.status, reply.voice) for reply in replies} == {(200, "[cardiology-v2]")}
    await ward.router.sees(ward.c2.name, ward.addresses[1])
    for server in (ward.pods[0].server, ward.pods[0].ops):
        await server.start()
    await ward.router.sees(ward.c2.name, *ward.addresses)


async def test_a_pod_that_dies_before_it_answers_is_replaced_by_another(ward: Ward) -> None:
    ward.pods[0].engine.faults.hangs = ward.pods[1].engine.faults.hangs = True
    asked = asyncio.create_task(ask(ward.router))
    await until(lambda: any(pod.engine.under_way for pod in ward.pods))
    busy, free = sorted(ward.pods, key=lambda pod: -pod.engine.under_way)
    free.engine.faults.hangs = False
    await busy.server.stop()
    reply = await asked
    assert (reply.status, reply.voice) == (200, "[cardiology-v2]")


async def test_a_stream_that_has_not_begun_is_tried_elsewhere_and_one_that_has_is_cut(ward: Ward) -> None:
    for pod in ward.pods:
        pod.engine.faults.breaks_stream_after = 0
    assert (await ask(ward.router, stream=True)).status == 503
    ward.pods[0].engine.faults.breaks_stream_after = None
    for _ in range(2):
        assert (await ask(ward.router, stream=True)).status == 200
    ward.pods[0].engine.faults.breaks_stream_after = ward.pods[1].engine.faults.breaks_stream_after = 2
    before = sum(len(pod.engine.log) for pod in ward.pods)
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask(ward.router, stream=True)
    assert sum(len(pod.engine.log) for pod in ward.pods) == before + 1
    page = (await get(ward.router, "/metrics")).body.decode()
    assert f'wardrobe_requests_total{{adapter="{ward.c2.name}",code="0"' in page


async def test_a_request_that_kills_its_engine_meets_two_of_three(ward: Ward, store: Path, tmp_path: Path) -> None:
    async with gateway.pod(store, tmp_path / "cache-2") as third:
        pods = [*ward.pods, third]
        ward.pods = pods
        ward.route(ward.c2)
        await third.proved(ward.c2.name)
        ward.router.router.take_addresses(frozenset(pod.address for pod in pods))
        await ward.router.sees(ward.c2.name, *ward.addresses)
        for pod in pods:
            pod.engine.faults.breaks_stream_after = 0
        reply = await ask(ward.router, stream=True)
        assert (reply.status, reply.code) == (503, "engines_failed")
        assert sum(path == CHAT and "stream" in body for pod in pods for path, body in pod.engine.log) == 2


async def test_what_never_reached_an_engine_is_tried_until_somebody_answers(ward: Ward) -> None:
    refusing = [Address(f"127.0.0.1:{free_port()}", ward.pods[0].address.ops) for _ in range(4)]
    async with gateway.router(keys=KEYS) as router:
        router.router.take_addresses(frozenset({*refusing, ward.pods[1].address}))
        router.apply(routes([ward.c2.routed()], {"cardiology": ward.c2.name}))
        await router.sees(ward.c2.name, *(one.requests for one in refusing), ward.addresses[1])
        assert (await ask(router)).status == ANSWERED


async def test_the_agent_learns_who_asks_from_the_router_alone(ward: Ward) -> None:
    heard: list[str | None] = []

    async def listen(request: web.Request) -> web.Response:
        heard.append(request.headers.get(DEPARTMENT_HEADER))
        return web.json_response({}, headers={ADAPTER_HEADER: ward.c2.name})

    app = web.Application()
    app.router.add_post(CHAT, listen)
    agent = Server(lambda: app)
    await agent.start()
    headers = {"Authorization": "Bearer heart-of-cardiology", DEPARTMENT_HEADER: "paediatrics"}
    async with gateway.router(keys=KEYS) as router, aiohttp.ClientSession(headers=headers) as session:
        router.router.take_addresses(frozenset({Address(agent.address, ward.pods[0].address.ops)}))
        router.apply(routes([ward.c2.routed()], {"cardiology": ward.c2.name}))
        await router.sees(ward.c2.name, agent.address)
        async with session.post(router.server.url + CHAT, json={"model": "cardiology"}) as answer:
            assert answer.status == ANSWERED
    await agent.stop()
    assert heard == ["cardiology"]


async def test_a_full_engine_is_tried_elsewhere_and_then_said(ward: Ward) -> None:
    ward.pods[0].engine.faults.busy = True
    assert {(await ask(ward.router)).status for _ in range(4)} == {200}
    ward.pods[1].engine.faults.busy = True
    reply = await ask(ward.router)
    assert (reply.status, reply.code, reply.headers["Retry-After"]) == (429, "overloaded", "1")


@pytest.mark.parametrize(("refused_after", "told"), [(0.0, [None, None, None]), (0.3, [None, "no", "no"])])
async def test_who_waited_in_vain_at_a_full_replica_waits_at_no_other(
    ward: Ward, refused_after: float, told: list[str | None]
) -> None:
    waiting: list[str | None] = []

    async def full(request: web.Request) -> web.Response:
        waiting.append(request.headers.get(WAIT_HEADER))
        await asyncio.sleep(refused_after)
        return web.Response(status=429)

    def app() -> web.Application:
        made = web.Application()
        made.router.add_post(CHAT, full)
        return made

    agents = [Server(app) for _ in range(3)]
    for agent in agents:
        await agent.start()
    async with gateway.router(keys=KEYS, waited_seconds=0.2 if refused_after else 60.0) as router:
        router.router.take_addresses(frozenset(Address(agent.address, ward.pods[0].address.ops) for agent in agents))
        router.apply(routes([ward.c2.routed()], {"cardiology": ward.c2.name}))
        await router.sees(ward.c2.name, *(agent.address for agent in agents))
        reply = await ask(router)
    for agent in agents:
        await agent.stop()
    assert (reply.status, reply.code, reply.headers["Retry-After"]) == (429, "overloaded", "1")
    assert waiting == told


async def test_an_agent_keeps_nobody_waiting_whom_another_turned_away(ward: Ward) -> None:
    ward.pods[0].engine.faults.busy = True
    ward.pods[1].agent.engine_admission = EngineAdmission(0, wait_seconds=1e6)
    async with gateway.router(*ward.pods, keys=KEYS, waited_seconds=0.0) as router:
        router.apply(routes([ward.c2.routed()], {"cardiology": ward.c2.name}))
        await router.sees(ward.c2.name, *ward.addresses)
        for backend in router.router.backends:
            backend.last_used = int(backend.address == ward.addresses[1])  # so that it is asked after the other
        reply = await ask(router)
    assert (reply.status, reply.code) == (429, "overloaded")


async def test_nobody_left_is_said_with_when_to_come_again(ward: Ward) -> None:
    for pod in ward.pods:
        await pod.engine_server.stop()
        await pod.judged(ward.c2.name, Verdict.PENDING)
    reply = await ask(ward.router)
    assert (reply.status, reply.code, reply.headers["Retry-After"]) == (503, "no_proved_backend", "1")


async def test_an_engine_that_hangs_is_given_up(ward: Ward, store: Path, tmp_path: Path) -> None:
    ward.pods[0].engine.faults.hangs = ward.pods[1].engine.faults.hangs = True
    async with gateway.router(*ward.pods, keys=KEYS, answer_seconds=2.0) as router:
        router.apply(routes([ward.c2.routed()], {"cardiology": ward.c2.name}))
        await router.sees(ward.c2.name, *ward.addresses)
        assert (await ask(router)).status == 504
    await until(lambda: sum(pod.engine.cancelled for pod in ward.pods) == 1)


async def test_the_engines_own_refusals_come_through(ward: Ward) -> None:
    for pod in ward.pods:
        pod.engine.refusing = (422, "`inputs` cannot be empty")
    reply = await ask(ward.router)
    assert (reply.status, reply.code) == (422, "engine_refused")
    assert "cannot be empty" in reply.json["error"]["message"]
    assert reply.headers[ADAPTER_HEADER] == ward.c2.name


async def test_what_an_agent_refuses_comes_through_and_sets_nobody_aside(ward: Ward) -> None:
    body: dict[str, Any] = {"inputs": "x", "parameters": {"decoder_input_details": True}}
    reply = await ask(ward.router, path="/generate", **body)
    assert (reply.status, reply.code) == (422, "engine_refused")
    assert "decoder_input_details is not for departments" in reply.json["error"]["message"]
    assert not any(backend.aside_until for backend in ward.router.router.backends)


async def test_a_just_proved_adapter_is_found_though_the_last_poll_was_before(ward: Ward, store: Path) -> None:
    c3 = publish(store, "cardiology-v3")
    more = [ward.c2.routed(), c3.routed()]
    for pod in ward.pods:
        pod.apply(routes(more, {"cardiology": ward.c2.name}, generation=2))
        await pod.proved(c3.name)
    ward.router.apply(routes(more, {"cardiology": c3.name}, generation=3))
    assert (await ask(ward.router)).voice == "[cardiology-v3]"


async def test_routes_flip_under_traffic_and_nobody_gets_what_was_not_routed(ward: Ward) -> None:
    history = [ward.c2.name]  # by generation - 1
    wrong: list[str] = []
    failed: list[Reply] = []
    ended = False

    async def client() -> int:
        count = 0
        while not ended:
            first = len(history) - 1
            reply = await ask(ward.router, stream=False)
            count += 1
            if reply.status != ANSWERED:
                failed.append(reply)
            elif reply.headers[ADAPTER_HEADER] not in history[first:]:
                wrong.append(reply.headers[ADAPTER_HEADER])
            elif reply.voice != f"[{reply.headers[ADAPTER_HEADER].rpartition('-')[0]}]":
                wrong.append(reply.voice)
        return count

    clients = [asyncio.create_task(client()) for _ in range(4)]
    for number in range(20):
        live = (ward.c1, ward.c2)[number % 2]
        ward.route(live)
        history.append(live.name)
        assert (await ask(ward.router)).headers[ADAPTER_HEADER] == live.name
        await asyncio.sleep(0.02)
    ended = True
    counts = await asyncio.gather(*clients)
    assert (wrong, failed) == ([], [])
    assert min(counts) > 5


async def test_an_adapter_without_a_route_yet_is_said(ward: Ward) -> None:
    given = routes([ward.c2.routed()], {"cardiology": None})
    ward.router.apply(given)
    assert (await ask(ward.router)).code == "no_version_yet"
    assert (await ask(ward.router, ward.c2.name)).status == 200


# What the router says of itself


async def test_state_and_readiness(ward: Ward) -> None:
    assert (await get(ward.router, "/readyz")).status == 200
    assert (await get(ward.router, "/healthz")).status == 200
    state = RouterState.model_validate_json((await get(ward.router, "/state")).body)
    assert state.generation == 1
    assert {backend.address for backend in state.backends} == set(ward.addresses)
    assert all(ward.c2.name in backend.serves for backend in state.backends)
    ward.router.router.in_force.take("{}")
    state = ward.router.router.state()
    assert (state.generation, bool(state.problem)) == (1, True)
    ward.router.drain.begin()
    assert (await get(ward.router, "/readyz")).status == 503
    reply = await ask(ward.router)
    assert (reply.status, reply.headers["Connection"]) == (200, "close")


@pytest.mark.parametrize("path", ["/state", "/metrics", "/readyz", "/healthz"])
async def test_where_clients_ask_nothing_is_said_of_the_router(ward: Ward, path: str) -> None:
    assert (await get(ward.router, path)).status == ANSWERED
    async with aiohttp.ClientSession() as session, session.get(ward.router.server.url + path) as answer:
        assert answer.status == 404


async def test_before_the_first_routes_nothing_is_ready() -> None:
    async with gateway.router(keys=KEYS) as router:
        assert (await get(router, "/readyz")).status == 503
        assert (await ask(router)).code == "no_routes"
        assert router.router.state().generation is None


async def test_it_starts_from_what_it_kept(ward: Ward, tmp_path: Path) -> None:
    async with gateway.router(*ward.pods, keys=KEYS, memory=tmp_path) as router:
        router.apply(routes([ward.c1.routed()], {"cardiology": ward.c1.name}, generation=9))
    async with gateway.router(keys=KEYS, memory=tmp_path) as router:  # and no source that says anything
        await until(router.router.ready)
        assert (await ask(router)).voice == "[cardiology-v1]"
        assert router.router.state().generation == 9


async def test_metrics_of_what_left_the_routes_go(ward: Ward) -> None:
    await ask(ward.router)
    await ask(ward.router, "gpt-4")
    assert ward.c2.name in (await get(ward.router, "/metrics")).body.decode()
    ward.router.apply(routes([ward.p1.routed()], {"paediatrics": ward.p1.name}, generation=2))
    page = (await get(ward.router, "/metrics")).body.decode()
    assert "cardiology" not in page
    assert "wardrobe_routes_generation 2.0" in page


# Discovery


class StateServer:
    """An agent of which only `/state` is there."""

    def __init__(self, deployment: str = gateway.DEPLOYMENT) -> None:
        self.deployment = deployment
        self.incarnation = "first"
        self.answers = asyncio.Event()
        self.answers.set()
        self.server = Server(self._app)

    @property
    def address(self) -> Address:
        """Where one port has all, as in release 0.1."""
        return Address(self.server.address, "127.0.0.1:1")

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/state", self._state)
        return app

    async def _state(self, _: web.Request) -> web.Response:
        await self.answers.wait()
        applied = AdapterState(
            digest="sha256:" + "a" * 64, verdict=Verdict.APPLIED, reason=Reason.PROVED, served=True, since=""
        )
        state = AgentState(
            deployment=self.deployment,
            generation=1,
            incarnation=self.incarnation,
            ready=True,
            draining=False,
            engine=EngineState(up=True, since=""),
            adapters={"v-aaaaaaaa": applied},
        )
        return web.Response(text=state.model_dump_json(by_alias=True))


@contextlib.asynccontextmanager
async def state_server(deployment: str = gateway.DEPLOYMENT) -> AsyncIterator[StateServer]:
    agent = StateServer(deployment)
    await agent.server.start()
    try:
        yield agent
    finally:
        agent.answers.set()
        await agent.server.stop()


async def test_slices_are_discovery_not_authority() -> None:
    async with state_server() as agent, aiohttp.ClientSession() as session:
        backends = Backends(session, gateway.DEPLOYMENT)
        backends.discover(frozenset({agent.address}))
        await backends.refresh()
        backends.discover(frozenset())
        await asyncio.sleep(0.05)  # older than a round that may be joined
        await backends.refresh()
        assert [backend.serves for backend in backends] == [{"v-aaaaaaaa"}]
        agent.incarnation = "somebody else at the same address"
        await asyncio.sleep(0.05)
        await backends.refresh()
        assert list(backends) == []


async def test_one_that_is_listed_no_longer_and_silent_is_forgotten() -> None:
    async with state_server() as agent, aiohttp.ClientSession() as session:
        backends = Backends(session, gateway.DEPLOYMENT)
        backends.discover(frozenset({agent.address}))
        await agent.server.stop()
        await backends.refresh()
        assert [backend.answering for backend in backends] == [False]
        backends.discover(frozenset())
        await asyncio.sleep(0.05)
        await backends.refresh()
        assert list(backends) == []


async def test_one_late_word_of_an_agent_takes_no_requests_from_it_and_silence_does() -> None:
    """On two busy cores a state came later than it is waited for, and an only replica's department got 503."""
    async with state_server() as agent, aiohttp.ClientSession() as session:
        backends = Backends(session, gateway.DEPLOYMENT)
        backends.discover(frozenset({agent.address}))
        await backends.refresh()
        (backend,) = backends
        agent.answers.clear()
        await asyncio.sleep(0.05)
        await backends.refresh()
        await until(lambda: backend.late)
        assert backend.answering
        assert backend.serves == {"v-aaaaaaaa"}
        backend.overdue(time.monotonic() + SILENT_SECONDS)
        assert not backend.answering
        assert backend.serves == frozenset()


async def test_another_deployments_agent_gets_no_requests() -> None:
    async with state_server("other") as agent, aiohttp.ClientSession() as session:
        backends = Backends(session, gateway.DEPLOYMENT)
        backends.discover(frozenset({agent.address}))
        await backends.refresh()
        assert [backend.serves for backend in backends] == [frozenset()]
