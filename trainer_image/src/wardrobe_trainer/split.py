"""Which side of the split a row is on: a property of its prompt and the seed alone.

The side does not depend on the other rows, so a dataset that grows never moves a row from the held-out side to the
training side, and scores of successive versions stay comparable. Rows that begin with the same question share a side,
however they go on and whatever the system prompt, so an adapter is never scored on a question it was trained on.
"""

import hashlib
import unicodedata

from wardrobe_models.chat import Message

_HASH_RANGE = 2**64


def normalised(text: str) -> str:
    """Text without differences that a reader would not notice: Unicode form, case, runs of white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def prompt_key(messages: list[Message]) -> str:
    """Normalised form of all that comes before the last answer."""
    return "\n".join(f"{message['role']}: {normalised(message['content'])}" for message in messages[:-1])


def opening_question(messages: list[Message]) -> str:
    """The first user message, normalised: every answer of a row is trained on, so its first question decides."""
    return next(normalised(message["content"]) for message in messages if message["role"] == "user")


def held_out(messages: list[Message], *, seed: int, fraction: float) -> bool:
    """Whether a row is kept for evaluation; `fraction` is the expected share of such prompts."""
    digest = hashlib.sha256(f"{seed}\nuser: {opening_question(messages)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * _HASH_RANGE
