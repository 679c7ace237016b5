"""The clients that people use."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from huggingface_hub import InferenceClient, constants
from huggingface_hub.errors import HfHubHTTPError, ValidationError

from .conftest import PROMPT, Served

ADAPTER = "renal-v1"
CHAT: Any = [{"role": "user", "content": "What is atrial fibrillation?"}]


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def hub(served: Served, monkeypatch: pytest.MonkeyPatch) -> InferenceClient:
    # offline, the client refuses to talk to anybody, the engine included
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return InferenceClient(model=served.url)


def test_openai(client: openai.OpenAI, served: Served) -> None:
    expected = served.text(ADAPTER, max_new_tokens=12)
    asked: dict[str, Any] = {"model": ADAPTER, "messages": CHAT, "temperature": 0, "max_tokens": 12}
    given = client.chat.completions.create(**asked)
    assert given.choices[0].message.content == expected
    assert given.usage is not None
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == expected
    assert chunks[-1].usage == given.usage
    assert ADAPTER in [model.id for model in client.models.list()]


def test_openai_sees_errors_as_such(client: openai.OpenAI) -> None:
    for streaming in (False, True):
        with pytest.raises(openai.NotFoundError, match="nobody"):
            client.chat.completions.create(model="nobody", messages=CHAT, stream=streaming)
    with pytest.raises(openai.UnprocessableEntityError, match="n: "):
        client.chat.completions.create(model=ADAPTER, messages=CHAT, n=3)


def test_huggingface_hub_generates(hub: InferenceClient, served: Served) -> None:
    expected = served.text(ADAPTER, max_new_tokens=12)
    asked: dict[str, Any] = {"adapter_id": ADAPTER, "max_new_tokens": 12}
    assert hub.text_generation(PROMPT, **asked) == expected
    assert "".join(hub.text_generation(PROMPT, **asked, stream=True)) == expected
    whole = hub.text_generation(PROMPT, **asked, details=True)
    assert whole.details.finish_reason == "length"
    scored = hub.text_generation(PROMPT, **asked, details=True, decoder_input_details=True)
    assert scored.details.prefill[0].logprob is None
    *_, last = hub.text_generation(PROMPT, **asked, stream=True, details=True)
    assert last.generated_text == expected
    assert last.details.generated_tokens == 12


def test_huggingface_hub_chats(hub: InferenceClient, served: Served) -> None:
    expected = served.text(ADAPTER, max_new_tokens=12)
    given = hub.chat_completion(CHAT, model=ADAPTER, max_tokens=12, temperature=0)
    assert given.choices[0].message.content == expected
    chunks = hub.chat_completion(CHAT, model=ADAPTER, max_tokens=12, temperature=0, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected


def test_huggingface_hub_sees_errors_as_such(hub: InferenceClient) -> None:
    with pytest.raises(ValidationError, match="watermark"):
        hub.text_generation(PROMPT, watermark=True)
    with pytest.raises(Exception, match="nobody"):
        hub.text_generation(PROMPT, adapter_id="nobody")
    with pytest.raises(HfHubHTTPError):
        hub.chat_completion(CHAT, model="nobody")
