"""What router and agent add to a request, and how many requests one core of router carries.

Run as `.venv/bin/python benchmarks/gateway_latency.py`. Everything runs on this machine: the program under test has
core 0 to itself, upstream and clients share the others. The bare forwarder is the least that aiohttp can do for the
same job: read the request, ask upstream, answer. Figures are compared within one run, the two sides taking turns.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
from aiohttp import web

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.artifacts import publish
from support.fake_engine import FakeEngine
from support.gateway import DEPLOYMENT, routes, text

from wardrobe_contracts.state import ADAPTER_HEADER, AdapterState, AgentState, EngineState, Reason, Verdict
from wardrobe_gateway.agent import __main__ as agent_program
from wardrobe_gateway.process.source import Address
from wardrobe_gateway.router import __main__ as router_program

CHAT = "/v1/chat/completions"
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "cardiology",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 64}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 64, "total_tokens": 104},
    }
).encode()
QUESTION = json.dumps(
    {
        "model": "cardiology",
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "How much, and how often? " * 8}],
    }
).encode()
KEY = "heart-of-cardiology"
SECONDS, ROUNDS, CONNECTIONS, WARM_UP = 3.0, 5, 32, 300


# A constant upstream and a client, both as near to nothing as Python allows


class Upstream(asyncio.Protocol):
    """Answers every request with the same bytes; `/state` with an agent's."""

    def __init__(self, adapter: str) -> None:
        applied = AdapterState(
            digest="sha256:" + "a" * 64, verdict=Verdict.APPLIED, reason=Reason.PROVED, served=True, since=""
        )
        state = AgentState(
            deployment=DEPLOYMENT,
            generation=1,
            incarnation="one",
            ready=True,
            draining=False,
            engine=EngineState(up=True, since=""),
            adapters={adapter: applied},
        )
        self._answer = _http(ANSWER, f"{ADAPTER_HEADER}: {adapter}\r\n")
        self._state = _http(state.model_dump_json(by_alias=True).encode(), "")
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self._held += data
        while (size := _size(self._held)) is not None:
            self._transport.write(self._state if self._held.startswith(b"GET /state") else self._answer)
            self._held = self._held[size:]


def _http(body: bytes, headers: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def _size(data: bytes) -> int | None:
    """Length of the first message, None where it is not whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[:end].lower()
    at = head.find(b"content-length:")
    length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    return end + 4 + length if len(data) >= end + 4 + length else None


async def ask(port: int, until: float, count: int = 10**9) -> list[float]:
    """Requests one after the other on one connection; the seconds that each took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    message = f"{head}Content-Length: {len(QUESTION)}\r\n\r\n".encode() + QUESTION
    took: list[float] = []
    while time.perf_counter() < until and len(took) < count:
        began = time.perf_counter()
        writer.write(message)
        answer = b""
        while _size(answer) is None:
            answer += await reader.read(65536)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        took.append(time.perf_counter() - began)
    writer.close()
    return took


async def per_second(port: int) -> float:
    """Requests per second over CONNECTIONS connections."""
    began = time.perf_counter()
    counts = await asyncio.gather(*(ask(port, began + SECONDS) for _ in range(CONNECTIONS)))
    return sum(map(len, counts)) / (time.perf_counter() - began)


async def latency(port: int) -> float:
    """Median seconds of a request at one connection."""
    return statistics.median(await ask(port, time.perf_counter() + SECONDS))


# Programs, each a process of its own


class Fixed:
    """Routes and addresses that never change."""

    def __init__(self, routes_text: str, addresses: frozenset[Address]) -> None:
        self._routes = routes_text
        self._addresses = addresses

    async def routes(self) -> AsyncIterator[str | None]:
        """The same for ever."""
        yield self._routes
        await asyncio.Event().wait()

    async def addresses(self, _service: str) -> AsyncIterator[frozenset[Address]]:
        """The same for ever."""
        yield self._addresses
        await asyncio.Event().wait()


def _source(folder: Path, upstream: int) -> Fixed:
    address = f"127.0.0.1:{upstream}"
    return Fixed((folder / "routes.json").read_text(), frozenset({Address(address, address)}))


async def run_upstream(folder: Path, port: int, _: int) -> None:
    """The constant upstream, in an agent's place."""
    adapter = json.loads((folder / "routes.json").read_text())["adapters"][0]["version"]
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(adapter), "127.0.0.1", port)
    await server.serve_forever()


class ConstantEngine(FakeEngine):
    """Proves like the test engine, chats like the upstream."""

    async def _chat(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=ANSWER, content_type="application/json")


async def run_engine(_: Path, port: int, __: int) -> None:
    """The engine behind the agent."""
    runner = web.AppRunner(ConstantEngine().app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


async def run_bare(_: Path, port: int, upstream: int) -> None:
    """The least that aiohttp can do."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def forward(request: web.Request) -> web.Response:
            body = await request.read()
            async with session.post(
                f"http://127.0.0.1:{upstream}{request.path}", data=body, headers={"Content-Type": "application/json"}
            ) as answer:
                return web.Response(body=await answer.read(), content_type="application/json")

        app = web.Application()
        app.router.add_post(CHAT, forward)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


async def run_router(folder: Path, port: int, upstream: int) -> None:
    """The router as it is shipped, but for the source of its routes."""
    options = ["--deployment", DEPLOYMENT, "--namespace", "n", "--routes", "r", "--service", "s", *_ports(port)]
    options += ["--keys", str(folder / "keys"), "--memory", str(folder)]
    await router_program.run(router_program.Options.parse(options), _source(folder, upstream))


async def run_agent(folder: Path, port: int, upstream: int) -> None:
    """The agent likewise."""
    options = ["--deployment", DEPLOYMENT, "--namespace", "n", "--routes", "r", *_ports(port)]
    options += ["--store", str(folder / "store"), "--cache", str(folder / "cache")]
    options += ["--engine-url", f"http://127.0.0.1:{upstream}", "--quantization", "None"]
    await agent_program.run(agent_program.Options.parse(options), _source(folder, upstream))


def _ports(port: int) -> list[str]:
    return ["--port", str(port), "--ops-port", str(port + 1)]


ROLES = {"upstream": run_upstream, "engine": run_engine, "bare": run_bare, "router": run_router, "agent": run_agent}


@contextlib.contextmanager
def program(role: str, folder: Path, upstream: int = 0, *, core: int | None = None) -> Iterator[int]:
    """A program while the block runs, optionally on one core; its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    arguments = [role, str(folder), str(port), str(upstream), "-1" if core is None else str(core)]
    process = subprocess.Popen([sys.executable, __file__, *arguments])
    try:
        _await_answer(port, ready=role in {"router", "agent"})
        yield port
    finally:
        process.kill()
        process.wait()


def _await_answer(port: int, *, ready: bool) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if not ready:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            with urllib.request.urlopen(f"http://127.0.0.1:{port + 1}/readyz", timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


# The two measurements


def throughput(folder: Path) -> tuple[float, float]:
    """Requests per second of the bare forwarder and of the router, each alone on core 0."""
    bare_rates, router_rates = [], []
    with (
        program("upstream", folder, core=1) as upstream,
        program("bare", folder, upstream, core=0) as bare,
        program("router", folder, upstream, core=0) as router,
    ):
        for port in (bare, router):
            asyncio.run(ask(port, time.perf_counter() + 30, WARM_UP))
        for _ in range(ROUNDS):
            bare_rates.append(asyncio.run(per_second(bare)))
            router_rates.append(asyncio.run(per_second(router)))
    return statistics.median(bare_rates), statistics.median(router_rates)


def added_latency(folder: Path) -> tuple[float, float, float]:
    """Median seconds at one connection: engine alone, behind the bare forwarder, behind router and agent."""
    rounds = []
    with (
        program("engine", folder) as engine,
        program("bare", folder, engine) as bare,
        program("agent", folder, engine) as agent,
        program("router", folder, agent) as router,
    ):
        for port in (engine, bare, router):
            asyncio.run(ask(port, time.perf_counter() + 30, WARM_UP))
        for _ in range(ROUNDS):
            rounds.append([asyncio.run(latency(port)) for port in (engine, bare, router)])
    alone, forwarded, behind = (statistics.median(column) for column in zip(*rounds, strict=True))
    return alone, forwarded, behind


def main() -> None:
    """Measure and print."""
    os.sched_setaffinity(0, set(range(1, os.cpu_count() or 1)) or {0})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifact = publish(folder / "store", "cardiology-v1")
        (folder / "routes.json").write_text(text(routes([artifact.routed()], {"cardiology": artifact.name})))
        (folder / "keys" / "cardiology").mkdir(parents=True)
        (folder / "keys" / "cardiology" / "keys").write_text(KEY)
        bare, router = throughput(folder)
        os.sched_setaffinity(0, set(range(os.cpu_count() or 1)))
        alone, forwarded, behind = added_latency(folder)
    print(f"requests/s on one core, {CONNECTIONS} connections: bare forwarder {bare:.0f}, router {router:.0f}")
    print(f"router / bare forwarder: {router / bare:.2f} (wanted: at least 0.50)")
    print(
        f"p50 at one connection: engine {alone * 1000:.2f} ms, behind a bare forwarder {forwarded * 1000:.2f} ms, "
        f"behind router and agent {behind * 1000:.2f} ms"
    )
    print(f"router and agent add {(behind - alone) * 1000:.2f} ms (wanted: below 1.50)")


def _role() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("folder", type=Path)
    for name in ("port", "upstream", "core"):
        parser.add_argument(name, type=int)
    arguments = parser.parse_args()
    if arguments.core >= 0:
        os.sched_setaffinity(0, {arguments.core % (os.cpu_count() or 1)})
    else:
        os.sched_setaffinity(0, set(range(os.cpu_count() or 1)))
    asyncio.run(ROLES[arguments.role](arguments.folder, arguments.port, arguments.upstream))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _role()
    else:
        main()
