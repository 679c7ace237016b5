"""A question, asked over HTTP as OpenAI's clients do."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

from .console import DemoError

PATH = "/v1/chat/completions"
ADAPTER_HEADER = "X-Wardrobe-Version"
QUESTION = "What are the symptoms of asthma?"
TOKENS = 70
WITHIN = 60.0


@dataclass(frozen=True)
class Answer:
    """What came back. `adapter` is the router's word for who answered; the bare engine says none."""

    text: str
    adapter: str
    seconds: float


def body(model: str, tokens: int = TOKENS) -> str:
    """The request: the likeliest words, so that two answers differ by their model only."""
    messages = json.dumps([{"role": "user", "content": QUESTION}])
    return f'{{"model": "{model}", "max_tokens": {tokens}, "temperature": 0,\n        "messages": {messages}}}'


def headers(key: str | None) -> dict[str, str]:
    """JSON, and the department's key as bearer token."""
    return {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}


def ask(url: str, model: str, key: str | None = None, tokens: int = TOKENS) -> Answer:
    """One question. Raises DemoError where it is not answered."""
    began = time.monotonic()
    answered, adapter = _fetch(f"{url}{PATH}", key, body(model, tokens).encode())
    return Answer(words(answered), adapter, time.monotonic() - began)


def adapters(url: str, department: str, key: str) -> list[str]:
    """What a department may ask by name, but for itself. Raises DemoError."""
    listed, _ = _fetch(f"{url}/v1/models", key)
    return [one["id"] for one in json.loads(listed)["data"] if one["id"] != department]


def words(answered: str) -> str:
    """The text of an answer."""
    text: str = json.loads(answered)["choices"][0]["message"]["content"]
    return text


def _fetch(url: str, key: str | None, sent: bytes | None = None) -> tuple[str, str]:
    """The body, and the adapter that answered."""
    request = urllib.request.Request(url, sent, headers(key))  # noqa: S310  our own http address
    try:
        with urllib.request.urlopen(request, timeout=WITHIN) as answer:  # noqa: S310
            return answer.read().decode(), answer.headers.get(ADAPTER_HEADER, "")
    except urllib.error.HTTPError as error:
        raise DemoError(f"{url} answered {error.code}: {error.read().decode()}") from error
    except OSError as error:
        raise DemoError(f"{url} did not answer: {error}") from error


def curl(model: str, key: str | None, url: str = "$URL") -> str:
    """The same, to be typed. `key` is a shell expression."""
    authorization = f' -H "Authorization: Bearer {key}"' if key else ""
    return f"curl -s {url}{PATH}{authorization} -d '{body(model)}'"
