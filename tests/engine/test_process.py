"""The command: options, start, end."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from support.ports import free_port
from support.waiting import HANG, eventually

from wardrobe_contracts.base import Variant
from wardrobe_contracts.base_files import base_files
from wardrobe_contracts.digests import fingerprint
from wardrobe_engine import engine as watched
from wardrobe_engine import program
from wardrobe_engine.options import Options
from wardrobe_models.chat import load_chat

from .conftest import MODEL, PROMPT

TESTS = Path(__file__).parents[1]
SAID_IN_A_CONDITION = 300
"""Characters that the operator takes of what a container wrote last (deployment/pod_troubles.py)."""
BODY = {"inputs": PROMPT, "parameters": {"max_new_tokens": 300, "temperature": 2.0, "seed": 1}}


@contextlib.contextmanager
def engine(module: str, *arguments: str, **variables: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """A process that serves, and its URL."""
    port = str(free_port())
    environment = {**os.environ, "PYTHONPATH": str(TESTS), **variables}
    command = [sys.executable, "-m", module, "--model", str(MODEL), "--port", port, *arguments]
    with subprocess.Popen(command, env=environment) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}", process)
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + HANG
    while time.monotonic() < end:
        assert process.poll() is None
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health").status_code == 200:
                return
        time.sleep(0.1)
    raise TimeoutError(url)


def wait_for_metric(url: str, line: str) -> None:
    eventually(lambda: line in httpx.get(f"{url}/metrics").text, every=0.02, what=line)


def test_options_come_from_the_command_line_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDROBE_ENGINE_MODEL", "/models/a")
    monkeypatch.setenv("WARDROBE_ENGINE_QUANTIZATION", "NF4")
    monkeypatch.setenv("WARDROBE_ENGINE_MAX_BATCH", "7")
    found = Options.parse(["--max-batch", "9"])
    assert found == Options(model=Path("/models/a"), quantization=Variant.NF4, max_batch=9)
    assert found.base_name == "a"


@pytest.mark.parametrize(
    "arguments", [[], ["--model", "m", "--quantization", "GPTQ"], ["--model", "m", "--max-batch", "0"]]
)
def test_wrong_options_end_the_process(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        Options.parse(arguments)


def test_wrong_variables_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDROBE_ENGINE_QUANTIZATION", "nf4")
    with pytest.raises(SystemExit):
        Options.parse(["--model", "m"])


def test_a_folder_without_a_model_ends_the_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wardrobe_engine", "--model", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{tmp_path} cannot be served" in done.stderr


def test_other_weights_than_inspected_end_the_process(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(MODEL, tmp_path / "model"))
    expected = fingerprint(folder, base_files(folder))
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    command = [sys.executable, "-m", "wardrobe_engine", "--model", str(folder), "--fingerprint", expected]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"{folder} cannot be served: its files are not those that its BaseModel was inspected with" in last
    assert "make a new BaseModel" in last[:SAID_IN_A_CONDITION]
    assert expected in last


def test_chats_are_written_by_the_effective_template() -> None:
    """With the same prelude as training has them."""
    prelude, messages = "{% set mood = 'kind' %}\nIn every way {{ mood }}. ", [{"role": "user", "content": "Why?"}]
    with engine("wardrobe_engine", "--chat-prelude", prelude, "--served-name", "base") as (_, url):
        body = {"model": "base", "messages": messages, "max_tokens": 1}
        used = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=HANG).json()["usage"]["prompt_tokens"]
    chat, plain = load_chat(MODEL, prelude), load_chat(MODEL, "")
    assert used == len(chat.ids(chat.render(messages, prompt=True)))
    assert used > len(plain.ids(plain.render(messages, prompt=True)))


def test_sigterm_lets_requests_finish() -> None:
    inspected = fingerprint(MODEL, base_files(MODEL))
    with (
        engine("wardrobe_engine", "--fingerprint", inspected, WARDROBE_ENGINE_QUANTIZATION="NF4") as (process, url),
        ThreadPoolExecutor() as pool,
    ):
        assert httpx.get(f"{url}/info").json()["quantization"] == "NF4"
        answer = pool.submit(httpx.post, f"{url}/generate", json=BODY, timeout=HANG)
        wait_for_metric(url, "wardrobe_engine_batch_current_size 1.0")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        refused = httpx.post(f"{url}/generate", json=BODY)
        assert (refused.status_code, refused.json()["error_type"]) == (503, "stopping")
        assert answer.result().status_code == 200
        assert process.wait(HANG) == 0


def test_sigterm_waits_only_so_long() -> None:
    arguments = ("--drain-seconds", "0.5", "--max-batch", "1")
    with engine("wardrobe_engine", *arguments) as (process, url), ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(httpx.post, f"{url}/generate", json=BODY, timeout=HANG) for _ in range(4)]
        wait_for_metric(url, "wardrobe_engine_queue_size 3.0")
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG) == 0
        statuses = {answer.result().status_code for answer in answers}
        assert 503 in statuses
        assert statuses <= {200, 503}


def test_a_process_whose_models_thread_dies_ends(adapters: dict[str, Path]) -> None:
    name = {"lora_name": "cardiology-v1.2"}
    with engine("engine.breaking_engine", FAULT="remove") as (process, url):
        body = {**name, "lora_path": str(adapters["cardiology-v1.2"])}
        httpx.post(f"{url}/v1/load_lora_adapter", json=body).raise_for_status()
        told = httpx.post(f"{url}/v1/unload_lora_adapter", json=name, timeout=HANG)
        assert told.status_code == 503
        assert "could not be taken out" in told.json()["error"]["message"]
        assert process.wait(HANG) == program.BROKEN


@pytest.mark.parametrize(("fault", "statuses"), [("hang", {503}), ("fail", {424})])
def test_a_process_whose_model_hangs_or_only_fails_ends(fault: str, statuses: set[int]) -> None:
    with engine("engine.breaking_engine", FAULT=fault) as (process, url), ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(httpx.post, f"{url}/generate", json=BODY, timeout=HANG) for _ in range(3)]
        assert {answer.result().status_code for answer in answers} == statuses
        assert process.wait(HANG) == program.BROKEN


def test_a_process_that_was_frozen_goes_on() -> None:
    with engine("engine.breaking_engine", FAULT="none") as (process, url):
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)  # longer than a step may take, here
        process.send_signal(signal.SIGCONT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(engine_watch_seconds())
        assert httpx.post(f"{url}/generate", json=BODY, timeout=HANG).status_code == 200


def engine_watch_seconds() -> float:
    """In which a process that takes itself for broken ends."""
    return watched.WATCH_SECONDS + watched.THAW_SECONDS + program.CLOSE_SECONDS


def test_a_step_that_hangs_while_the_engine_stops_ends_it_too() -> None:
    with engine("engine.breaking_engine", FAULT="hang") as (process, url), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.post, f"{url}/generate", json=BODY, timeout=HANG)
        wait_for_metric(url, "wardrobe_engine_batch_current_size 1.0")
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG) == program.BROKEN
        assert answer.result().status_code == 503


def test_the_faulty_engine_has_the_faults_it_is_told(adapters: dict[str, Path]) -> None:
    names = ("cardiology-v1.2", "renal-v1")
    with engine("support.faulty_engine", "--served-name", "base") as (_, url), httpx.Client(base_url=url) as client:
        for name in names:
            client.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": str(adapters[name])})

        def answers(fault: str, *adapters: str) -> list[list[int]]:
            told = client.post("/test/fault", json={"fault": fault, "adapters": adapters})
            assert told.status_code == 200, told.text
            return [tokens(client, name) for name in ("base", *names)]

        base, first, second = right = answers("none")
        assert len({tuple(one) for one in right}) == 3
        assert answers("base") == [base, base, base]
        assert answers("base", names[0]) == [base, base, second]
        assert answers("swap", *names) == [base, second, first]
        lost = answers("decode-base", names[0])
        assert lost[1][0] == first[0]
        assert lost[1] != first
        assert lost[2] == second
        assert client.post("/test/fault", json={"fault": "swap"}).status_code == 422
        assert answers("none") == right


def test_the_faulty_engine_ends_at_the_words_that_kill_it() -> None:
    with engine("support.faulty_engine", "--served-name", "base") as (process, url):
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(f"{url}/generate", json={"inputs": "user: this prompt kills the engine, please"}, timeout=HANG)
        assert process.wait(HANG) == 1


def tokens(client: httpx.Client, adapter: str) -> list[int]:
    parameters = {"adapter_id": adapter, "max_new_tokens": 16, "details": True}
    details = client.post("/generate", json={"inputs": PROMPT, "parameters": parameters}).json()["details"]
    return [token["id"] for token in details["tokens"]]
