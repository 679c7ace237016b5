"""A proxy before the apiserver that fails as networks and busy apiservers do: cut connections, 410, 429."""

import asyncio
import base64
import contextlib
import json
import ssl
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from .waiting import HANG

EXPIRED = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "reason": "Expired",
    "code": 410,
    "message": "old",
}


class ApiserverProxy:
    """Serves plain HTTP on loopback, with the rights of the kubeconfig behind it. To be used by `proxying`."""

    def __init__(self, kubeconfig: Path) -> None:
        content = yaml.safe_load(kubeconfig.read_text())
        self._upstream: str = content["clusters"][0]["cluster"]["server"]
        self._tls = _tls(content)
        self._watches: set[web.StreamResponse] = set()
        self._transports: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self.refusing = False
        """Whether every request is answered 429 now."""
        self.refused = 0
        self.expired = 0
        self.port = 0

    def expire_watches(self) -> None:
        """Tell every open watch that its resourceVersion is too old, and end it."""
        asyncio.run_coroutine_threadsafe(self._expire(), self._loop).result(timeout=HANG)

    def cut(self) -> None:
        """Close every client's connection without a word."""
        for transport in list(self._transports):
            self._loop.call_soon_threadsafe(transport.abort)

    def watches(self) -> int:
        """Watches that are open now."""
        return len(self._watches)

    def serve(self, started: threading.Event, ended: threading.Event) -> None:
        """The thread's body."""
        self._loop.run_until_complete(self._serve(started, ended))
        handlers = asyncio.all_tasks(self._loop)  # aiohttp leaves those of connections that were cut
        for handler in handlers:
            handler.cancel()
        self._loop.run_until_complete(asyncio.gather(*handlers, return_exceptions=True))
        self._loop.close()

    async def _serve(self, started: threading.Event, ended: threading.Event) -> None:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self._session:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self._forward)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = runner.addresses[0][1]
            started.set()
            await asyncio.to_thread(ended.wait)
            # before the handlers are cancelled: a session ends and awaits the connections that are still at work, but
            # knows no more of those that a cancelled handler gave back, whose TLS would outlive the loop
            await self._session.close()
            await runner.cleanup()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            self._transports.add(request.transport)
        if self.refusing:
            self.refused += 1
            body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 429, "message": "busy"}
            return web.json_response(body, status=429, headers={"Retry-After": "1"})
        headers = {name: value for name, value in request.headers.items() if name.lower() not in {"host"}}
        url = f"{self._upstream}{request.rel_url}"
        async with self._session.request(
            request.method,
            url,
            headers=headers,
            data=await request.read() or None,  # a GET with a body, even an empty one, is refused
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            return await self._relay(request, answer)

    async def _relay(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        kept = {
            name: value for name, value in answer.headers.items() if name.lower() in {"content-type", "retry-after"}
        }
        response = web.StreamResponse(status=answer.status, headers=kept)
        with contextlib.suppress(ConnectionError):  # cut in the meantime
            await response.prepare(request)
        watching = request.query.get("watch") in {"1", "true"}
        if watching:
            self._watches.add(response)
        try:
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        except (ConnectionError, aiohttp.ClientError):
            pass  # the client went, or the apiserver did
        finally:
            self._watches.discard(response)
            if request.transport is not None:
                self._transports.discard(request.transport)
        return response

    async def _expire(self) -> None:
        for response in list(self._watches):
            self.expired += 1
            line = json.dumps({"type": "ERROR", "object": EXPIRED}) + "\n"
            with contextlib.suppress(ConnectionError):
                await response.write(line.encode())
                await response.write_eof()

    def kubeconfig(self, folder: Path) -> Path:
        """A kubeconfig that goes through the proxy."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }
        path = folder / "through-the-proxy"
        path.write_text(yaml.safe_dump(content))
        return path


def _tls(content: dict[str, list[dict[str, dict[str, str]]]]) -> ssl.SSLContext:
    """The kubeconfig's certificates, which it carries inside."""
    authority = base64.b64decode(content["clusters"][0]["cluster"]["certificate-authority-data"])
    context = ssl.create_default_context(cadata=authority.decode())
    user = content["users"][0]["user"]
    with tempfile.NamedTemporaryFile() as both:  # ssl loads a client's certificate from files only
        both.write(b"".join(base64.b64decode(user[f"client-{part}-data"]) + b"\n" for part in ("certificate", "key")))
        both.flush()
        context.load_cert_chain(both.name)
    return context


@contextlib.contextmanager
def proxying(kubeconfig: Path) -> Iterator[ApiserverProxy]:
    """A proxy while the block runs."""
    proxy = ApiserverProxy(kubeconfig)
    started, ended = threading.Event(), threading.Event()
    thread = threading.Thread(target=proxy.serve, args=(started, ended), name="proxy", daemon=True)
    thread.start()
    assert started.wait(HANG)
    try:
        yield proxy
    finally:
        ended.set()
        thread.join()
