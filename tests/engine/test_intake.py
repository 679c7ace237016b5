"""What one sender's bodies may cost everybody: bytes, shape, encoding, and the time they take to arrive."""

import json
import math
import socket
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wardrobe_engine import intake
from wardrobe_engine.deadlines import Deadlines
from wardrobe_engine.errors import InvalidRequestError, OverloadedError
from wardrobe_engine.intake import BYTES_IN_FLIGHT, DEPTH, ITEMS, Places, require_bounded

from .conftest import PROMPT, Serve, Served
from .test_process import engine
from .test_worker import SlowModel, eventually, running

HEALTH_SECONDS = 5
"""How long the agent waits for a sign of life (CHECK_SECONDS of its dialect)."""
CHAT = {"model": "tantanila", "messages": [{"role": "user", "content": "What is atrial fibrillation?"}]}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[" * 100_000, "values"),
        (b"[" * 9, "inside each other"),
        (b'{"a":' * 100_000, "values"),
        (b'{"messages": [' + b"0," * 300_000 + b"0]}", "values"),
        (b'{"messages": [' + b"[]," * 200_000 + b"[]]}", "values"),
        (b"[" + b'"",' * 200_000 + b'""]', "values"),
        (b"[1" + b"0" * 5000 + b"]", "characters"),
    ],
)
def test_bodies_that_are_cheap_to_send_and_dear_to_read(body: bytes, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        require_bounded(body)


@pytest.mark.parametrize(
    "value",
    [
        "[[[[[[[[[[[[[[" * 9000,
        '",,,,[[[[{{{{\\' * 9000,
        "\\" * 9001,
        "1" * 9000,
        [{"role": "user", "content": "a, [b] {c}"}] * 3000,
        [0] * (ITEMS - 2),
        [1.7976931348623157e308, -(2**63), 5e-324],
    ],
)
def test_what_stands_in_text_does_not_count(value: object) -> None:
    require_bounded(json.dumps({"inputs": value}).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


def depth(value: object) -> int:
    inner: Any = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, inner), default=0) if isinstance(value, dict | list) else 0


@given(JSON, st.booleans())
@settings(derandomize=True, deadline=None)
def test_depth_is_that_of_the_json(value: object, ascii_only: bool) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only).encode(errors="replace")
    if depth(value) <= DEPTH:
        require_bounded(data)
    else:
        with pytest.raises(InvalidRequestError, match="inside each other"):
            require_bounded(data)


def test_places_come_back() -> None:
    places = Places(2)
    with places.take(BYTES_IN_FLIGHT - 1), places.take(1):
        for size in (0, 1):
            with pytest.raises(OverloadedError), places.take(size):
                pass
    with places.take(BYTES_IN_FLIGHT), pytest.raises(OverloadedError), places.take(1):
        pass
    with places.take(BYTES_IN_FLIGHT):
        pass


def test_a_flood_of_dear_bodies_silences_nobody(pool: ThreadPoolExecutor) -> None:
    """Twelve bodies of 600 kB of zeros for messages took the event loop for 20 s."""
    body = b'{"model": "tantanila", "messages": [' + b"0," * 300_000 + b"0]}"
    with engine("wardrobe_engine") as (_, url):
        attack = [pool.submit(httpx.post, f"{url}/v1/chat/completions", content=body, timeout=60) for _ in range(12)]
        while not all(map(Future.done, attack)):
            assert httpx.get(f"{url}/health", timeout=HEALTH_SECONDS).status_code == 200
        assert [one.result().status_code for one in attack] == [422] * 12


def test_prompts_that_cannot_fit_take_no_memory(pool: ThreadPoolExecutor) -> None:
    """Eight prompts of 950,000 x "1!" took 4.3 GB, and 3.5 of them stayed."""
    body = json.dumps({"inputs": "1!" * 950_000}).encode()
    chat = json.dumps({**CHAT, "messages": [{"role": "user", "content": "1!" * 950_000}]}).encode()
    with engine("wardrobe_engine") as (process, url):
        held = memory(process.pid, "VmHWM")
        for path, content in (("/generate", body), ("/v1/chat/completions", chat)):
            given = pool.map(lambda _, at=url + path, data=content: httpx.post(at, content=data, timeout=60), range(8))
            assert all(answer.status_code == 422 and "shorten it" in answer.text for answer in given)
        assert memory(process.pid, "VmHWM") - held < 64 * 1024**2
        assert memory(process.pid, "VmRSS") - held < 64 * 1024**2


def memory(process: int, field: str) -> int:
    """Bytes that a process holds (VmRSS), or held at most (VmHWM)."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def test_bodies_in_flight_are_bounded_in_bytes(serve: Serve, pool: ThreadPoolExecutor) -> None:
    served = serve(SlowModel)
    whole = b'{"inputs": "a", "parameters": {"max_new_tokens": 60, "temperature": 2.0, "seed": 1}}'
    padded = whole + b" " * (intake.BODY_BYTES - len(whole))
    most = BYTES_IN_FLIGHT // len(padded)
    with ThreadPoolExecutor(most + 4) as senders:
        given = list(
            senders.map(
                lambda _: httpx.post(f"{served.url}/generate", content=padded, timeout=60).status_code, range(most + 4)
            )
        )
    assert sorted(given) == [200] * most + [429] * 4
    assert served.text()


def test_a_body_that_does_not_arrive_frees_its_place(serve: Serve) -> None:
    served = serve(deadlines=Deadlines(body=0.2), max_batch=1, max_waiting=1)
    heads = [raw(served, b"POST /generate HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{") for _ in range(2)]
    assert [head.partition(b"\r\n")[0].split()[1] for head in heads] == [b"408"] * 2
    assert served.text()


def raw(served: Served, data: bytes) -> bytes:
    """What the engine says to these bytes first."""
    address = httpx.URL(served.url)
    with socket.create_connection((address.host, address.port), timeout=20) as connection:
        connection.sendall(data)
        return connection.recv(4096)


@pytest.mark.parametrize("path", ["/generate", "/v1/chat/completions", "/v1/load_lora_adapter"])
def test_compressed_and_broken_bodies_are_refused(served: Served, path: str) -> None:
    bodies = (zlib.compress(b"{}"), b"no deflate", b"")
    for encoding, body in zip(("deflate", "deflate", "gzip"), bodies, strict=True):
        given = httpx.post(served.url + path, content=body, headers={"Content-Encoding": encoding})
        assert given.status_code == 415
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert raw(served, head + b"zz\r\n").split()[1] == b"400"
    assert raw(served, head + b"3\r\n{}\r\n").split()[1] in {b"400", b"422"}


def test_a_stream_that_is_not_read_is_cut(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve(deadlines=Deadlines(write=0.2))
    body = json.dumps({"inputs": "a", "parameters": {"max_new_tokens": 1000, "details": True, "seed": 1}}).encode()
    head = f"POST /generate_stream HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    address = httpx.URL(served.url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.connect((address.host, address.port))
        monkeypatch.setattr("wardrobe_engine.server._event", lambda *_: b"x" * 100_000)
        connection.sendall(head + body)
        eventually(lambda: served.metric('wardrobe_engine_request_count_total{outcome="cancelled"}') == 1)
        eventually(lambda: running(served) == 0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**30, -1, "x", [1], {}, 1e-310])
@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k", "seed", "max_new_tokens"])
def test_numbers_are_numbers_of_their_size(served: Served, name: str, value: object) -> None:
    body = json.dumps({"inputs": PROMPT, "parameters": {"max_new_tokens": 2, name: value}})
    given = httpx.post(f"{served.url}/generate", content=body, timeout=30)
    taken = [("temperature", 1e-310), ("temperature", 10**30), ("top_p", 1e-310)]
    assert given.status_code == (200 if (name, value) in taken else 422), given.text
    written = '{"inputs": "a", "parameters": {"max_new_tokens": 2, "temperature": 1e999}}'
    assert httpx.post(f"{served.url}/generate", content=written).status_code == 422


def test_the_smallest_temperature_takes_the_likeliest(served: Served) -> None:
    assert served.text(temperature=1e-310, seed=1) == served.text()


@pytest.mark.parametrize("make", [lambda text: {"stop": [text]}, lambda text: {"adapter_id": text}])
def test_long_stop_strings_and_names_are_refused_in_few_words(
    served: Served, make: Callable[[str], dict[str, Any]]
) -> None:
    refused = served.generate(status=422, **make("a" * 1_000_000))
    assert len(str(refused)) < 1000


def test_made_up_fields_are_refused_in_few_words(served: Served) -> None:
    body = {"inputs": "a", "b" * 1_000_000: 1}
    assert len(served.post("/generate", body, 422).text) < 1000
