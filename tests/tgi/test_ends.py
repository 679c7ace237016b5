"""How TGI ends: what the wrapper and the agent's drain rely on."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import requests
from support import tgi
from support.tgi import WARDROBE, Tgi
from support.waiting import eventually

pytestmark = pytest.mark.tgi

BODY = {
    "inputs": "<|user|>\nHello<|end|>\n<|assistant|>\n",
    "parameters": {"max_new_tokens": 400, "temperature": 5.0, "seed": 1},
}


def begun(running: Tgi) -> tuple[requests.Response, Any]:
    """A stream whose first event has come, and its lines."""
    stream = running.post("/generate_stream", BODY, stream=True)
    lines = stream.iter_lines()
    assert b"token" in next(lines)
    return stream, lines


def test_it_listens_no_more_at_sigterm_and_finishes_what_runs(base: Path, tmp_path: Path) -> None:
    with tgi.started(tmp_path / "run", base, **WARDROBE) as running:
        stream, lines = begun(running)
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: not running.listens(), what="it still listens")
        last = [line for line in lines if line][-1]
        assert b'"generated_text":null' not in last.replace(b": null", b":null")
        stream.close()
        assert running.process.wait() == 0


def test_past_its_timeout_it_cuts_streams_and_still_exits_0(base: Path, tmp_path: Path) -> None:
    with tgi.started(tmp_path / "run", base, **WARDROBE, GRACEFUL_TERMINATION_TIMEOUT="1") as running:
        long = {**BODY, "parameters": {**BODY["parameters"], "max_new_tokens": 1000}}  # type: ignore[dict-item]  # an object
        streams = [running.post("/generate_stream", long, stream=True) for _ in range(8)]
        lines = [stream.iter_lines() for stream in streams]
        for one in lines:
            next(one)
        running.process.send_signal(signal.SIGTERM)
        cut = 0
        for one in lines:
            said = b""
            try:
                for line in one:
                    said = line or said
            except requests.exceptions.RequestException:
                cut += 1
                continue
            cut += b'generated_text":null' in said.replace(b": null", b":null")
        assert cut
        assert running.process.wait() == 0


def test_sigterm_while_it_starts_is_no_failure(base: Path, tmp_path: Path) -> None:
    with tgi.begun(tmp_path / "run", base, **WARDROBE) as running:
        eventually(running.children, what=running.log.read_text)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait() == 0


def test_a_dead_shard_ends_it_with_1(base: Path, tmp_path: Path) -> None:
    with tgi.started(tmp_path / "run", base, **WARDROBE) as running:
        stream, lines = begun(running)
        os.kill(running.shard(), signal.SIGKILL)
        last = [line for line in lines if line][-1]
        assert b'"error_type":"generation"' in last
        stream.close()
        assert running.process.wait() == 1
        assert "ShardFailed" in running.log.read_text()


def test_who_hangs_up_stops_the_generation(base: Path, tmp_path: Path) -> None:
    with tgi.started(tmp_path / "run", base, **WARDROBE, MAX_CONCURRENT_REQUESTS="1") as running:
        stream, _ = begun(running)
        assert running.generate("Hello", max_new_tokens=1).status_code == 429
        stream.close()
        eventually(lambda: running.generate("Hello", max_new_tokens=1).status_code == 200, what="it goes on")
        assert 'err="dropped"' in running.get("/metrics").text
