"""The model's thread under cancelled requests, full queues, failing steps, and its own death."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from transformers import DynamicCache

from wardrobe_engine import engine, worker
from wardrobe_engine.cache import Batch
from wardrobe_engine.model import Model

from .conftest import PROMPT, Serve, Served

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

    def prefill(self, ids: list[int], slot: int, *, every_position: bool) -> tuple[torch.Tensor, DynamicCache]:
        if "prefill" in self.fails:
            raise RuntimeError("no memory")
        logits, cache = super().prefill(ids, slot, every_position=every_position)
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


def eventually(condition: Any, within: float = 10.0) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def health(served: Served) -> int:
    return httpx.get(f"{served.url}/health").status_code


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


def test_a_client_that_goes_away_stops_its_request(serve: Serve) -> None:
    served = serve(SlowModel)
    leave_after(served, 3)
    eventually(lambda: ended(served, "cancelled") == 1 and running(served) == 0)
    assert served.metric("wardrobe_engine_generated_tokens_total") < 60


def test_a_whole_answer_that_nobody_waits_for_is_stopped_too(serve: Serve) -> None:
    served = serve(SlowModel)
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 500, "temperature": 2.0, "seed": 1}}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{served.url}/generate", json=body, timeout=0.3)
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
    asked = {"max_new_tokens": 40, "temperature": 2.0, "seed": 1}
    expected = served.text(FIRST, **asked)
    answer = pool.submit(served.text, FIRST, **asked)
    eventually(lambda: running(served) == 1)
    gone = pool.submit(served.unload, FIRST)
    eventually(lambda: httpx.get(f"{served.url}/info").json()["adapters"] == [])
    served.generate(FIRST, status=404)
    assert not gone.done()
    served.load(FIRST, adapters["renal-v1"])  # a new adapter of the name does not disturb the leaving one
    assert answer.result() == expected
    gone.result()
    assert served.text(FIRST, **asked) != expected


def test_an_unload_that_nobody_waits_for_still_happens(serve: Serve, adapters: dict[str, Path]) -> None:
    served = serve(SlowModel)
    served.load(FIRST, adapters[FIRST])
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(served.text, FIRST, max_new_tokens=40, temperature=2.0, seed=1)
        eventually(lambda: running(served) == 1)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{served.url}/v1/unload_lora_adapter", json={"lora_name": FIRST}, timeout=0.1)
        answer.result()
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


def test_a_stream_whose_step_fails_ends_with_an_error(serve: Serve) -> None:
    served = serve(BrokenModel)
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 200}}
    with httpx.stream("POST", f"{served.url}/generate_stream", json=body, timeout=30) as response:
        lines = (line for line in response.iter_lines() if line)
        next(lines)
        BrokenModel.last.fails = {"decode"}  # type: ignore[attr-defined]
        *_, last = lines
    assert '"error_type": "generation"' in last


def test_a_hung_step_is_seen(serve: Serve, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "STALL_SECONDS", 1.0)
    served = serve(HungModel)
    HungModel.go_on.clear()
    answer = pool.submit(served.text)
    eventually(lambda: health(served) == 503)
    HungModel.go_on.set()
    answer.result()
    eventually(lambda: health(served) == 200)


def test_a_hung_step_does_not_hold_up_the_end(
    serve: Serve, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "STOP_SECONDS", 0.2)
    served = serve(HungModel)
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
