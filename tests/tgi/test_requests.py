"""What TGI makes of requests: facts that the contracts' file of it, the dialect and the padding rely on."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from support import tgi
from support.tgi import WARDROBE, Served, Tgi

from wardrobe_gateway.agent.engine_metrics import own_families
from wardrobe_gateway.engines import EngineRejectedError
from wardrobe_gateway.engines.http import EngineHttp
from wardrobe_gateway.engines.tgi import TgiEngine
from wardrobe_gateway.forwarding import session

pytestmark = pytest.mark.tgi

PROMPT = "<|user|>\nWhat is atrial fibrillation?<|end|>\n<|assistant|>\n"
MESSAGES = [{"role": "user", "content": "What is atrial fibrillation?"}]
CHAT = {"messages": MESSAGES, "max_tokens": 16, "temperature": 0}


def text(answer: requests.Response) -> str:
    assert answer.status_code == 200, answer.text
    said = answer.json()
    return str(said["generated_text"] if "generated_text" in said else said["choices"][0]["message"]["content"])


def test_scores_of_a_prompt_are_not_given_by_default(plain: Tgi) -> None:
    answer = plain.generate(PROMPT, max_new_tokens=1, details=True, decoder_input_details=True).json()
    assert answer["details"]["prefill"] == []
    assert len(answer["details"]["tokens"]) == 1


def test_scores_of_a_prompt_where_they_are_switched_on(padded: Served) -> None:
    answer = padded.tgi.generate(PROMPT, max_new_tokens=1, details=True, decoder_input_details=True)
    prefill = answer.json()["details"]["prefill"]
    assert str(len(prefill)) == answer.headers["x-prompt-tokens"]
    assert prefill[0]["logprob"] is None
    assert all(token["logprob"] <= 0 and token.keys() == {"id", "text", "logprob"} for token in prefill[1:])
    eighths = [token["logprob"] * 2**8 for token in prefill[1:] if token["logprob"] < -1]
    assert eighths == [round(value) for value in eighths]  # bfloat16 has 8 significant bits


def test_without_parameters_it_samples_and_with_them_it_does_not(plain: Tgi) -> None:
    def asked(body: dict[str, Any]) -> str:
        return text(plain.post("/generate", {"inputs": PROMPT, **body}))

    greedy = asked({"parameters": {"max_new_tokens": 16}})
    assert greedy == asked({"parameters": {"max_new_tokens": 16, "do_sample": False}})
    sampled = asked({"parameters": {"max_new_tokens": 16, "do_sample": True, "temperature": 2.0, "seed": 7}})
    assert sampled == asked({"parameters": {"max_new_tokens": 16, "temperature": 2.0, "seed": 7}})
    assert sampled != greedy
    assert len({asked({}) for _ in range(3)}) > 1


def test_a_chat_samples_unless_the_temperature_is_0(plain: Tgi) -> None:
    greedy = text(plain.post("/v1/chat/completions", CHAT))
    assert greedy == text(plain.post("/v1/chat/completions", CHAT))
    assert greedy == text(plain.generate(PROMPT, max_new_tokens=16))
    others = {text(plain.post("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 16})) for _ in range(3)}
    assert len(others) > 1


def test_a_presence_penalty_of_0_changes_the_text(plain: Tgi) -> None:
    longer = {**CHAT, "max_tokens": 40}
    assert text(plain.post("/v1/chat/completions", {**longer, "presence_penalty": 0})) != text(
        plain.post("/v1/chat/completions", longer)
    )


def test_a_frequency_penalty_of_0_and_n_do_not(plain: Tgi) -> None:
    same = text(plain.post("/v1/chat/completions", {**CHAT, "frequency_penalty": 0, "n": 1, "user": "x"}))
    assert same == text(plain.post("/v1/chat/completions", CHAT))


def test_a_top_p_of_1_is_refused(plain: Tgi) -> None:
    answer = plain.post("/v1/chat/completions", {**CHAT, "top_p": 1})
    assert answer.status_code == 422
    assert answer.json() == {
        "error": "Input validation error: `top_p` must be > 0.0 and < 1.0",
        "error_type": "validation",
    }


@pytest.mark.parametrize(
    "given",
    [{"type": "json_schema", "json_schema": {"name": "x", "schema": {"properties": {}}}}, {"type": "json_object"}],
)
def test_a_response_format_in_openais_words_is_refused(plain: Tgi, given: dict[str, Any]) -> None:
    answer = plain.post("/v1/chat/completions", {**CHAT, "response_format": given})
    assert answer.status_code == 422
    assert "missing field `value`" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"max_new_tokens": 0}, "`max_new_tokens` must be strictly positive"),
        (
            {"max_new_tokens": 2000},
            "`inputs` tokens + `max_new_tokens` must be <= 1024. Given: 14 `inputs` tokens and 1024",
        ),
        ({"temperature": 0.0}, "`temperature` must be strictly positive"),
        ({"top_p": 1.0}, "`top_p` must be > 0.0 and < 1.0"),
    ],
)
def test_values_that_are_refused(plain: Tgi, parameters: dict[str, Any], message: str) -> None:
    answer = plain.generate(PROMPT, **parameters)
    assert answer.status_code == 422
    assert answer.json()["error_type"] == "validation"
    assert answer.json()["error"].startswith(f"Input validation error: {message}")


def test_bodies_that_are_refused(plain: Tgi) -> None:
    json = {"content-type": "application/json"}

    def status(data: str, headers: dict[str, str]) -> tuple[int, str]:
        answer = requests.post(f"{plain.url}/generate", data=data, headers=headers, timeout=tgi.ANSWER_SECONDS)
        assert answer.headers["content-type"].startswith("text/plain")
        return answer.status_code, answer.text

    assert status("{", json)[0] == 400
    assert status("{", json)[1].startswith("Failed to parse the request body as JSON")
    assert status("{}", json) == (422, status("{}", json)[1])
    assert "missing field `inputs`" in status("{}", json)[1]
    assert status("{}", {"content-type": "text/plain"})[0] == 415
    assert status('{"inputs":"' + "x" * 2_100_000 + '"}', json)[0] == 413
    assert plain.post("/generate", {"inputs": PROMPT, "parameters": {"adapter_id": 7}}).status_code == 422
    assert plain.post("/generate", {"inputs": ""}).json()["error"] == "Input validation error: `inputs` cannot be empty"
    assert plain.post("/nowhere", {}).status_code == 404


def test_a_stream_of_text(plain: Tgi) -> None:
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 3, "details": True}}
    status, events = plain.events("/generate_stream", body)
    assert status == 200
    assert [event["index"] for event in events] == [1, 2, 3]
    assert [event["generated_text"] is None for event in events] == [True, True, False]
    assert events[-1]["details"].keys() >= {"finish_reason", "generated_tokens", "seed", "input_length"}
    assert events[-1]["details"]["finish_reason"] == "length"
    assert all(event["token"].keys() >= {"id", "text", "logprob", "special"} for event in events)
    assert "".join(event["token"]["text"] for event in events) == events[-1]["generated_text"]


def test_a_stream_of_a_chat(plain: Tgi) -> None:
    body = {**CHAT, "max_tokens": 3, "stream": True, "stream_options": {"include_usage": True}}
    status, events = plain.events("/v1/chat/completions", body)
    assert (status, events[-1]) == (200, "[DONE]")
    *chunks, usage = events[:-1]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, "length"]
    assert all(chunk["choices"][0]["delta"]["role"] == "assistant" for chunk in chunks)
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 14, "completion_tokens": 3, "total_tokens": 17}
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == text(
        plain.post("/v1/chat/completions", {**CHAT, "max_tokens": 3})
    )


def test_errors_of_streams_come_after_the_status_200(plain: Tgi) -> None:
    message = "Input validation error: `max_new_tokens` must be strictly positive"
    status, events = plain.events("/generate_stream", {"inputs": PROMPT, "parameters": {"max_new_tokens": 0}})
    assert (status, events) == (200, [{"error": message, "error_type": "validation"}])
    status, events = plain.events("/v1/chat/completions", {**CHAT, "max_tokens": 0, "stream": True})
    assert (status, events) == (200, [{"error": {"message": message, "http_status_code": 422}}, "[DONE]"])


@pytest.fixture
def full(plain: Tgi) -> Iterator[Tgi]:
    """Both of its places are taken."""
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 900, "temperature": 5.0}}
    streams = [plain.post("/generate_stream", body, stream=True) for _ in range(2)]
    lines = [stream.iter_lines() for stream in streams]  # dropped, they would close their connections
    assert all(b"token" in next(one) for one in lines)
    yield plain
    for stream in streams:
        stream.close()


def test_overload_is_429_and_of_a_stream_a_frame(full: Tgi) -> None:
    said = {"error": "Model is overloaded", "error_type": "overloaded"}
    answer = full.generate(PROMPT, max_new_tokens=1)
    assert (answer.status_code, answer.json()) == (429, said)
    assert "retry-after" not in answer.headers
    assert full.events("/generate_stream", {"inputs": PROMPT}) == (200, [said])
    frame = {"error": {"message": "Model is overloaded", "http_status_code": 422}}
    assert full.events("/v1/chat/completions", {**CHAT, "stream": True}) == (200, [frame, "[DONE]"])
    failures = [line for line in full.get("/metrics").text.splitlines() if "tgi_request_failure{" in line]
    assert any('err="overloaded"' in line for line in failures)


async def test_it_counts_the_steps_of_its_model_and_no_refusal_among_them(padded: Served) -> None:
    name = next(iter(padded.names.values()))
    async with session(60) as connection:
        engine = TgiEngine(EngineHttp(connection, padded.tgi.url))
        await engine.generate(name, PROMPT, 1)
        steps = await engine.steps()
        assert steps
        with pytest.raises(EngineRejectedError):
            await engine.generate(name, "", 1)
        assert await engine.steps() == steps
        await engine.generate(name, PROMPT, 2)
        assert await engine.steps() != steps


def test_its_metrics_are_families_of_one_prefix_without_an_adapter_in_them(padded: Served) -> None:
    name = next(iter(padded.names.values()))
    assert padded.tgi.generate(PROMPT, max_new_tokens=2, adapter_id=name).status_code == 200
    page = padded.tgi.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert own_families(page.text, TgiEngine.own_metrics).splitlines() == [one for one in page.text.splitlines() if one]
    assert name not in page.text
    types = {family.name: family.type for family in text_string_to_metric_families(page.text)}
    assert (
        types.items()
        >= {
            "tgi_request_count": "counter",
            "tgi_request_success": "counter",
            "tgi_request_duration": "histogram",
            "tgi_request_queue_duration": "histogram",
            "tgi_request_mean_time_per_token_duration": "histogram",
            "tgi_request_generated_tokens": "histogram",
            "tgi_request_input_length": "histogram",
            "tgi_request_skipped_tokens": "summary",
            "tgi_batch_inference_count": "counter",
            "tgi_batch_inference_duration": "histogram",
            "tgi_batch_next_size": "histogram",
            "tgi_batch_current_size": "gauge",
            "tgi_queue_size": "gauge",
        }.items()
    )


def test_answers_carry_their_counts(plain: Tgi) -> None:
    answer = plain.generate(PROMPT, max_new_tokens=2)
    assert answer.headers["x-prompt-tokens"] == "14"
    assert answer.headers["x-generated-tokens"] == "2"
    assert answer.headers["x-compute-characters"] == str(len(PROMPT))
    for name in ("total", "validation", "queue", "inference"):
        assert int(answer.headers[f"x-{name}-time"]) >= 0


def test_a_stop_text_stays_in_the_answer(plain: Tgi) -> None:
    whole = text(plain.generate(PROMPT, max_new_tokens=12))
    stop = whole.split()[1]
    answer = plain.generate(PROMPT, max_new_tokens=12, stop=[stop], details=True).json()
    assert answer["generated_text"].endswith(stop)
    assert answer["details"]["finish_reason"] == "stop_sequence"


def test_a_stop_text_stays_in_a_chats_answer_and_must_be_in_a_list(plain: Tgi) -> None:
    stop = text(plain.post("/v1/chat/completions", CHAT)).split()[1]
    answer = plain.post("/v1/chat/completions", {**CHAT, "stop": [stop]})
    assert text(answer).endswith(stop)
    assert plain.post("/v1/chat/completions", {**CHAT, "stop": stop}).status_code == 422


def test_the_root_answers_with_the_prompt_in_a_list(plain: Tgi) -> None:
    [answer] = plain.post("/", {"inputs": PROMPT, "parameters": {"max_new_tokens": 2}}).json()
    assert answer["generated_text"].startswith(PROMPT)


def test_the_prefix_cache_takes_one_adapters_keys_for_anothers(base: Path, recorded: Path, tmp_path: Path) -> None:
    """Why PREFIX_CACHING is 0; and scores of prompts do not show it (queue.rs:309)."""
    adapters = f"a={recorded / 'eight-v1'},b={recorded / 'eight-v1'}"
    prompt = "<|user|>\n" + "The patient is tired and has a cough. " * 12 + "<|end|>\n<|assistant|>\n"
    parameters = {"max_new_tokens": 24, "details": True}

    def scores(running: Tgi, name: str, **more: bool) -> list[float]:
        details = running.generate(prompt, adapter_id=name, **parameters, **more).json()["details"]
        return [token["logprob"] for token in details["tokens"]]

    with tgi.started(tmp_path / "run", base, **{**WARDROBE, "PREFIX_CACHING": "1"}, LORA_ADAPTERS=adapters) as running:
        first = scores(running, "nobody")
        assert scores(running, "a") != scores(running, "a", decoder_input_details=True)
        assert scores(running, "nobody") == first


def test_a_tokenizer_that_adds_tokens_adds_them_to_texts_and_not_to_chats(tmp_path: Path) -> None:
    source = tgi.with_bos(tmp_path / "source")
    chat = "<|bos|>" + PROMPT
    for name, folder, more in (
        ("as-it-is", _only_readable(tmp_path, source), [0]),
        ("linked", tgi.readable_base(tmp_path / "linked", source), []),
    ):
        with tgi.started(tmp_path / f"run-{name}", folder, **WARDROBE) as running:
            answer = running.generate(chat, max_new_tokens=1, details=True, decoder_input_details=True).json()
            ids = [token["id"] for token in answer["details"]["prefill"]]
            assert ids[: 1 + len(more)] == [*more, 0]
            assert ids[1 + len(more)] != 0
            usage = running.post("/v1/chat/completions", CHAT).json()["usage"]
            assert usage["prompt_tokens"] == len(ids) - len(more)


def _only_readable(folder: Path, source: Path) -> Path:
    """Links with the tokenizer's files as they are, but for what 4.51 cannot read."""
    linked = tgi.readable_base(folder / "readable", source)
    (linked / "tokenizer.json").unlink()
    (linked / "tokenizer.json").symlink_to(source / "tokenizer.json")
    return linked


def test_two_requests_at_once_are_both_answered(plain: Tgi) -> None:
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(text(plain.generate(PROMPT, max_new_tokens=8)))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 2
    assert texts[0] == texts[1]
