"""The router's end of the shard: requests go in as lines of JSON, tokens come out of a queue for each."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from typing import Any

LINE_BYTES = 64 << 20
"""One line has the scores of a whole prompt."""


class GenerationError(Exception):
    """A request failed in the shard."""


class Shard:
    """A running shard."""

    def __init__(self, process: Process) -> None:
        self.ready = asyncio.Event()
        self.healthy = True
        self._process = process
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Queue[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls) -> "Shard":
        """In a process group of its own (launcher/src/main.rs:1157)."""
        command = (sys.executable, "-m", "tgi_stand_in.shard")
        return cls(
            await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=LINE_BYTES, process_group=0)
        )

    async def ended(self) -> None:
        """Wait until it has ended and all that it wrote is read."""
        await self._process.wait()
        await self._reader

    def kill(self) -> None:
        """At the end; it may be gone already."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def generate(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """What the shard says of a request; closing it stops the generation. Raises GenerationError."""
        number = next(self._numbers)
        answers = self._answers[number] = asyncio.Queue()
        if not self.healthy:
            raise GenerationError("transport error")
        self._write({**request, "id": number})
        finished = False
        try:
            while not finished:
                said = await answers.get()
                if "error" in said:
                    finished = True
                    raise GenerationError(said["error"])
                finished = bool(said.get("end"))
                yield said
        finally:
            del self._answers[number]
            if not finished:
                self._write({"cancel": number})

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "ready" in said:
                self.ready.set()
            elif answers := self._answers.get(said["id"]):
                answers.put_nowait(said)
        self.healthy = False
        for answers in self._answers.values():
            answers.put_nowait({"error": "Server error: transport error"})
