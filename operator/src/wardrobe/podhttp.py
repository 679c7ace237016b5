"""What pods answer over HTTP, read with bounds: a pod may be anybody's, and must not cost the operator its memory."""

import aiohttp

ANSWER_BYTES = 1 << 20
"""1 MiB: about ten times what the largest deployment's agent says. More is not read, and nothing of it is believed."""
CHUNK_BYTES = 1 << 16


class AnswerError(Exception):
    """The pod's answer is none: another status than 200, a redirect among them, or too long."""


def session(seconds: float) -> aiohttp.ClientSession:
    """Connections to pods. An answer has so many seconds in all, from the first byte asked to the last one read.

    Nothing is unpacked, because a short body may become a long one, and no cookie is kept.
    """
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=seconds), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    )


async def get(connections: aiohttp.ClientSession, url: str) -> bytes:
    """The body of a 200. Raises AnswerError, aiohttp.ClientError or TimeoutError. Redirects are not followed."""
    async with connections.get(url, allow_redirects=False) as answer:
        if answer.status != 200:
            raise AnswerError(f"status {answer.status}")
        body = bytearray()
        async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
            body += chunk
            if len(body) > ANSWER_BYTES:
                raise AnswerError(f"more than {ANSWER_BYTES} bytes")
        return bytes(body)
