"""People who ask: steady requests of all departments, and what became of each."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import aiohttp

from .asking import ADAPTER_HEADER, PATH, adapters, ask, body, headers, words

TOKENS = (8, 16, 32)
"""An answer has as few of these as tell the adapters apart."""
PER_SECOND = 10.0
WITHIN = 30.0


@dataclass(frozen=True)
class Reply:
    """One request's fate. Times are of the monotonic clock."""

    department: str
    began: float
    ended: float
    status: int
    """0 where nothing came back."""
    adapter: str = ""
    """Name of the Adapter that answered."""
    error: str = ""
    text: str = ""


@dataclass(frozen=True)
class Known:
    """What each Adapter answers to the question; the likeliest words, so it is always the same."""

    tokens: int
    texts: dict[str, str]

    @property
    def alike(self) -> list[str]:
        """Adapters that no text tells from another."""
        texts = list(self.texts.values())
        return sorted(adapter for adapter, text in self.texts.items() if texts.count(text) > 1)


def learn(url: str, keys: dict[str, str]) -> Known:
    """Ask every adapter by its own name, while nobody else asks. Raises DemoError where one does not answer."""
    known = Known(0, {})
    for tokens in TOKENS:
        asked = {name: key for department, key in keys.items() for name in adapters(url, department, key)}
        texts = {adapter_of(name): ask(url, name, key, tokens).text for name, key in asked.items()}
        known = Known(tokens, texts)
        if not known.alike:
            break
    return known


def adapter_of(name: str) -> str:
    """The Adapter's name: engines call it so with the beginning of its digest."""
    return name.rpartition("-")[0]


@dataclass
class Traffic:
    """Requests to a router; `replies` grows."""

    url: str
    keys: dict[str, str]
    """A key for each department that asks."""
    tokens: int = TOKENS[0]
    replies: list[Reply] = field(default_factory=list)

    async def drive(self, ended: asyncio.Event) -> None:
        """Ask for the departments in turn until `ended`, then wait for what is under way."""
        connector = aiohttp.TCPConnector(limit=0, force_close=True)  # each finds its own router
        timeout = aiohttp.ClientTimeout(total=WITHIN)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as group:
            number, began = 0, time.monotonic()
            while not ended.is_set():
                group.create_task(self._ask(session, sorted(self.keys)[number % len(self.keys)]))
                number += 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), max(0.0, began + number / PER_SECOND - time.monotonic()))

    async def _ask(self, session: aiohttp.ClientSession, department: str) -> None:
        began, sent = time.monotonic(), headers(self.keys[department])
        try:
            async with session.post(f"{self.url}{PATH}", data=body(department, self.tokens), headers=sent) as answer:
                came, adapter = await answer.text(), adapter_of(answer.headers.get(ADAPTER_HEADER, ""))
            error, text = ("", words(came)) if answer.status == 200 else (came[:200], "")
            reply = Reply(department, began, time.monotonic(), answer.status, adapter, error, text)
        except (aiohttp.ClientError, TimeoutError) as failed:
            reply = Reply(department, began, time.monotonic(), 0, error=f"{type(failed).__name__}: {failed}")
        self.replies.append(reply)


@contextmanager
def flowing(traffic: Traffic) -> Iterator[None]:
    """Traffic from a thread of its own while the block runs."""
    loop, ended = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(traffic.drive(ended)), daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
