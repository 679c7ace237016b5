"""One client's connection: deadlines for heads, idling and reading, and no word of what was sent in log or answer."""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, cast

from aiohttp import StreamReader, web
from aiohttp.web_protocol import RequestHandler

from ..errors import ApiError

LINGER_SECONDS = 2.0
"""What is left of a body that was refused is read for so long, so that the client reads the answer."""
MAX_HEAD_BYTES = 16 * 1024
"""Of a head. Times a thousand connections, these are 16 MiB."""
HEAD_END = b"\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deadlines:
    """Of a connection's other end, in seconds."""

    head: float = 10.0
    """From the first byte of a head, or from the connection, to the head's end. Clients write one at once."""
    idle: float = 75.0
    """Between two requests. Longer than our own clients keep a connection, so that none meets its end."""
    stalled: float = 20.0
    """An answer of which nothing was taken for so long has no reader."""
    sweep: float = 1.0
    """How often connections are held against these."""


class Connections:
    """Those of one port that are open, `most` at once."""

    def __init__(self, most: int, deadlines: Deadlines) -> None:
        self._most = most
        self._deadlines = deadlines
        self._open: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, one: "Connection") -> None:
        """One more. Where there are too many, that without a request for the longest time is ended."""
        self._open.add(one)
        if len(self._open) > self._most:
            idle = [other for other in self._open if not other.at_work]  # the new one is among them
            min(idle, key=lambda other: other.since).abort()

    def discard(self, one: "Connection") -> None:
        """It has ended."""
        self._open.discard(one)

    def sweep(self, now: float) -> None:
        """End those whose other end has had its time."""
        for one in [one for one in self._open if one.is_overdue(now, self._deadlines)]:
            one.abort()

    def abort(self) -> None:
        """End all."""
        for one in list(self._open):
            one.abort()


class Phase(Enum):
    """What a connection waits for."""

    HEAD = auto()
    """The rest of a head, or the first."""
    WORK = auto()
    """An answer of ours."""
    AHEAD = auto()
    """The same, and the head of the next request is whole already."""
    IDLE = auto()
    """Another request."""


class Connection(RequestHandler):
    """aiohttp's, with what it lacks."""

    __slots__ = (
        "_all",
        "_answer",
        "_content",
        "_head",
        "_phase",
        "_request",
        "_tail",
        "_taken",
        "_taken_at",
        "_to_client",
        "since",
    )

    def __init__(self, server: web.Server, all_of_them: Connections) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            access_log=cast("logging.Logger", None),  # aiohttp tests it for truth, and is typed otherwise
            max_headers=64,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
        )
        self._answer = server.request_handler
        self._request_handler = self._at_work  # a middleware would cost each request twice as much
        self._all = all_of_them
        self._to_client: asyncio.Transport | None = None
        self._request: web.BaseRequest | None = None
        self._content: StreamReader | None = None
        self._phase = Phase.HEAD
        self._head = 0
        self._tail = b""
        self._taken = 0
        self._taken_at = loop.time()
        self.since = loop.time()
        """When the phase began."""

    @property
    def at_work(self) -> bool:
        """Whether a request is under way."""
        return self._request is not None

    async def _at_work(self, request: web.BaseRequest) -> web.StreamResponse:
        self._begin(request)
        try:
            return await self._answer(request)
        finally:
            self._end()

    def _begin(self, request: web.BaseRequest) -> None:
        """A head is whole, and its request is being answered."""
        if self._phase is not Phase.WORK:
            self._enter(Phase.WORK)
        self._request, self._content = request, request.content

    def _end(self) -> None:
        """It has its answer, but for what is not sent yet."""
        self._request = None
        if self._phase is Phase.AHEAD:
            self._enter(Phase.WORK)
        elif self._head:
            self._phase, self.since = Phase.HEAD, self._loop.time()
        else:
            self._enter(Phase.IDLE)

    def is_overdue(self, now: float, deadlines: Deadlines) -> bool:
        """Whether the other end has had its time."""
        if self._to_client is not None and (unsent := self._to_client.get_write_buffer_size()):
            return self._stalled_for(unsent, now) > deadlines.stalled
        self._taken_at = now
        return not self.at_work and now - self.since > (deadlines.idle if self._phase is Phase.IDLE else deadlines.head)

    def abort(self) -> None:
        """End it at once. To close it would wait for a reader."""
        self._all.discard(self)
        if self._to_client is not None:
            self._to_client.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio calls it."""
        self._to_client = cast("asyncio.Transport", transport)
        super().connection_made(transport)
        self._all.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """As asyncio calls it."""
        self._all.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As asyncio calls it; and aiohttp with no data, to go on with what it holds."""
        if data and self._too_much(data):
            self._reject_head()
        else:
            super().data_received(data)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """For what is no HTTP, or a defect of ours. aiohttp would quote the head, and with it a key."""
        del message
        if status >= 500:
            log.error("a request failed by a defect", exc_info=exc)
            error = ApiError(500, "internal_error", "the server failed at this request; its log says why")
        else:
            log.debug("not HTTP: %s", type(exc).__name__)
            error = ApiError(status, "bad_request", "the request's head is not HTTP/1.1, or too long")
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        response = error.response()
        response.force_close()
        return response

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """As aiohttp calls it; an error of its own, which may quote what was sent, it gets in OpenAI's format."""
        if isinstance(resp, web.HTTPExpectationFailed):
            resp = ApiError(417, "expectation_failed", "only `Expect: 100-continue` is known").response()
        elif isinstance(resp, web.HTTPException):
            message = f"{request.method} {request.path}: {resp.reason}"
            resp = ApiError(resp.status, resp.reason.lower().replace(" ", "_"), message).response()
        return super().finish_response(request, resp, start_time)

    def _enter(self, phase: Phase) -> None:
        self._phase, self._head, self._tail, self.since = phase, 0, b"", self._loop.time()

    def _stalled_for(self, unsent: int, now: float) -> float:
        """Seconds since something of what is written was last taken."""
        taken = (self._request.writer.output_size if self._request is not None else 0) - unsent
        if taken > self._taken:
            self._taken_at = self.since = now
        self._taken = taken
        return now - self._taken_at

    def _too_much(self, data: bytes) -> bool:
        """Whether a head grows beyond its bound."""
        if self._content is not None and not self._content.is_eof():
            return False  # of a body, perhaps one that is refused
        if self._phase is Phase.IDLE:
            self._enter(Phase.HEAD)
        if self._phase is Phase.AHEAD or (self._phase is Phase.WORK and self._request is None):
            return False  # a head is whole, and its request begins in a moment
        if HEAD_END in self._tail + data:
            self._enter(Phase.WORK if self._phase is Phase.HEAD else Phase.AHEAD)
            return False
        self._tail = data[-len(HEAD_END) + 1 :]
        self._head += len(data)
        return self._head > MAX_HEAD_BYTES

    def _reject_head(self) -> None:
        if self._to_client is not None and self._phase is Phase.HEAD:
            self._to_client.write(TOO_LARGE)
        self.abort()
