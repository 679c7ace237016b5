"""What becomes of text before the model sees it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from wardrobe_engine.prompts import TRIM_BYTES

from .conftest import PROMPT, Serve, Served

CONTROLS = ("<|bos|>", "<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>")


@pytest.mark.parametrize("token", CONTROLS)
def test_control_tokens_in_a_message_are_refused_as_in_training(served: Served, token: str) -> None:
    question = {"role": "user", "content": "What is it?"}
    parts = [{"type": "text", "text": f"a{token[:3]}"}, {"type": "text", "text": f"{token[3:]}b"}]
    for content in (f"What{token}is it?", parts):
        body = {"model": "tantanila", "messages": [question, {"role": "user", "content": content}]}
        error = served.post("/v1/chat/completions", body, 422).json()["error"]
        assert error["message"].startswith(f"messages.1.content: {token!r}")
        assert error["type"] == "validation"


def test_a_rendered_prompt_keeps_its_control_tokens(served: Served) -> None:
    body = {"inputs": PROMPT, "parameters": {"max_new_tokens": 1, "details": True, "decoder_input_details": True}}
    read = served.post("/generate", body).json()["details"]["prefill"]
    assert [token["text"] for token in read if token["text"] in CONTROLS] == ["<|user|>", "<|end|>", "<|assistant|>"]


def test_what_looks_almost_like_a_control_token_is_text(served: Served) -> None:
    messages = [{"role": "user", "content": "a < |end|> b <|end |> <|nobody|>"}]
    body = {"model": "tantanila", "messages": messages, "max_tokens": 1}
    served.post("/v1/chat/completions", body)


def test_a_prompt_fits_as_long_as_its_tokens_do(serve: Serve) -> None:
    served = serve(max_total_tokens=40)
    longest = " gastrointestinal"  # of the vocabulary, where its space is written in two bytes
    assert served.engine.prompts.max_bytes == 40 * (len(longest) + 1)
    asked = {"max_new_tokens": 1, "details": True, "decoder_input_details": True}
    given = served.post("/generate", {"inputs": longest * 39, "parameters": asked}).json()
    assert len(given["details"]["prefill"]) == 39
    error = served.post("/generate", {"inputs": "a" * 721}, 422).json()["error"]
    assert error == "the prompt has 721 bytes; 40 tokens, which are all that fit, hold at most 720; shorten it"
    error = served.post("/generate", {"inputs": "1!" * 30}, 422).json()["error"]
    assert "Given: 60 `inputs` tokens" in error


def test_a_conversation_without_a_token_is_refused(serve: Serve) -> None:
    served = serve()
    served.engine.chat.tokenizer.chat_template = "{{ '' }}"
    body = {"model": "tantanila", "messages": [{"role": "user", "content": "a"}]}
    assert "no token" in served.post("/v1/chat/completions", body, 422).text


def test_large_prompts_wait_beside_the_loop(serve: Serve) -> None:
    """Eight prompts that a large context would take, one after the other, while small ones are answered."""
    served = serve()
    served.engine.prompts.max_bytes = 8 * TRIM_BYTES
    with ThreadPoolExecutor(8) as pool:
        given = [pool.submit(served.post, "/generate", {"inputs": "1!" * TRIM_BYTES}, 422) for _ in range(8)]
        assert "Given: 524288 `inputs` tokens" in given[0].result().text
        assert served.text()
        assert all(one.result().status_code == 422 for one in given)
