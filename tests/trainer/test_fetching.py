"""A file is fetched whole and up to its limit, whatever its server says of it before or while it comes."""

import gc
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from wardrobe_contracts.base import BaseLocation
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.imports import ImportConfig
from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE, MANIFEST_FILE, BaseReference
from wardrobe_contracts.remote import HubFile, RemoteFile, S3File, S3Folder
from wardrobe_trainer.importing import fetch_files
from wardrobe_trainer.problems import TaskError
from wardrobe_trainer.sources import fetch
from wardrobe_trainer.sources.faults import Asked

MOST = 1000
SOURCE = "s3://hospital/rows.jsonl"
REVISION = "0123456789abcdef0123456789abcdef01234567"


class Endless(BaseHTTPRequestHandler):
    """Of each file it gives bytes for as long as somebody takes them. Where it says a size, it is `says`."""

    protocol_version = "HTTP/1.1"
    says: int | None = None

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        self._head()
        try:
            if self.says is not None:
                self.wfile.write(b"x" * min(self.says, 10 * MOST))
            while self.says is None:
                self.wfile.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        except ConnectionError:
            pass

    def _head(self) -> None:
        self.send_response(200)
        self.send_header("ETag", '"one"')
        self.send_header("X-Repo-Commit", REVISION)
        if self.says is not None:
            self.send_header("Content-Length", str(self.says))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def end_headers(self) -> None:
        """Of an answer that is the connection's last: none stays open when the server ends."""
        self.send_header("Connection", "close")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


class WithoutHead(Endless):
    """As a server whose policy allows nothing but to get an object."""

    def do_HEAD(self) -> None:
        self.send_response(403)
        self.end_headers()


Serve = Callable[[type[Endless]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[tuple[ThreadingHTTPServer, Thread]] = []

    def start(handler: type[Endless]) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, name="server")
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    left = [connection for server, _ in servers for connection in connections_to(server.server_address[1])]
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()
    assert left == [], "who fetches leaves no connection to its collector of garbage"


def connections_to(port: int) -> list[socket.socket]:
    """This process's own that are not closed yet."""
    sockets = [found for found in gc.get_objects() if type(found) is socket.socket]  # a proxy may be of nothing
    ours = [found for found in sockets if found.fileno() != -1 and found.getsockname()[1] != port]
    return [found for found in ours if peer(found) == port]


def peer(connection: socket.socket) -> int | None:
    """Its port."""
    try:
        found: int = connection.getpeername()[1]
    except OSError:
        return None
    return found


class Bucket(WithoutHead):
    """It has the files of an adapter, and refuses all else as Amazon does where nobody may list the bucket."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        found = self.files.get(self.path.rpartition("/")[2])
        body = b"<Error><Code>AccessDenied</Code></Error>" if found is None else found
        self.send_response(403 if found is None else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Announced(Endless):
    """It says that it is too large."""

    says = MOST + 1


class Huge(Endless):
    """More than the hub's library takes without its own protocol."""

    says = 10**11


class Fitting(Endless):
    """It has as much as it may have."""

    says = MOST


def s3(endpoint: str) -> RemoteFile:
    return S3File(bucket="hospital", key="rows.jsonl", endpoint=endpoint)


def hub(endpoint: str) -> RemoteFile:
    return HubFile(repository="hospital/voices", revision=REVISION, path="rows.jsonl", endpoint=endpoint)


@pytest.mark.parametrize(
    ("remote", "server"),
    [(s3, Announced), (s3, Endless), (s3, WithoutHead), (hub, Announced), (hub, Huge), (hub, Endless)],
)
def test_more_than_the_limit_is_not_fetched_and_nothing_stays(
    serve: Serve, tmp_path: Path, remote: Callable[[str], RemoteFile], server: type[Endless]
) -> None:
    with pytest.raises(TaskError) as caught:
        fetch(remote(serve(server)), tmp_path / "fetched", Asked(SOURCE, most=MOST))
    assert (caught.value.code, caught.value.reason) == (ExitCode.BAD_DATA, Reason.DATASET_TOO_LARGE)
    problem = caught.value.problem
    assert (problem.field, problem.value) == ("spec.dataset.source", SOURCE)
    assert problem.rule == "it is larger than 1000 bytes"
    assert "PersistentVolumeClaim" in problem.next_step
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("remote", [s3, hub])
def test_as_much_as_the_limit_is(serve: Serve, tmp_path: Path, remote: Callable[[str], RemoteFile]) -> None:
    fetch(remote(serve(Fitting)), tmp_path / "fetched", Asked(SOURCE, most=MOST))
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("fetched", MOST)]


OLD, NEW = b"0123456789", b"abcdefghij"


class Kept(Endless):
    """An object that may be another one than the one which was begun, at servers that heed less than S3's do."""

    has: ClassVar[tuple[str, bytes]] = ('"old"', OLD)
    heeds_range: ClassVar[bool] = True

    def do_GET(self) -> None:
        etag, body = self.has
        asked = self.headers.get("Range", "")
        begins = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.heeds_range else 0
        if begins >= len(body):
            self._give(416, etag, b"<Error><Code>InvalidRange</Code></Error>", f"bytes */{len(body)}")
        elif asked and self.heeds_range:
            self._give(206, etag, body[begins:], f"bytes {begins}-{len(body) - 1}/{len(body)}")
        else:
            self._give(200, etag, body, None)

    def _give(self, status: int, etag: str, body: bytes, said: str | None) -> None:
        self.send_response(status)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body)))
        if said:
            self.send_header("Content-Range", said)
        self.end_headers()
        self.wfile.write(body)


class Whole(Kept):
    """It gives all, whatever range is asked for."""

    heeds_range = False


class Replaced(Kept):
    """It gives the range of another object."""

    has = ('"new"', NEW)


class Shorter(Kept):
    """It has no such range any more."""

    has = ('"new"', NEW[:3])


@pytest.mark.parametrize("had", [6, len(OLD)], ids=["half", "all"])
@pytest.mark.parametrize("server", [Kept, Whole, Replaced, Shorter])
def test_what_is_taken_up_is_one_object(serve: Serve, tmp_path: Path, server: type[Kept], had: int) -> None:
    (tmp_path / "fetched.part").write_bytes(OLD[:had])
    (tmp_path / "fetched.etag").write_text('"old"')
    fetch(s3(serve(server)), tmp_path / "fetched", Asked(SOURCE, most=MOST))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"fetched": server.has[1]}


class Untold(Kept):
    """It says neither how much it gives nor where that ends, and breaks off."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("ETag", '"old"')
        self.end_headers()
        self.wfile.write(OLD[:6])


def test_half_of_an_object_does_not_pass_for_it(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(TaskError) as caught:
        fetch(s3(serve(Untold)), tmp_path / "fetched", Asked(SOURCE, most=MOST))
    assert caught.value.reason is Reason.SOURCE_UNREACHABLE
    assert "it must say how long the object is" in str(caught.value)
    assert not (tmp_path / "fetched").exists()


DIGEST = f"sha256:{'0' * 64}"
IMPORT = ImportConfig(
    base=BaseLocation(folder="base", fingerprint=f"sampled:{DIGEST}"),
    base_reference=BaseReference(name="base", digest=DIGEST, chat_template_digest=DIGEST),
    source="s3://hospital/renal",
    folder="fetched",
    output_folder="import",
)
ADAPTER = {ADAPTER_CONFIG_FILE: b"{}", ADAPTER_WEIGHTS_FILE: b"weights"}


@pytest.mark.parametrize(
    "files", [ADAPTER, {**ADAPTER, MANIFEST_FILE: b"{}"}], ids=["foreign", "published by Wardrobe"]
)
def test_an_adapter_of_a_server_that_lets_nobody_ask_what_is_there(
    serve: Serve, tmp_path: Path, files: dict[str, bytes]
) -> None:
    remote = S3Folder(bucket="hospital", prefix="renal", endpoint=serve(type("Files", (Bucket,), {"files": files})))
    fetch_files(remote, IMPORT, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_a_file_of_an_adapter_that_has_no_end(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(TaskError) as caught:
        fetch_files(S3Folder(bucket="hospital", prefix="renal", endpoint=serve(WithoutHead)), IMPORT, tmp_path)
    assert (caught.value.code, caught.value.reason) == (ExitCode.BAD_ADAPTER, Reason.ADAPTER_INVALID)
    problem = caught.value.problem
    assert (problem.field, problem.value) == ("spec.adapter.source", "s3://hospital/renal/adapter_config.json")
    assert problem.rule == "it is larger than 131072 bytes"
    assert problem.next_step
    assert list(tmp_path.iterdir()) == []
