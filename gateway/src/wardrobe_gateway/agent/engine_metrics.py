"""The engine's own metrics, which the agent's page shows: the engine listens to nobody else in the world.

They are a stranger's text beside the agent's own, and a scraper refuses a page for one bad line. So they are taken
whole and in Prometheus' form, or not at all.
"""

import asyncio
import logging
import re

import aiohttp

from wardrobe_contracts.state import METRICS_PATH

MOST_BYTES = 512 * 1024
"""Of the engine's page. TGI's has 150 kB, of 1,890 lines."""

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\x00-\x1f\x7f]|\\[\\"n])*"'
_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|[iI]nf|NaN)"
_HELP = rf"# HELP (?P<help>{_NAME}) [^\x00-\x1f\x7f]*"
_TYPE = rf"# TYPE (?P<type>{_NAME}) (?:counter|gauge|histogram|summary|untyped)"
_SAMPLE = rf"(?P<series>(?P<sample>{_NAME})(?:\{{(?:{_LABEL}(?:,{_LABEL})*)?\}})?) {_NUMBER}"
_LINE = re.compile(f"{_HELP}|{_TYPE}|{_SAMPLE}")
"""What engines write, which is less than Prometheus reads."""
_PARTS = ("", "_bucket", "_sum", "_count")
"""What follows a family's name in those of its samples."""

log = logging.getLogger(__name__)


class UnreadableError(Exception):
    """Why the engine's metrics cannot be shown, in words that hold nothing of what it wrote."""


class EngineMetrics:
    """Those of one engine, by its URL, which has so many seconds to say them. The families are its own whose names
    begin with `prefix`."""

    def __init__(self, session: aiohttp.ClientSession, url: str, prefix: str, seconds: float) -> None:
        self._session = session
        self._url = url + METRICS_PATH
        self._prefix = prefix
        self._seconds = seconds
        self._why = ""
        """Why they could not be read the last time."""

    async def read(self) -> bytes:
        """Its own families as it writes them now; nothing where they cannot be read."""
        try:
            found, why = own_families(await self._page(), self._prefix), ""
        except UnreadableError as error:
            found, why = "", str(error)
        if why and why != self._why:
            log.warning("the engine's metrics are not shown: %s", why)
        self._why = why
        return found.encode()

    async def _page(self) -> str:
        """All that it says. Raises UnreadableError."""
        try:
            async with asyncio.timeout(self._seconds):
                return (await self._body()).decode()
        except TimeoutError as error:
            raise UnreadableError(f"not there within {self._seconds:g} s") from error
        except UnicodeDecodeError as error:
            raise UnreadableError("not in UTF-8") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UnreadableError(type(error).__name__) from error

    async def _body(self) -> bytes:
        """Raises UnreadableError, or the session's errors."""
        body = bytearray()
        async with self._session.get(self._url, headers={"Accept": "text/plain"}, allow_redirects=False) as answer:
            if answer.status != 200:
                raise UnreadableError(f"status {answer.status}")
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > MOST_BYTES:
                    raise UnreadableError(f"more than {MOST_BYTES} bytes")
        return bytes(body)


def own_families(page: str, prefix: str) -> str:
    """The families of a page whose names begin so, as they stand there. Pure.

    Raises UnreadableError where there is none, or one would spoil a page that it is added to.
    """
    if not page.endswith("\n"):
        raise UnreadableError("not whole: the last line has no end")
    own = (prefix, f"# HELP {prefix}", f"# TYPE {prefix}")
    lines = [line for line in page.split("\n") if line.startswith(own)]
    if not lines:
        raise UnreadableError(f"no family's name begins with {prefix}")
    _require_families(lines)
    return "".join(f"{line}\n" for line in lines)


def _require_families(lines: list[str]) -> None:
    """Each family once, with its samples after its head, and each line of a head and each series once."""
    family, families, seen = "", set[str](), set[str]()
    for number, line in enumerate(lines, 1):
        if (found := _LINE.fullmatch(line)) is None:
            raise UnreadableError(f"line {number} of its own is not in Prometheus' form")
        if (name := found["help"] or found["type"]) is None:
            what = found["series"]
            if found["sample"] not in {family + part for part in _PARTS}:
                raise UnreadableError(f"line {number} of its own is of another family than those above it")
        else:
            what = line[: len("# TYPE ")] + name
        if what in seen or (name != family and name in families):
            raise UnreadableError(f"line {number} of its own says again what stands above it")
        seen.add(what)
        if name is not None:
            family = name
            families.add(name)
