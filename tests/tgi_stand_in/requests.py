"""Bodies of requests as TGI reads them: serde's words where the shape is wrong, the router's where a value is."""

import random
from dataclasses import dataclass, field
from typing import Any

from .facts import LENGTH


class ShapeError(Exception):
    """422 as plain text."""


class TgiError(Exception):
    """An error with a type and a status."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


def invalid(message: str) -> TgiError:
    """A value that the router refuses."""
    return TgiError(422, "validation", f"Input validation error: {message}")


@dataclass
class Asked:
    """One text to go on with."""

    inputs: str
    special: bool
    """Whether the tokenizer adds its tokens (router/src/lib.rs:1369)."""
    adapter: str = ""
    max_new_tokens: int | None = None
    do_sample: bool = False
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition: float | None = None
    seed: int | None = None
    stop: list[str] = field(default_factory=list)
    details: bool = False
    prefill: bool = False
    full_text: bool = False

    def sampling(self) -> dict[str, Any] | None:
        """As utils/tokens.py:56 decides it: a temperature of 1 alone does not sample."""
        warped = self.temperature not in (None, 1.0) or self.top_k is not None or self.top_p is not None
        if not (self.do_sample or warped):
            return None
        seed = random.getrandbits(63) if self.seed is None else self.seed
        return {"seed": seed, "temperature": self.temperature or 1.0, "top_k": self.top_k, "top_p": self.top_p}


def of_text(body: dict[str, Any]) -> Asked:
    """`/generate`. Without parameters it samples (router/src/lib.rs:421)."""
    inputs = _field(body, "inputs", str, required=True)
    parameters = _field(body, "parameters", dict)
    if parameters is None:
        return Asked(inputs, special=True, do_sample=True)
    return Asked(
        inputs,
        special=True,
        adapter=_field(parameters, "adapter_id", str) or "",
        max_new_tokens=_field(parameters, "max_new_tokens", int),
        do_sample=bool(_field(parameters, "do_sample", bool)),
        temperature=_field(parameters, "temperature", float),
        top_k=_field(parameters, "top_k", int),
        top_p=_field(parameters, "top_p", float),
        repetition=_field(parameters, "repetition_penalty", float),
        seed=_field(parameters, "seed", int),
        stop=_field(parameters, "stop", list) or [],
        details=bool(_field(parameters, "details", bool)),
        prefill=bool(_field(parameters, "decoder_input_details", bool)),
        full_text=bool(_field(parameters, "return_full_text", bool)),
    )


def of_openai(body: dict[str, Any], inputs: str, *, chat: bool) -> Asked:
    """Chats and completions: they sample unless the temperature is 0; a chat's presence penalty is raised by 2."""
    temperature = _field(body, "temperature", float)
    presence = _field(body, "presence_penalty", float) if chat else None
    model = _field(body, "model", str)
    _require_known_format(body)
    return Asked(
        inputs,
        special=not chat,
        adapter="" if model in (None, "tgi") else str(model),
        max_new_tokens=_field(body, "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens", int),
        do_sample=temperature != 0,
        temperature=temperature or None,
        top_p=_field(body, "top_p", float),
        repetition=_field(body, "repetition_penalty", float) if presence is None else presence + 2.0,
        seed=_field(body, "seed", int),
        stop=_field(body, "stop", list) or [],
        details=True,
        prefill=not chat and not body.get("stream"),
    )


def for_shard(asked: Asked, ids: list[int], total: int, most_input: int, *, scored: bool) -> dict[str, Any]:
    """The request as the shard takes it, in the order in which the router looks. Raises TgiError."""
    if asked.temperature is not None and asked.temperature <= 0:
        raise invalid("`temperature` must be strictly positive")
    if asked.top_p is not None and not 0 < asked.top_p < 1:
        raise invalid("`top_p` must be > 0.0 and < 1.0")
    if asked.max_new_tokens == 0:
        raise invalid("`max_new_tokens` must be strictly positive")
    if not asked.inputs:
        raise invalid("`inputs` cannot be empty")
    most = min(total - len(ids) if asked.max_new_tokens is None else asked.max_new_tokens, LENGTH)
    if len(ids) + max(most, 1) > total:
        given = f"Given: {len(ids)} `inputs` tokens and {most} `max_new_tokens`"
        raise invalid(f"`inputs` tokens + `max_new_tokens` must be <= {total}. {given}")
    if len(ids) > most_input:
        raise invalid(f"`inputs` must have less than {most_input} tokens. Given: {len(ids)}")
    return {
        "ids": ids,
        "adapter": asked.adapter,
        "max": most,
        "sampling": asked.sampling(),
        "repetition": 1.0 if asked.repetition is None else asked.repetition,
        "stop": asked.stop,
        "prefill": asked.prefill and scored,
    }


def _require_known_format(body: dict[str, Any]) -> None:
    """OpenAI's words for it are not read (seen)."""
    given = body.get("response_format")
    if given is not None and "value" not in given:
        raise ShapeError(_WRONG.format("response_format: missing field `value`"))


_WRONG = "Failed to deserialize the JSON body into the target type: {} at line 1 column 1"


def _field(body: dict[str, Any], name: str, kind: type, *, required: bool = False) -> Any:
    value = body.get(name)
    if value is None:
        if required:
            raise ShapeError(_WRONG.format(f"missing field `{name}`"))
        return None
    wanted = (int, float) if kind is float else kind
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise ShapeError(_WRONG.format(f"{name}: invalid type"))
    return value
