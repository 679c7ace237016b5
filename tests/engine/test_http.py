"""Requests and answers as TGI, OpenAI and vLLM have them."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from .conftest import PROMPT, SHAPES, Serve, Served

FIRST = "cardiology-v1.2"
CHAT = [{"role": "user", "content": "What is atrial fibrillation?"}]


def stream(served: Served, path: str, body: dict[str, Any]) -> list[str]:
    """Data of the events."""
    with httpx.stream("POST", f"{served.url}{path}", json=body, timeout=60) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"] == "text/event-stream"
        events = [event for event in response.read().decode().split("\n\n") if event]
    assert all(event.startswith("data:") for event in events)
    return [event.removeprefix("data:").strip() for event in events]


def test_every_adapter_answers_otherwise_and_as_it_does_alone(served: Served) -> None:
    names = [None, *SHAPES]
    alone = {name: served.text(name, max_new_tokens=16) for name in names}
    assert len(set(alone.values())) == len(names)
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda name: (name, served.text(name, max_new_tokens=16)), names * 3))
    assert all(text == alone[name] for name, text in together)


def test_scores_of_a_text_that_was_generated_are_those_of_its_generation(served: Served) -> None:
    compared = 0
    for name in (None, *SHAPES):
        given: Any = served.generate(name, max_new_tokens=10, details=True)
        text = PROMPT + given["generated_text"]
        body = {"adapter_id": name, "max_new_tokens": 1, "details": True, "decoder_input_details": True}
        scored = served.post("/generate", {"inputs": text, "parameters": body}).json()["details"]["prefill"]
        assert scored[0]["logprob"] is None
        assert "".join(token["text"] for token in scored) == text
        generated = given["details"]["tokens"]
        tail = scored[-len(generated) :]
        if [token["id"] for token in tail] == [token["id"] for token in generated]:
            expected = [token["logprob"] for token in generated]
            assert [token["logprob"] for token in tail] == pytest.approx(expected, abs=1e-3)
            compared += 1
    assert compared > 1, "text is hardly ever read again as it was written"


def test_details_of_a_whole_answer(served: Served) -> None:
    given: Any = served.generate(details=True, max_new_tokens=400)
    details = given["details"]
    assert details["finish_reason"] == "eos_token"
    assert details["generated_tokens"] == len(details["tokens"])
    assert details["tokens"][-1] == {**details["tokens"][-1], "text": "<|end|>", "special": True}
    assert details["seed"] is None
    assert details["prefill"] == []
    assert "<|end|>" not in given["generated_text"]
    assert "".join(token["text"] for token in details["tokens"][:-1]) == given["generated_text"]


def test_stop_strings_across_tokens(served: Served) -> None:
    whole = served.text(max_new_tokens=20)
    stop = whole[3:9]
    given: Any = served.generate(max_new_tokens=20, stop=["never", stop], details=True)
    assert given["generated_text"] == whole[: whole.index(stop) + len(stop)]
    assert given["details"]["finish_reason"] == "stop_sequence"
    assert served.text(max_new_tokens=20, stop=[stop], return_full_text=True).startswith(PROMPT)


def test_sampling_by_seed(served: Served) -> None:
    settings: dict[str, Any] = {"max_new_tokens": 12, "temperature": 1.5}
    first, again = (served.text(FIRST, seed=5, **settings) for _ in range(2))
    assert first == again
    assert len({served.text(FIRST, seed=seed, **settings) for seed in range(4)}) > 1
    given: Any = served.generate(FIRST, do_sample=True, details=True)
    assert isinstance(given["details"]["seed"], int)


def test_a_streamed_answer_is_the_whole_one(served: Served) -> None:
    whole: Any = served.generate(FIRST, details=True, max_new_tokens=12)
    body = {"inputs": PROMPT, "parameters": {"adapter_id": FIRST, "details": True, "max_new_tokens": 12}}
    frames = [json.loads(event) for event in stream(served, "/generate_stream", body)]
    assert [frame["token"] for frame in frames] == whole["details"]["tokens"]
    assert [frame["index"] for frame in frames] == list(range(1, len(frames) + 1))
    assert all(frame["generated_text"] is None and frame["details"] is None for frame in frames[:-1])
    assert frames[-1]["generated_text"] == whole["generated_text"]
    assert frames[-1]["details"]["finish_reason"] == whole["details"]["finish_reason"]
    assert frames[-1]["details"]["input_length"] > 5


def test_the_root_is_for_huggingface_hub(served: Served) -> None:
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 4}}
    assert served.post("/", body).json() == [{"generated_text": served.text(max_new_tokens=4)}]
    assert len(stream(served, "/", {**body, "stream": True})) == 4


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"max_new_tokens": 5000}, "must be <= 1024"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"temperature": 0}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"watermark": True}, "watermark"),
        ({"repetition_penalty": 1.2}, "repetition_penalty"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"decoder_input_details": True}, "details"),
    ],
)
def test_what_is_not_acted_upon_is_refused(served: Served, parameters: dict[str, Any], words: str) -> None:
    refused = served.generate(status=422, **parameters)
    assert refused["error_type"] == "validation"
    assert words in str(refused["error"])


def test_bodies_that_are_no_requests(served: Served) -> None:
    served.post("/generate", {"inputs": ""}, 422)
    served.post("/generate", [], 422)
    assert httpx.post(f"{served.url}/generate", content=b"{").status_code == 422
    served.post("/generate", {"inputs": "a" * 2_100_000}, 413)
    served.post("/v1/chat/completions", {"model": "tantanila", "messages": []}, 422)


def test_unknown_adapters_are_not_found_anywhere(served: Served) -> None:
    given = served.generate("nobody-v1", status=404)
    assert given["error_type"] == "unknown_adapter"
    body = {"inputs": PROMPT, "parameters": {"adapter_id": "nobody-v1"}}
    served.post("/generate_stream", body, 404)
    for streaming in (False, True):
        asked = {"model": "nobody-v1", "messages": CHAT, "stream": streaming}
        error = served.post("/v1/chat/completions", asked, 404).json()["error"]
        assert error["code"] == 404
        assert "nobody-v1" in error["message"]
    served.unload("nobody-v1", status=404)


def test_chat(served: Served) -> None:
    body = {"model": FIRST, "messages": CHAT, "temperature": 0, "max_tokens": 16}
    given = served.post("/v1/chat/completions", body).json()
    [choice] = given["choices"]
    assert choice["message"] == {"role": "assistant", "content": served.text(FIRST, max_new_tokens=16)}
    assert given["model"] == FIRST
    usage = given["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
    *events, last = stream(served, "/v1/chat/completions", asked)
    assert last == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert (
        "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1])
        == choice["message"]["content"]
    )
    assert chunks[-1]["usage"] == usage
    assert chunks[-1]["choices"] == []
    assert chunks[-2]["choices"][0]["finish_reason"] == choice["finish_reason"]
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_chat_leaves_stop_strings_out_and_never_shows_their_beginning(served: Served) -> None:
    whole = served.text(max_new_tokens=20)
    stop = whole[6:14]
    body = {"model": "tantanila", "messages": CHAT, "temperature": 0, "max_tokens": 20, "stop": stop}
    given = served.post("/v1/chat/completions", body).json()["choices"][0]
    assert given["message"]["content"] == whole[: whole.index(stop)]
    assert given["finish_reason"] == "stop"
    *events, _ = stream(served, "/v1/chat/completions", {**body, "stream": True})
    pieces = [json.loads(event)["choices"][0]["delta"].get("content", "") for event in events]
    assert "".join(pieces) == whole[: whole.index(stop)]


@pytest.mark.parametrize(
    "change",
    [
        {"n": 2},
        {"logprobs": True},
        {"tools": []},
        {"temperature": 3},
        {"max_tokens": 4, "max_completion_tokens": 4},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"messages": [{"role": "wizard", "content": "x"}]},
    ],
)
def test_chat_refuses_what_it_does_not_act_upon(served: Served, change: dict[str, object]) -> None:
    given = served.post("/v1/chat/completions", {"model": "tantanila", "messages": CHAT, **change}, 422).json()
    assert given["error"]["type"] == "validation"


def test_messages_that_the_template_refuses(serve: Serve) -> None:
    served = serve()
    served.engine.chat.tokenizer.chat_template = "{{ 1 // 0 }}"
    served.post("/v1/chat/completions", {"model": "tantanila", "messages": CHAT}, 422)
    served.engine.chat.tokenizer.chat_template = "{{ raise_exception('a conversation begins with the user') }}"
    given = served.post("/v1/chat/completions", {"model": "tantanila", "messages": CHAT}, 422).json()["error"]
    assert given["type"] == "template_error"
    assert "begins with the user" in given["message"]


def test_content_in_parts(served: Served) -> None:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "atrial fibrillation?"}]
    body = {"model": "tantanila", "temperature": 0, "max_tokens": 4}
    one, other = (
        served.post("/v1/chat/completions", {**body, "messages": messages}).json()["choices"]
        for messages in (CHAT, [{"role": "user", "content": parts}])
    )
    assert one == other


def test_models_info_health_and_metrics(served: Served) -> None:
    models = httpx.get(f"{served.url}/v1/models").json()["data"]
    assert [model["id"] for model in models] == ["tantanila", *SHAPES]
    assert {model["parent"] for model in models[1:]} == {"tantanila"}
    info = httpx.get(f"{served.url}/info").json()
    assert info["model_id"] == "tantanila"
    assert info["quantization"] == "None"
    assert info["max_total_tokens"] == 1024
    assert [adapter["rank"] for adapter in info["adapters"]] == [8, 4, 16]
    assert httpx.get(f"{served.url}/health").status_code == 200
    before = served.metric('wardrobe_engine_request_count_total{outcome="success"}')
    tokens = served.metric("wardrobe_engine_generated_tokens_total")
    served.generate(max_new_tokens=5)
    assert served.metric('wardrobe_engine_request_count_total{outcome="success"}') == before + 1
    assert served.metric("wardrobe_engine_generated_tokens_total") == tokens + 5
    assert served.metric("wardrobe_engine_adapters_loaded") == 3
    assert served.metric("wardrobe_engine_queue_size") == 0


def test_loading_and_unloading(serve: Serve, adapters: dict[str, Path]) -> None:
    served = serve()
    base = served.text()
    for name, folder in adapters.items():
        assert served.load(name, folder).text == f"Success: LoRA adapter '{name}' added successfully."
    answers = {name: served.text(name) for name in adapters}
    assert "already been loaded" in served.load(FIRST, adapters[FIRST], status=400).json()["error"]["message"]
    for name in ("tantanila", "a b", "", "../x"):
        served.load(name, adapters[FIRST], status=400)
    served.unload(FIRST)
    served.generate(FIRST, status=404)
    assert {name: served.text(name) for name in answers if name != FIRST} == {
        name: text for name, text in answers.items() if name != FIRST
    }
    served.load("again-v2", adapters[FIRST])
    assert served.text("again-v2") == answers[FIRST]
    for name in ("again-v2", "renal-v1", "emergency-v3"):
        served.unload(name)
    assert served.text() == base
