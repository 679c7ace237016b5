"""Answers and frames as TGI writes them."""

import time
from dataclasses import dataclass, field
from typing import Any

from .facts import COMPUTE_TYPE, VERSION
from .requests import Asked, TgiError

_FINGERPRINT = f"{VERSION}-native"


@dataclass
class Answer:
    """What was generated so far."""

    prompt_tokens: int
    prefill: list[dict[str, Any]] = field(default_factory=list)
    tokens: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""
    end: str | None = None
    began: float = field(default_factory=time.monotonic)
    stepped: float = 0.0

    def step(self) -> float:
        """Seconds since the token before, or the beginning."""
        before, self.stepped = self.stepped or self.began, time.monotonic()
        return self.stepped - before

    def take(self, said: dict[str, Any], texts: list[str], ids: list[int]) -> None:
        """One line of the shard's."""
        if "prefill" in said:
            found = zip(ids, texts, said["prefill"], strict=True)
            self.prefill = [{"id": token, "text": text, "logprob": score} for token, text, score in found]
        else:
            self.tokens.append(said["token"])
            self.text, self.end = said["text"], said["end"]

    def headers(self, asked: Asked) -> dict[str, str]:
        """Of answers that are not streamed; times in ms, but x-compute-time, which is in s."""
        spent = time.monotonic() - self.began
        whole = str(round(spent * 1000))
        return {
            "x-compute-type": COMPUTE_TYPE,
            "x-compute-time": str(spent),
            "x-compute-characters": str(len(asked.inputs)),
            "x-total-time": whole,
            "x-validation-time": "0",
            "x-queue-time": "0",
            "x-inference-time": whole,
            "x-time-per-token": str(round(spent * 1000 / len(self.tokens))),
            "x-prompt-tokens": str(self.prompt_tokens),
            "x-generated-tokens": str(len(self.tokens)),
        }

    def usage(self) -> dict[str, int]:
        """As OpenAI counts."""
        made = len(self.tokens)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": made,
            "total_tokens": self.prompt_tokens + made,
        }


def text(asked: Asked, answer: Answer) -> dict[str, Any]:
    """`/generate`."""
    rendered: dict[str, Any] = {"generated_text": (asked.inputs if asked.full_text else "") + answer.text}
    if asked.details or asked.prefill:
        end = {"finish_reason": answer.end, "generated_tokens": len(answer.tokens), "seed": asked.seed}
        rendered["details"] = {**end, "prefill": answer.prefill, "tokens": answer.tokens}
    return rendered


def text_frame(asked: Asked, answer: Answer) -> list[dict[str, Any]]:
    """`/generate_stream`."""
    frame = {"index": len(answer.tokens), "token": answer.tokens[-1], "generated_text": None, "details": None}
    if answer.end is None:
        return [frame]
    end = {"finish_reason": answer.end, "generated_tokens": len(answer.tokens), "seed": asked.seed}
    details = {**end, "input_length": answer.prompt_tokens} if asked.details else None
    whole = (asked.inputs if asked.full_text else "") + answer.text
    return [{**frame, "generated_text": whole, "details": details}]


def text_error(error: TgiError) -> dict[str, Any]:
    """The same body as where nothing is streamed."""
    return {"error": str(error), "error_type": error.kind}


def openai_error(error: TgiError) -> dict[str, Any]:
    """The status is 422, whatever it is (seen)."""
    return {"error": {"message": str(error), "http_status_code": 422}}


def chat(named: str, answer: Answer) -> dict[str, Any]:
    """The name that was asked, which may be nobody's (server.rs:1197)."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": answer.text},
        "logprobs": None,
        "finish_reason": _openai_reason(answer),
    }
    return {**_head("chat.completion", named), "choices": [choice], "usage": answer.usage()}


def chat_frame(named: str, answer: Answer, *, usage: bool) -> list[dict[str, Any]]:
    """A chunk for each token, with its role; where it was asked for one more, with the usage."""
    delta = {"role": "assistant", "content": "" if answer.tokens[-1]["special"] else answer.tokens[-1]["text"]}
    reason = _openai_reason(answer) if answer.end else None
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    head = _head("chat.completion.chunk", named)
    chunk = {**head, "choices": [choice], "usage": None}
    last = {**head, "choices": [], "usage": answer.usage()}
    return [chunk, last] if answer.end and usage else [chunk]


def completion(model: str, answer: Answer) -> dict[str, Any]:
    """`/v1/completions`."""
    choice = {"index": 0, "text": answer.text, "logprobs": None, "finish_reason": _openai_reason(answer)}
    return {**_head("text_completion", model), "choices": [choice], "usage": answer.usage()}


def completion_frame(model: str, answer: Answer) -> list[dict[str, Any]]:
    """The reason is empty until the last, which has the usage."""
    choice = {"index": 0, "text": answer.tokens[-1]["text"], "logprobs": None, "finish_reason": answer.end or ""}
    chunk = {**_head("text_completion", model), "choices": [choice]}
    return [{**chunk, "usage": answer.usage()} if answer.end else chunk]


def _head(kind: str, model: str) -> dict[str, Any]:
    created = int(time.time())
    return {"object": kind, "id": "", "created": created, "model": model, "system_fingerprint": _FINGERPRINT}


def _openai_reason(answer: Answer) -> str:
    """OpenAI knows `length` and `stop`."""
    return "length" if answer.end == "length" else "stop"
