"""A real S3 server on a folder, and what comes between it and who asks."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from devcluster import build

from .ports import free_port
from .real_engines import python, run, server

BUCKET, KEY = "hospital", "2026/cardiology.jsonl"
ACCESS, SECRET = "reader", "reader-secret"
KNOWN = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}


@dataclass
class Line:
    """Bytes go through it; of each answer at most `cut` while that is set, and then `when_cut` is called.

    `passed` counts what came from the server, over all connections.
    """

    server: int
    port: int = 0
    cut: int | None = None
    then: int | None = None
    """What `cut` is from the first such answer on."""
    when_cut: Callable[[], None] = lambda: None
    passed: int = 0
    held: threading.Event = field(default_factory=threading.Event)
    """Set once an answer was cut, where it is held open instead of closed."""
    hold: bool = False
    """Until `go_on`, which closes it."""
    go_on: Callable[[], object] = lambda: None
    end: Callable[[], object] = lambda: None
    _let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, ready: threading.Event) -> None:
        """Take connections until `end`."""
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        self._let_go = asyncio.Event()
        self.end = lambda: loop.call_soon_threadsafe(ended.set)
        self.go_on = lambda: loop.call_soon_threadsafe(self._let_go.set)
        async with await asyncio.start_server(self.connect, "127.0.0.1", 0) as listening:
            self.port = listening.sockets[0].getsockname()[1]
            ready.set()
            await ended.wait()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.server)
        asking = asyncio.ensure_future(_forward(reader, to_server))
        try:
            await self._answer(from_server, writer)
        finally:
            asking.cancel()
            for end in (writer, to_server):
                end.close()
                with contextlib.suppress(ConnectionError):
                    await end.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = 0
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(4096):
                if self.cut is not None and sent + len(data) > self.cut:
                    await self._cut()
                    return
                sent += len(data)
                self.passed += len(data)
                writer.write(data)
                await writer.drain()

    async def _cut(self) -> None:
        await asyncio.to_thread(self.when_cut)
        self.cut = self.cut if self.then is None else self.then
        if self.hold:
            self.held.set()
            await self._let_go.wait()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()


@contextlib.contextmanager
def line(server: int) -> Iterator[Line]:
    """A line to a port of this machine, as long as the block runs."""
    made, ready = Line(server), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(made.serve(ready)), name="line")
    thread.start()
    ready.wait()
    try:
        yield made
    finally:
        made.end()
        thread.join()


@dataclass(frozen=True)
class Bucket:
    """A server with one user, and in it the object that tests want."""

    port: int

    def put(self, file: Path, bucket: str = BUCKET, *options: str, key: str = KEY) -> None:
        """Make the object so."""
        where = f"http://127.0.0.1:{self.port}"
        run(python("trainer"), "-m", "support.s3_bucket", where, bucket, key, str(file), *options, variables=KNOWN)


@contextlib.contextmanager
def serving(folder: Path, address: str = "127.0.0.1") -> Iterator[Bucket]:
    """Its buckets are folders of this one."""
    (folder / "buckets").mkdir()
    port = free_port()
    account = ("--access", ACCESS, "--secret", SECRET)
    command = [str(build.program("versitygw")), *account, "--port", f"{address}:{port}", "--quiet"]
    with server([*command, "posix", str(folder / "buckets")], port, folder / "log", {}):
        yield Bucket(port)
