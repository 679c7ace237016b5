"""Which side of the split a row is on: a property of what its user says and the seed alone.

The side does not depend on the other rows, so a dataset that grows never moves a row from the held-out side to the
training side, and scores of successive versions stay comparable. Rows whose users say the same share a side, whatever
the system prompt and the answers.
"""

import hashlib
import unicodedata

from wardrobe_models.chat import Message

from .dataset import TEXT

SAYS = frozenset({"user", TEXT})
_HASH_RANGE = 2**64


def normalised(text: str) -> str:
    """Text without differences that a reader would not notice: Unicode form, case, runs of white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def prompt_key(messages: list[Message]) -> str:
    """Normalised form of all that comes before the last answer; of a text, of the text."""
    return "\n".join(f"{message['role']}: {normalised(message['content'])}" for message in messages[:-1] or messages)


def user_turns(messages: list[Message]) -> str:
    """All that the user says, normalised, or the text. Of a single turn it is as First light hashed it, so those rows
    stay."""
    said = (item for item in messages if item["role"] in SAYS)
    return "\n".join(f"{item['role']}: {normalised(item['content'])}" for item in said)


def held_out(messages: list[Message], *, seed: int, fraction: float) -> bool:
    """Whether a row is kept for evaluation; `fraction` is the expected share of such conversations."""
    digest = hashlib.sha256(f"{seed}\n{user_turns(messages)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * _HASH_RANGE
