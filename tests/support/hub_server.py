"""A Hugging Face Hub, as far as one file of a dataset is asked of it: paths, headers and refusals are the real one's.

Imitated, since none can be reached or installed here: the answers to HEAD and GET of `/datasets/<repository>/resolve/
<revision>/<file>` with `X-Repo-Commit`, `ETag` and ranges, and `X-Error-Code` with what is refused, as
huggingface_hub/utils/_http.py and file_download.py read them.
"""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REPOSITORY, REVISION, FILE, TOKEN = (
    "hospital/voices",
    "0123456789abcdef0123456789abcdef01234567",
    "2026/rows.jsonl",
    "hf_x",
)


@dataclass
class Hub:
    """One file of one revision."""

    data: bytes
    port: int = 0
    refusal: tuple[int, str] | None = None
    """Status and X-Error-Code of every answer."""
    private: bool = False
    cuts: list[int] = field(default_factory=list)
    """Of the next answers at most so many bytes."""
    asked: list[str] = field(default_factory=list)
    """Ranges of the requests for the file, "" for all of it. The library goes on only where it has ten megabytes."""

    @property
    def path(self) -> str:
        return f"/datasets/{REPOSITORY}/resolve/{REVISION}/{FILE}"


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        if self._refused():
            return
        self._head(200, len(self.hub.data))

    def do_GET(self) -> None:
        if self._refused():
            return
        wanted = self.headers.get("Range", "")
        self.hub.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
        body = self.hub.data[start:]
        self._head(206 if wanted else 200, len(body))
        cut = self.hub.cuts.pop(0) if self.hub.cuts else len(body)
        self.wfile.write(body[:cut])
        self.close_connection = True

    def _refused(self) -> bool:
        refusal = self.hub.refusal
        if self.hub.private and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            refusal = (401, "RepoNotFound")
        if refusal is None and self.path != self.hub.path:
            known = f"/resolve/{REVISION}/" in self.path
            refusal = (404, "EntryNotFound" if known else "RevisionNotFound")
        if refusal is None:
            return False
        self.send_response(refusal[0])
        if refusal[1]:
            self.send_header("X-Error-Code", refusal[1])
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("ETag", f'"{hashlib.sha256(self.hub.data).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def serving(file: Path) -> Iterator[Hub]:
    """A hub that has the file, as long as the block runs."""
    hub = Hub(file.read_bytes())
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub})) as server:
        hub.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, name="hub")
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
