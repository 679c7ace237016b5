"""The model's thread under cancelled requests, full queues, failing steps, and its own death."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from support.waiting import HANG
from transformers import DynamicCache

from wardrobe_contracts.base import Variant
from wardrobe_engine import worker
from wardrobe_engine.cache import Batch, Prefilled
from wardrobe_engine.deadlines import Deadlines
from wardrobe_engine.generation import Event, Generation, Sampling, Token
from wardrobe_engine.loading import load
from wardrobe_engine.metrics import Metrics
from wardrobe_engine.model import Model

from .conftest import MODEL, PROMPT, Serve, Served

SLOW = 0.02
"""Seconds of a slow model's step."""
FIRST = "cardiology-v1.2"


class SlowModel(Model):
    """Takes its time, so that requests are still there when something happens to them."""

    def decode(self, batch: Batch) -> torch.Tensor:
        time.sleep(SLOW)
        return super().decode(batch)


class BrokenModel(Model):
    """Fails on demand."""

    fails: "set[str]"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.fails = set()
        type(self).last = self  # type: ignore[attr-defined]

    def prefill(
        self, ids: list[int], slot: int, *, every_position: bool, cache: DynamicCache | None = None
    ) -> tuple[torch.Tensor, DynamicCache]:
        if "prefill" in self.fails:
            raise RuntimeError("no memory")
        logits, cache = super().prefill(ids, slot, every_position=every_position, cache=cache)
        return logits * (float("nan") if "numbers" in self.fails else 1), cache

    def decode(self, batch: Batch) -> torch.Tensor:
        time.sleep(SLOW)
        if "decode" in self.fails:
            raise RuntimeError("device lost")
        return super().decode(batch)

    def remove(self, slot: int) -> None:
        if "remove" in self.fails:
            raise RuntimeError("device lost")
        super().remove(slot)


class HungModel(Model):
    """Hangs in a step until told."""

    go_on = threading.Event()

    def decode(self, batch: Batch) -> torch.Tensor:
        self.go_on.wait(30)
        return super().decode(batch)


def eventually(condition: Any, within: float = HANG) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def health(served: Served) -> int:
    return httpx.get(f"{served.url}/health").status_code


def info(served: Served) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{served.url}/info").json()
    return answer


def ended(served: Served, outcome: str) -> float:
    return served.metric(f'wardrobe_engine_request_count_total{{outcome="{outcome}"}}')


def running(served: Served) -> float:
    return served.metric("wardrobe_engine_batch_current_size")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def leave_after(served: Served, events: int, **parameters: Any) -> None:
    """Read some events of a stream, then go away."""
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 500, "temperature": 2.0, "seed": 1, **parameters}}
    with httpx.stream("POST", f"{served.url}/generate_stream", json=body, timeout=30) as response:
        lines = (line for line in response.iter_lines() if line)
        for _ in range(events):
            next(lines)


@contextlib.contextmanager
def sent(served: Served, path: str, body: dict[str, Any]) -> Iterator[None]:
    """A request under way, which nobody waits for any more once the block ends."""
    url, content = httpx.URL(served.url), json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(head.encode() + content)
        yield


def test_a_client_that_goes_away_stops_its_request(serve: Serve) -> None:
    served = serve(SlowModel)
    leave_after(served, 3)
    eventually(lambda: ended(served, "cancelled") == 1 and running(served) == 0)
    assert served.metric("wardrobe_engine_generated_tokens_total") < 60


def test_a_whole_answer_that_nobody_waits_for_is_stopped_too(serve: Serve) -> None:
    served = serve(SlowModel)
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 500, "temperature": 2.0, "seed": 1}}
    with sent(served, "/generate", body):
        eventually(lambda: running(served) == 1)
    eventually(lambda: ended(served, "cancelled") == 1 and running(served) == 0)


def test_newcomers_join_while_others_decode(serve: Serve, pool: ThreadPoolExecutor) -> None:
    served = serve(SlowModel)
    long = pool.submit(served.text, max_new_tokens=60, temperature=2.0, seed=1)
    eventually(lambda: running(served) == 1)
    served.text(max_new_tokens=2)
    assert not long.done()
    long.result()


def test_more_requests_than_may_wait_get_429(serve: Serve, pool: ThreadPoolExecutor) -> None:
    served = serve(SlowModel, max_batch=2, max_waiting=2)
    parameters = {"max_new_tokens": 30, "temperature": 2.0, "seed": 1}
    body = {"inputs": PROMPT, "parameters": parameters}
    given = list(pool.map(lambda _: httpx.post(f"{served.url}/generate", json=body, timeout=30), range(10)))
    assert sorted(response.status_code for response in given) == [200] * 4 + [429] * 6
    refused = next(response for response in given if response.status_code == 429).json()
    assert refused == {"error": "Model is overloaded", "error_type": "overloaded"}
    assert ended(served, "overloaded") == 6


def test_unload_lets_running_requests_finish_and_refuses_new_ones(
    serve: Serve, pool: ThreadPoolExecutor, adapters: dict[str, Path]
) -> None:
    served = serve(SlowModel)
    served.load(FIRST, adapters[FIRST])
    asked: dict[str, Any] = {"max_new_tokens": 40, "temperature": 2.0, "seed": 1}
    expected = served.text(FIRST, **asked)
    answer = pool.submit(served.text, FIRST, **asked)
    eventually(lambda: running(served) == 1)
    gone = pool.submit(served.unload, FIRST)
    eventually(lambda: info(served)["adapters"] == [])
    assert [one["name"] for one in info(served)["leaving"]] == [FIRST]
    served.generate(FIRST, status=404)
    assert not gone.done()
    served.load(FIRST, adapters["renal-v1"])  # a new adapter of the name does not disturb the leaving one
    assert answer.result() == expected
    gone.result()
    assert info(served)["leaving"] == []
    assert served.text(FIRST, **asked) != expected


def test_an_unload_that_nobody_waits_for_still_happens(serve: Serve, adapters: dict[str, Path]) -> None:
    served = serve(SlowModel)
    served.load(FIRST, adapters[FIRST])
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(served.text, FIRST, max_new_tokens=150, temperature=2.0, seed=1)
        eventually(lambda: running(served) == 1)
        with sent(served, "/v1/unload_lora_adapter", {"lora_name": FIRST}):
            eventually(lambda: info(served)["leaving"])
        assert [one["name"] for one in info(served)["leaving"]] == [FIRST]
        served.unload(FIRST)  # asked again, it says when that has happened
        assert info(served)["leaving"] == []
        answer.result()
    served.unload(FIRST, status=404)
    served.generate(FIRST, status=404)
    assert health(served) == 200


def test_a_failed_step_fails_its_requests_only(serve: Serve, pool: ThreadPoolExecutor) -> None:
    served = serve(BrokenModel)
    model = BrokenModel.last  # type: ignore[attr-defined]
    expected = served.text()
    for fault in ("prefill", "decode"):
        model.fails = {fault}
        refused = served.generate(status=424)
        assert refused["error_type"] == "generation"
        if fault == "prefill":
            assert health(served) == 503
        model.fails = set()
        eventually(lambda: health(served) == 200)
        assert served.text() == expected
    model.fails = {"numbers"}
    assert "not a number" in str(served.generate(status=424)["error"])
    served.generate(status=424, details=True, decoder_input_details=True)
    model.fails = set()
    assert served.text() == expected


class FragileBatch(Batch):
    """Fails at what it is told, each time."""

    fails: "set[str]" = set()

    def join(self, newcomers: list[Prefilled]) -> None:
        if "join" in self.fails:
            raise RuntimeError("no memory")
        super().join(newcomers)

    def keep(self, rows: list[int]) -> None:
        if "keep" in self.fails:
            raise RuntimeError("no memory")
        super().keep(rows)


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    monkeypatch.setattr(worker, "Batch", FragileBatch)
    yield FragileBatch.fails
    FragileBatch.fails.clear()


def test_newcomers_that_cannot_join_fail_alone(
    serve: Serve, pool: ThreadPoolExecutor, adapters: dict[str, Path], fragile: set[str]
) -> None:
    served = serve(SlowModel)
    served.load(FIRST, adapters[FIRST])
    asked: dict[str, Any] = {"max_new_tokens": 60, "temperature": 2.0, "seed": 1}
    expected = served.text(**asked)
    long = pool.submit(served.text, **asked)
    eventually(lambda: running(served) == 1)
    fragile.add("join")
    assert "no memory" in str(served.generate(FIRST, status=424)["error"])
    fragile.clear()
    assert long.result() == expected
    served.unload(FIRST)  # waits for ever for users that were never let go
    assert served.text(**asked) == expected
    assert health(served) == 200


@pytest.mark.parametrize("leaver", ["finished", "cancelled"])
def test_a_batch_that_cannot_be_parted_fails_whole(
    serve: Serve, pool: ThreadPoolExecutor, adapters: dict[str, Path], fragile: set[str], leaver: str
) -> None:
    served = serve(SlowModel)
    served.load(FIRST, adapters[FIRST])
    expected = served.text(FIRST)
    asked: dict[str, Any] = {"max_new_tokens": 300, "temperature": 2.0, "seed": 1, "status": 424}
    long = [pool.submit(served.generate, adapter, **asked) for adapter in (None, FIRST)]
    eventually(lambda: running(served) == 2)
    if leaver == "finished":
        fragile.add("keep")
        served.text(max_new_tokens=2)
    else:
        pool.submit(leave_after, served, 25)
        eventually(lambda: running(served) == 3)
        fragile.add("keep")
    for one in long:
        assert "no memory" in str(one.result()["error"])
    fragile.clear()
    assert served.text(FIRST) == expected
    served.unload(FIRST)
    eventually(lambda: health(served) == 200 and running(served) == 0)


def test_a_join_that_fails_leaves_the_batch_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(load(MODEL, Variant.NONE))
    batch = Batch(model.device)
    with torch.inference_mode():
        one, other = (Prefilled(model.prefill([5, 6, 7], 0, every_position=False)[1], 3, 8, 0) for _ in range(2))
        batch.join([one])
        monkeypatch.setattr("wardrobe_engine.cache._stack", raising)
        with pytest.raises(RuntimeError):
            batch.join([other])
        assert (len(batch), batch.lengths, batch.slots, batch.mask.shape) == (1, [3], [0], (1, 3))
        assert torch.isfinite(model.decode(batch)).all()


def raising(*_: object) -> None:
    raise RuntimeError("no memory")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Rows and the longest of them, in tokens, of each step."""
    seen: list[tuple[int, int]] = []
    inner = Model.decode

    def decode(model: Model, batch: Batch) -> torch.Tensor:
        seen.append((len(batch), max(batch.lengths) + 1))
        return inner(model, batch)

    monkeypatch.setattr(Model, "decode", decode)
    return seen


def test_a_batch_is_bounded_by_rows_times_the_longest(
    serve: Serve, pool: ThreadPoolExecutor, decoded: list[tuple[int, int]]
) -> None:
    served = serve(SlowModel, max_batch_total_tokens=150)
    lengths = [10, 10, 40, 10, 200, 10, 10, 30]
    asked: dict[str, Any] = {"temperature": 2.0, "seed": 1}
    given = [pool.submit(served.text, max_new_tokens=length, **asked) for length in lengths]
    assert all(one.result() for one in given)
    assert all(rows * longest <= 150 or rows == 1 for rows, longest in decoded)
    assert max(rows for rows, _ in decoded) > 1
    assert max(longest for _, longest in decoded) > 150


def test_requests_without_a_length_are_decoded_together(serve: Serve, pool: ThreadPoolExecutor) -> None:
    served = serve(SlowModel, max_batch_total_tokens=2000)
    for seed in range(3):
        pool.submit(leave_after, served, 150, max_new_tokens=None, seed=seed)
    eventually(lambda: running(served) == 3)


def test_a_row_too_long_for_all_to_stay_goes_on_later_where_it_was(decoded: list[tuple[int, int]]) -> None:
    expected = answers(max_batch_tokens=100_000)
    decoded.clear()
    assert answers(max_batch_tokens=1200) == expected
    assert all(rows * longest <= 1200 for rows, longest in decoded)
    assert {(3, 400), (2, 401)} <= set(decoded)  # no other adapter waits for the room that one leaves


def answers(max_batch_tokens: int) -> list[list[int]]:
    """Tokens of three long answers that are asked for at the same time."""
    asked = [Generation([5, 6, 7, 8], None, 410, Sampling(seed, temperature=2.0)) for seed in (0, 1, 3)]
    given: dict[Generation, list[Token]] = {one: [] for one in asked}

    def deliver(events: list[tuple[Generation, Event]]) -> None:
        for request, event in events:
            assert isinstance(event, Token)
            given[request].append(event)

    base = load(MODEL, Variant.NONE)
    running = worker.Worker(
        Model(base),
        chat=replace(base.chat, end_tokens=frozenset()),
        max_batch=32,
        max_batch_tokens=max_batch_tokens,
        stall_seconds=60,
        deliver=deliver,
        metrics=Metrics(),
    )
    for one in asked:
        running.submit(one)
    running.start()
    eventually(lambda: all(tokens and tokens[-1].end for tokens in given.values()))
    assert running.stop(10)
    return [[token.id for token in given[one]] for one in asked]


def test_long_answers_of_one_adapter_leave_room_in_the_batch_for_another(
    serve: Serve, pool: ThreadPoolExecutor, adapters: dict[str, Path]
) -> None:
    served = serve(SlowModel, max_batch_total_tokens=800)
    served.load(FIRST, adapters[FIRST])
    asked: dict[str, Any] = {"max_new_tokens": 150, "temperature": 2.0, "seed": 1}
    long = [pool.submit(served.text, **asked) for _ in range(7)]
    eventually(lambda: running(served) >= 2)
    served.text(FIRST, max_new_tokens=2)
    assert not any(one.done() for one in long)


def test_a_stream_whose_step_fails_ends_with_an_error(serve: Serve) -> None:
    served = serve(BrokenModel)
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 200}}
    with httpx.stream("POST", f"{served.url}/generate_stream", json=body, timeout=30) as response:
        lines = (line for line in response.iter_lines() if line)
        next(lines)
        BrokenModel.last.fails = {"decode"}  # type: ignore[attr-defined]
        *_, last = lines
    assert '"error_type": "generation"' in last


def test_a_hung_step_is_seen(serve: Serve, pool: ThreadPoolExecutor) -> None:
    served = serve(HungModel, Deadlines(stall=1))
    HungModel.go_on.clear()
    answer = pool.submit(served.text)
    eventually(lambda: health(served) == 503)
    HungModel.go_on.set()
    answer.result()
    eventually(lambda: health(served) == 200)


def test_a_hung_step_does_not_hold_up_the_end(serve: Serve, pool: ThreadPoolExecutor) -> None:
    served = serve(HungModel, Deadlines(stop=0.2))
    HungModel.go_on.clear()
    answer = pool.submit(served.text, max_new_tokens=2)
    eventually(lambda: running(served) == 1)
    assert not served.engine.stop()
    HungModel.go_on.set()
    answer.result()
    assert served.engine.stop()


def test_a_dead_thread_is_seen_and_nobody_waits_for_it(serve: Serve, adapters: dict[str, Path]) -> None:
    served = serve(BrokenModel)
    served.load(FIRST, adapters[FIRST])
    BrokenModel.last.fails = {"remove"}  # type: ignore[attr-defined]
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(served.generate, max_new_tokens=100, status=503)
        eventually(lambda: running(served) == 1)
        pool.submit(httpx.post, f"{served.url}/v1/unload_lora_adapter", json={"lora_name": FIRST}, timeout=1)
        answer.result()
    assert health(served) == 503
    assert served.generate(status=503)["error_type"] == "stopping"
    served.load("other-v1", adapters[FIRST], status=503)
