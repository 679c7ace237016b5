"""The engine's own metrics on its agent's page: all of them or none, and never at the price of the agent's own."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families
from support import gateway
from support.artifacts import Artifact, publish
from support.gateway import Pod, routes, until

from wardrobe_contracts.engines import EngineType
from wardrobe_gateway.agent.engine_metrics import UnreadableError, own_families
from wardrobe_gateway.agent.patience import Patience

from .test_agent import ask

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SHOWN = "wardrobe_agent_engine_metrics_shown"

TGI = """\
# HELP tgi_request_count Total number of requests
# TYPE tgi_request_count counter
tgi_request_count 12

# TYPE tgi_request_failure counter
tgi_request_failure{err="validation"} 3
tgi_request_failure{err="dropped"} 1

# TYPE tgi_batch_current_size gauge
tgi_batch_current_size 0

# TYPE tgi_request_skipped_tokens summary
tgi_request_skipped_tokens{quantile="0.5"} 0
tgi_request_skipped_tokens_sum 0
tgi_request_skipped_tokens_count 2

# HELP tgi_request_duration Total time spent processing the request
# TYPE tgi_request_duration histogram
tgi_request_duration_bucket{le="0.00015000000000000001"} 0
tgi_request_duration_bucket{le="+Inf"} 2
tgi_request_duration_sum 1.5
tgi_request_duration_count 2

"""
VLLM = """\
# HELP python_info Python platform information
# TYPE python_info gauge
python_info{implementation="CPython",major="3"} 1.0
# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.79e+09
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="base"} 0.0
# HELP vllm:generation_tokens_total Number of generation tokens processed.
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="a \\"base\\", of C:\\\\ \\n"} 1.5e+06
# HELP vllm:generation_tokens_created Number of generation tokens processed.
# TYPE vllm:generation_tokens_created gauge
vllm:generation_tokens_created{engine="0",model_name="base"} 1.7e+09
"""
OURS = """\
# HELP wardrobe_engine_queue_size Requests that wait for a place in the batch
# TYPE wardrobe_engine_queue_size gauge
wardrobe_engine_queue_size 3.0
# HELP http_requests_total What was asked
# TYPE http_requests_total counter
http_requests_total{text="how much? "} 1.0
"""


@pytest.fixture
def v1(store: Path) -> Artifact:
    return publish(store, "cardiology-v1")


def says(body: bytes, **more: int | str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=int(more.get("status", 200)), content_type="text/plain")

    return answer


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def trickles(request: web.Request) -> web.StreamResponse:
    """A line for ever, a byte at a time."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.01)


async def floods(request: web.Request) -> web.StreamResponse:
    """Without an end."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(OURS.encode() * 1000)


async def breaks(request: web.Request) -> web.StreamResponse:
    """In the middle, though what has come ends with a line."""
    response = web.StreamResponse(headers={"Content-Length": "100000"})
    await response.prepare(request)
    await response.write(OURS.encode())
    assert request.transport is not None
    request.transport.close()
    return response


async def redirects(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/v1/models")


async def page(pod: Pod) -> str:
    """The agent's page, which is one exposition whatever the engine says."""
    async with aiohttp.ClientSession() as session, session.get(f"{pod.ops.url}/metrics") as answer:
        assert (answer.status, answer.content_type, answer.charset) == (200, "text/plain", "utf-8")
        text = await answer.text()
    names = [family.name for family in text_string_to_metric_families(text)]
    assert len(set(names)) == len(names)
    assert {"wardrobe_agent_engine_up", SHOWN} <= set(names)
    return text


async def up(pod: Pod) -> None:
    await until(lambda: pod.reconciler.health.state.up)


@pytest.mark.parametrize(
    ("engine", "said", "shown"),
    [
        (EngineType.TGI, TGI, 'tgi_request_failure{err="dropped"} 1\n'),
        (EngineType.VLLM, VLLM, 'vllm:num_requests_running{engine="0",model_name="base"} 0.0\n'),
        (EngineType.TRANSFORMERS, OURS, "wardrobe_engine_queue_size 3.0\n"),
    ],
)
async def test_an_engines_own_families_are_shown_as_it_writes_them(
    store: Path, tmp_path: Path, engine: EngineType, said: str, shown: str
) -> None:
    async with gateway.pod(store, tmp_path / "cache", engine=engine) as pod:
        pod.engine.metrics = says(said.encode())
        await up(pod)
        text = await page(pod)
    assert shown in text
    assert not any(hidden in text for hidden in ("process_", "python_", "how much"))
    assert f"{SHOWN} 1.0\n" in text


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(says(OURS.encode(), status=500), id="fails"),
        pytest.param(says(b""), id="nothing"),
        pytest.param(says(b"<html>\n<body>wardrobe_engine_x 1</body>\n"), id="another page"),
        pytest.param(says(bytes(range(256)) * 100), id="rubbish"),
        pytest.param(says(OURS.encode("utf-16")), id="UTF-16"),
        pytest.param(says(OURS.replace("Requests", "Requêtes").encode("latin-1")), id="Latin-1"),
        pytest.param(says(OURS.rstrip("\n").encode()), id="half a line"),
        pytest.param(says(b"wardrobe_engine_queue_size{x=\n"), id="a broken line"),
        pytest.param(says(OURS.encode() * 6000), id="megabytes"),
        floods,
        breaks,
        redirects,
    ],
)
async def test_what_cannot_be_read_leaves_the_agents_own_alone(pod: Pod, handler: Handler) -> None:
    await leaves_alone(pod, handler)
    pod.engine.metrics = says(OURS.encode())
    assert f"{SHOWN} 1.0\n" in await page(pod)


@pytest.mark.parametrize("patience", [Patience(metrics=0.2)])
@pytest.mark.parametrize("handler", [hangs, trickles])
async def test_what_does_not_come_in_time_leaves_the_agents_own_alone(pod: Pod, handler: Handler) -> None:
    await leaves_alone(pod, handler)


async def leaves_alone(pod: Pod, handler: Handler) -> None:
    pod.engine.metrics = handler
    await up(pod)
    text = await page(pod)
    assert f"{SHOWN} 0.0\n" in text
    assert "wardrobe_engine" not in text


async def test_an_engine_that_is_down_is_not_asked(pod: Pod) -> None:
    asked = 0

    async def counts(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return await says(OURS.encode())(request)

    pod.engine.metrics = counts
    pod.engine.faults.unhealthy = True
    await until(lambda: "503" in pod.reconciler.health.state.message)
    assert f"{SHOWN} 0.0\n" in await page(pod)
    assert not asked


async def test_nothing_of_who_asks_for_metrics_reaches_the_engine(pod: Pod) -> None:
    seen: list[dict[str, str]] = []

    async def notes(request: web.Request) -> web.StreamResponse:
        seen.append(dict(request.headers))
        return await says(OURS.encode())(request)

    pod.engine.metrics = notes
    await up(pod)
    headers = {"Authorization": "Bearer secret", "Cookie": "a=b", "Accept": "application/openmetrics-text"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{pod.ops.url}/metrics") as answer:
        assert answer.content_type == "text/plain"
    assert [{name: one[name] for name in one.keys() - {"Host"}} for one in seen] == [{"Accept": "text/plain"}]


async def test_why_they_are_not_shown_is_logged_once_and_without_the_engines_words(
    pod: Pod, v1: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    pod.engine.metrics = says(b'wardrobe_engine_x{text="how much? \n')
    pod.apply(routes([v1.routed()], {"cardiology": v1.name}))
    await pod.proved(v1.name)
    await ask(pod, v1.name)
    for _ in range(3):
        await page(pod)
    said = [record.getMessage() for record in caplog.records if "metrics" in record.getMessage()]
    assert said == ["the engine's metrics are not shown: line 1 of its own is not in Prometheus' form"]


GAUGE = "# TYPE tgi_a gauge\n"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (GAUGE + "tgi_a 1_000\n", "line 2 .* form"),
        (GAUGE + "tgi_a 1\r\n", "line 2 .* form"),
        (GAUGE + "tgi_a  1\n", "line 2 .* form"),
        (GAUGE + "tgi_a ٣\n", "line 2 .* form"),
        (GAUGE + "tgi_a\n", "line 2 .* form"),
        (GAUGE + 'tgi_a{b="c} 1\n', "line 2 .* form"),
        (GAUGE + 'tgi_a{b="\\c"} 1\n', "line 2 .* form"),
        (GAUGE + 'tgi_a{b="\0"} 1\n', "line 2 .* form"),
        (GAUGE + 'tgi_a{b="c",} 1\n', "line 2 .* form"),
        (GAUGE + 'tgi_a{b="c"} 1 # {id="x"} 1\n', "line 2 .* form"),
        ("# TYPE tgi_a thing\ntgi_a 1\n", "line 1 .* form"),
        ("# TYPE tgi_a\ntgi_a 1\n", "line 1 .* form"),
        ("tgi_a 1\n", "line 1 .* another family"),
        (GAUGE + "tgi_ab 1\n", "line 2 .* another family"),
        (GAUGE + "tgi_a 1\ntgi_a 2\n", "line 3 .* again"),
        (GAUGE + GAUGE + "tgi_a 1\n", "line 2 .* again"),
        (GAUGE + "tgi_a 1\n# TYPE tgi_b gauge\ntgi_b 1\n" + GAUGE, "line 5 .* again"),
        (GAUGE + "tgi_a 1\n# TYPE tgi_b gauge\ntgi_b 1\n# HELP tgi_a of a\n", "line 5 .* again"),
        ("# TYPE tgi_a counter\ntgi_a_count 1\n# TYPE tgi_a_count gauge\ntgi_a_count 1\n", "line 4 .* again"),
        ("tgi 1\nother_a 1\n", "begins with tgi_"),
        (GAUGE + "tgi_a 1", "no end"),
    ],
)
def test_what_would_spoil_a_page_is_not_added_to_it(said: str, why: str) -> None:
    with pytest.raises(UnreadableError, match=why):
        own_families(said, "tgi_")


def test_numbers_are_read_as_engines_write_them() -> None:
    values = ["0", "-1.5", "1e-05", "1.79e+09", "NaN", "+Inf", "-Inf", "inf"]
    said = GAUGE + "".join(f'tgi_a{{b="{number}"}} {value}\n' for number, value in enumerate(values))
    assert own_families(said, "tgi_") == said
