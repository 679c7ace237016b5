"""A question, asked over HTTP as OpenAI's clients do."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

from .console import DemoError

PATH = "/v1/chat/completions"
VERSION_HEADER = "X-Wardrobe-Version"
QUESTION = "What are the symptoms of asthma?"
TOKENS = 70
WITHIN = 60.0


@dataclass(frozen=True)
class Answer:
    """What came back. `version` is the router's word for who answered; the bare engine says none."""

    text: str
    version: str
    seconds: float


def body(model: str, tokens: int = TOKENS) -> str:
    """The request: the likeliest words, so that two answers differ by their model only."""
    messages = json.dumps([{"role": "user", "content": QUESTION}])
    return f'{{"model": "{model}", "max_tokens": {tokens}, "temperature": 0,\n        "messages": {messages}}}'


def headers(key: str | None) -> dict[str, str]:
    """JSON, and the department's key as bearer token."""
    return {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}


def ask(url: str, model: str, key: str | None = None) -> Answer:
    """One question. Raises DemoError where it is not answered."""
    began = time.monotonic()
    request = urllib.request.Request(f"{url}{PATH}", body(model).encode(), headers(key))  # noqa: S310  our own http address
    try:
        with urllib.request.urlopen(request, timeout=WITHIN) as answer:  # noqa: S310
            text = json.load(answer)["choices"][0]["message"]["content"]
            return Answer(text, answer.headers.get(VERSION_HEADER, ""), time.monotonic() - began)
    except urllib.error.HTTPError as error:
        raise DemoError(f"{url}{PATH} answered {error.code}: {error.read().decode()}") from error
    except OSError as error:
        raise DemoError(f"{url}{PATH} did not answer: {error}") from error


def curl(model: str, key: str | None, url: str = "$URL") -> str:
    """The same, to be typed. `key` is a shell expression."""
    authorization = f' -H "Authorization: Bearer {key}"' if key else ""
    return f"curl -s {url}{PATH}{authorization} -d '{body(model)}'"
