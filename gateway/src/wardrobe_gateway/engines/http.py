"""An engine's HTTP interface: a request, and each way that it can fail as an error that the agent understands."""

import contextlib
from collections.abc import Iterator
from typing import Any

import aiohttp

from wardrobe_contracts.state import METRICS_PATH

from . import (
    EngineBusyError,
    EngineDownError,
    EngineGoneError,
    EngineInvalidError,
    EngineLacksError,
    EngineRejectedError,
    EngineSilentError,
)
from .messages import error_message

ANSWER_SECONDS = 120.0
CHECK_SECONDS = 5.0
CONNECT_SECONDS = 2.0


class EngineHttp:
    """An engine by its URL.

    What asks it raises EngineGoneError, EngineSilentError or EngineDownError where no answer comes, and by its status
    EngineBusyError, EngineDownError, EngineLacksError or EngineRejectedError.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self.url = url
        self.answer_seconds = answer_seconds
        self._session = session
        self._check_seconds = check_seconds

    async def get(self, path: str) -> bytes:
        """What is answered at once."""
        return await self._request("GET", path, self._check_seconds)

    async def post(self, path: str, payload: dict[str, Any]) -> bytes:
        """The answer to an object sent as JSON."""
        return await self._request("POST", path, self.answer_seconds, payload)

    async def metrics(self, *names: bytes) -> frozenset[bytes]:
        """Lines of its metrics that begin so."""
        page = await self.get(METRICS_PATH)
        return frozenset(line for line in page.splitlines() if line.startswith(names))

    async def _request(self, method: str, path: str, seconds: float, payload: dict[str, Any] | None = None) -> bytes:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        try:
            async with self._session.request(method, self.url + path, json=payload, timeout=timeout) as answer:
                body = await answer.read()
        except aiohttp.ClientConnectorError as error:
            raise EngineGoneError(f"{method} {path}: {error}") from error
        except TimeoutError as error:
            raise EngineSilentError(f"{method} {path}: no answer within {seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise EngineDownError(f"{method} {path}: {type(error).__name__} {error}") from error
        raise_for(answer.status, f"{method} {path}", body)
        return body


def raise_for(status: int, request: str, body: bytes) -> None:
    """Raises what an answer's status says, nothing where it is a good one."""
    if status == 429:
        raise EngineBusyError(f"{request}: the engine is overloaded")
    if status in {502, 503, 504}:
        raise EngineDownError(f"{request}: {status} {error_message(body)}")
    if status == 404:
        raise EngineLacksError(error_message(body))
    if status in {400, 413, 422}:
        raise EngineInvalidError(error_message(body))
    if status >= 400:
        raise EngineRejectedError(error_message(body))


@contextlib.contextmanager
def understood(path: str) -> Iterator[None]:
    """Around reading an answer: one of another shape is as good as none. Raises EngineRejectedError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise EngineRejectedError(f"{path}: the engine's answer is not understood: {error!r}") from error
