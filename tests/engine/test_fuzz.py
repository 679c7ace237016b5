"""Whatever a body holds, the answer is no fault of ours, nobody waits for ever, and the next one is answered."""

import copy
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.gauntlet import TIMES

from .conftest import PROMPT, Serve

SEED = 8
ROUNDS = 600 * TIMES
"""Bodies per route."""
BODIES: dict[str, dict[str, Any]] = {
    "/generate": {
        "inputs": PROMPT,
        "parameters": {"adapter_id": "renal-v1", "max_new_tokens": 3, "stop": ["a"], "details": True, "seed": 1},
    },
    "/generate_stream": {"inputs": PROMPT, "parameters": {"temperature": 0.7, "top_k": 5, "top_p": 0.9}},
    "/": {"inputs": "a", "stream": False, "parameters": {"details": True, "decoder_input_details": True}},
    "/v1/chat/completions": {
        "model": "renal-v1",
        "messages": [{"role": "system", "content": "b"}, {"role": "user", "content": [{"type": "text", "text": "a"}]}],
        "max_tokens": 3,
        "stop": "a",
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    "/v1/load_lora_adapter": {"lora_name": "fuzzed-v1", "lora_path": "/nowhere"},
    "/v1/unload_lora_adapter": {"lora_name": "fuzzed-v1"},
}
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 10**25, 1e-320, float("nan"), float("inf"), 0.5, [], {}, [1], {"a": 1}, [[]]),
    *("", "a", "\0", "\ud800", "\udfff\ud800", "🫀" * 50, "\n" * 900, "<|end|>", "NaN", "1" * 5000, "x" * 100_000),
    *(
        "{{ 1/0 }}",
        "../../etc",
        "true",
        [0] * 20_000,
        [[]] * 5000,
        [{}] * 50,
        ["a"] * 4,
        {str(n): n for n in range(99)},
    ),
]
RAW = [b"", b"null", b"[" * 100_000, b'{"a":' * 500, b"\xff\xfe", b'"' * 9999, b"[1e999]", b"{}" * 9, b"\xef\xbb\xbf{}"]


def bodies(path: str, chance: random.Random) -> Iterator[bytes]:
    """Bodies of a route with one to three things changed, in the values or in the bytes."""
    yield from RAW
    for _ in range(ROUNDS):
        body = copy.deepcopy(BODIES[path])
        for _ in range(chance.randint(1, 3)):
            change(body, chance)
        data = json.dumps(body, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")
        yield tear(data, chance) if chance.random() < 0.2 else data


def change(body: Any, chance: random.Random) -> None:
    """Replace, add or remove a value somewhere."""
    while True:
        keys: list[Any] = list(body) if isinstance(body, dict) else list(range(len(body)))
        key = chance.choice(keys) if keys else None
        if key is None or not isinstance(body[key], dict | list) or chance.random() < 0.4:
            break
        body = body[key]
    value = copy.deepcopy(chance.choice(VALUES))
    if isinstance(body, list):
        body[:] = [*body, value] if key is None or chance.random() < 0.3 else [*body[:key], value, *body[key + 1 :]]
    elif key is None or chance.random() < 0.2:
        body[chance.choice(["n", "tools", "a" * 9000, "", "\0", "stream"])] = value
    elif chance.random() < 0.1:
        del body[key]
    else:
        body[key] = value


def tear(data: bytes, chance: random.Random) -> bytes:
    """Cut off, doubled, or with other bytes in it."""
    at = chance.randrange(len(data))
    return chance.choice([data[:at], data + data[at:], data[:at] + bytes(chance.randbytes(3)) + data[at + 2 :]])


@pytest.mark.parametrize("path", BODIES)
def test_no_body_is_answered_by_a_fault_of_ours(path: str, serve: Serve, adapters: dict[str, Path]) -> None:
    served = serve(max_total_tokens=40)
    served.load("renal-v1", adapters["renal-v1"])
    expected = served.text("renal-v1")
    alone = httpx.Limits(max_keepalive_connections=0)  # httpx may close a connection that another thread has taken up
    with httpx.Client(timeout=30, limits=alone) as client, ThreadPoolExecutor(4) as pool:

        def status(data: bytes) -> tuple[int, bytes]:
            return client.post(served.url + path, content=data).status_code, data[:300]

        # the same bodies each time, and no secrets
        given = list(pool.map(status, bodies(path, random.Random(f"{SEED} {path}"))))  # noqa: S311
    assert {code for code, _ in given} >= {422, 404 if "lora" in path else 200}
    assert [one for one in given if one[0] == 424 or (one[0] >= 500 and one[0] != 503)] == []
    assert httpx.get(f"{served.url}/health").status_code == 200
    assert served.text("renal-v1") == expected
