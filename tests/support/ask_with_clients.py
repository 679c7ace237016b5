"""Departments' own clients against a router: `python -m support.ask_with_clients URL KEY MODEL`.

Runs in the engine's environment and prints what each of them got, as JSON.
"""

import json
import sys

import openai
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

QUESTION = "What is atrial fibrillation?"


def main() -> None:
    """Ask in every way."""
    url, key, model = sys.argv[1:]
    print(json.dumps({**with_openai(url, key, model), **with_hub(url, key, model)}))  # noqa: T201


def with_openai(url: str, key: str, model: str) -> dict[str, object]:
    """The openai package."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    whole = _chat(client, model)
    streamed = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": QUESTION}], max_tokens=8, temperature=0, stream=True
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in streamed]
    refused: dict[str, str] = {}
    for wrong_key, wrong_model, kind in (
        ("nobody's", model, openai.AuthenticationError),
        (key, "paediatrics", openai.PermissionDeniedError),
        (key, "gpt-4", openai.NotFoundError),
    ):
        try:
            _chat(client.with_options(api_key=wrong_key), wrong_model)
        except kind as error:
            refused[kind.__name__] = str(error.code)
    return {
        "openai": whole.choices[0].message.content,
        "openai stream": "".join(pieces),
        "openai models": [found.id for found in client.models.list()],
        "openai refused": refused,
        "tokens": whole.usage and whole.usage.completion_tokens,
    }


def _chat(client: openai.OpenAI, model: str) -> ChatCompletion:
    question: ChatCompletionMessageParam = {"role": "user", "content": QUESTION}
    return client.chat.completions.create(model=model, messages=[question], max_tokens=8, temperature=0)


def with_hub(url: str, key: str, model: str) -> dict[str, object]:
    """huggingface_hub's InferenceClient."""
    client, messages = InferenceClient(base_url=url, api_key=key), [{"role": "user", "content": QUESTION}]
    chat = client.chat_completion(messages, model=model, max_tokens=8, temperature=0)
    pieces = client.chat_completion(messages, max_tokens=8, temperature=0, stream=True)  # names no model
    plain = InferenceClient(model=url, token=key)
    streamed = plain.text_generation("What is", max_new_tokens=8, stream=True)
    try:
        plain.text_generation("What is", max_new_tokens=8, adapter_id="gpt-4")
    except HfHubHTTPError as error:
        refused = str(error)
    return {
        "hub": chat.choices[0].message.content,
        "hub stream": "".join(chunk.choices[0].delta.content or "" for chunk in pieces if chunk.choices),
        "hub text": plain.text_generation("What is", max_new_tokens=8),
        "hub text stream": "".join(streamed),
        "hub refused": refused,
    }


if __name__ == "__main__":
    main()
