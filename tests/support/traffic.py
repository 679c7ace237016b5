"""Traffic: steady requests to a deployment, and a record of every answer.

A connection that is refused, or not made within seconds, is tried once more, counted apart: no byte was sent. That is
what clients do when a pod behind a Service has just gone. They wait a little before, as the openai client does: until
kube-proxy has heard of it (it writes its rules once a second at most), half of the connections to two pods go to the
one that is gone.

The adapter in an answer's header is only what the router believes. So the texts count, too: all questions are the
same, the likeliest words are asked for, and every answer must be the one that its adapter is known to give (`voices`).
The batch in which a row is decoded changes no text here: of 2,700 answers in batches of 1 to 32 rows all were the same.
"""

import asyncio
import contextlib
import itertools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from wardrobe_contracts.state import ADAPTER_HEADER

CONNECTS = 5.0
"""Seconds that a connection may take, as in the openai client: to a pod that has gone it may never be made."""
PAUSE = 1.0
"""Seconds before a refused connection is tried again."""
QUESTION = "What are the symptoms?"
WHOLE, STREAM = 8, 24
"""Tokens of an answer."""
LENGTHS = (WHOLE, STREAM)

Known = dict[tuple[str, int], str]
"""What each adapter answers with so many tokens."""


@dataclass(frozen=True)
class Answer:
    """One request's fate. Times are of the monotonic clock."""

    department: str
    began: float
    ended: float
    status: int
    """0 where there was no answer."""
    engine_name: str = ""
    """What the header says."""
    error: str = ""
    text: str = ""
    """The assistant's words, of a stream's pieces together."""
    adapter: str = ""
    """The Adapter that answered, by header and text; where these disagree, a sentence that says so."""
    retry_after: str = ""
    """When to ask again, where it was refused for now."""

    @property
    def good(self) -> bool:
        """Whether it was answered with a whole body."""
        return self.status == 200 and not self.error


@dataclass
class Traffic:
    """Running traffic; `answers` grows."""

    url: str
    keys: dict[str, str]
    """A key for each department that is asked."""
    per_second: float
    known: Known
    tokens: int = WHOLE
    stream: bool = False
    patience: float = 60.0
    """Seconds until a request counts as failed."""
    answers: list[Answer] = field(default_factory=list)
    refused: int = 0
    """Connections tried again."""

    def since(self, began: float) -> list[Answer]:
        """Answers to requests that began after a moment."""
        return [answer for answer in list(self.answers) if answer.began >= began]

    def failures(self) -> list[Answer]:
        """Requests without a whole, good answer."""
        return [answer for answer in list(self.answers) if not answer.good]

    def misspoken(self) -> list[Answer]:
        """Good answers whose text is not what the adapter in their header is known to answer."""
        return [answer for answer in list(self.answers) if answer.good and answer.adapter != _name(answer.engine_name)]

    async def drive(self, ended: asyncio.Event) -> None:
        """Ask the departments in turn until `ended`, then wait for what is under way."""
        connector = aiohttp.TCPConnector(limit=0, force_close=True)  # a connection each: each finds its own router
        limit = aiohttp.ClientTimeout(total=self.patience, sock_connect=CONNECTS)
        async with aiohttp.ClientSession(connector=connector, timeout=limit) as session, asyncio.TaskGroup() as group:
            number, begin = 0, time.monotonic()
            while not ended.is_set():
                department = sorted(self.keys)[number % len(self.keys)]
                group.create_task(self._ask(session, department))
                number += 1
                due = begin + number / self.per_second
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), max(0.0, due - time.monotonic()))

    async def keep_asking(self, clients: int, ended: asyncio.Event) -> None:
        """So many clients until `ended`, each of whom asks the next department as soon as it is answered."""
        departments = itertools.cycle(sorted(self.keys))

        async def client(session: aiohttp.ClientSession) -> None:
            while not ended.is_set():
                await self._ask(session, next(departments))

        limit = aiohttp.ClientTimeout(total=self.patience, sock_connect=CONNECTS)
        async with aiohttp.ClientSession(timeout=limit) as session, asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(client(session))

    async def _ask(self, session: aiohttp.ClientSession, department: str) -> None:
        began = time.monotonic()
        try:
            answer = await self._once(session, department, began)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            self.refused += 1
            answer = await self._again(session, department, began)
        except (aiohttp.ClientError, TimeoutError) as error:
            answer = Answer(department, began, time.monotonic(), 0, error=f"{type(error).__name__}: {error}")
        self.answers.append(answer)

    async def _again(self, session: aiohttp.ClientSession, department: str, began: float) -> Answer:
        await asyncio.sleep(PAUSE)
        try:
            return await self._once(session, department, began)
        except (aiohttp.ClientError, TimeoutError) as error:
            return Answer(department, began, time.monotonic(), 0, error=f"{type(error).__name__}: {error}")

    async def _once(self, session: aiohttp.ClientSession, department: str, began: float) -> Answer:
        body = question(department, self.tokens, stream=self.stream)
        headers = {"Authorization": f"Bearer {self.keys[department]}"}
        async with session.post(f"{self.url}/v1/chat/completions", json=body, headers=headers) as answer:
            came = await answer.text()
            cut = self.stream and answer.status == 200 and "data: [DONE]" not in came
            error = "the stream was cut" if cut else "" if answer.status == 200 else came[:300]
            name, later = (answer.headers.get(header, "") for header in (ADAPTER_HEADER, "Retry-After"))
            ended = time.monotonic()
        if error:
            return Answer(department, began, ended, answer.status, name, error, retry_after=later)
        text = streamed_words(came) if self.stream else words(came)
        return Answer(department, began, ended, answer.status, name, "", text, self._adapter(name, text))

    def _adapter(self, engine_name: str, text: str) -> str:
        name = _name(engine_name)
        if self.known.get((engine_name, self.tokens)) == text:
            return name
        speakers = [_name(other) for (other, _), known in self.known.items() if known == text]
        return f"{name} by its header, {' and '.join(speakers) or 'nobody known'} by its text"


def _name(engine_name: str) -> str:
    """The Adapter's: engines call it so with the beginning of its digest."""
    return engine_name.rpartition("-")[0]


def question(model: str, tokens: int, *, stream: bool = False) -> dict[str, Any]:
    """What is asked of a department or an adapter: the likeliest words, so that each has one answer."""
    messages = [{"role": "user", "content": QUESTION}]
    return {"model": model, "messages": messages, "max_tokens": tokens, "temperature": 0, "stream": stream}


def words(body: str) -> str:
    """The text of a whole answer."""
    text: str = json.loads(body)["choices"][0]["message"]["content"]
    return text


def streamed_words(body: str) -> str:
    """The text of a stream that was not cut."""
    events = (line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: "))
    pieces = [json.loads(event)["choices"] for event in events if event != "[DONE]"]
    return "".join(choices[0]["delta"].get("content") or "" for choices in pieces if choices)


@contextlib.contextmanager
def flowing(traffic: Traffic) -> Iterator[Traffic]:
    """Traffic from a thread of its own while the block runs."""
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(traffic.drive(ended)), name="traffic")
    thread.start()
    try:
        yield traffic
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
