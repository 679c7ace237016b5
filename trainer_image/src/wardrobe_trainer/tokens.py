"""From a conversation to tokens and labels, by the base's own tokenizer and chat template (`wardrobe_models.chat`).

Templates rarely mark the assistant's tokens, so they are found by rendering: the conversation before an answer, with
the generation prompt, is what an engine will give the model, and its tokens must be a prefix of the whole's. The answer
begins there, and its labels reach up to and including the token that ends the turn: without a label on that token a
model learns to answer and never to stop.
"""

from dataclasses import dataclass
from pathlib import Path

from wardrobe_contracts.exits import Reason
from wardrobe_models import chat as models_chat
from wardrobe_models.chat import Chat, Message
from wardrobe_models.errors import BadBaseError

from .model_files import BaseFaultError

IGNORED = -100
"""Label of a token that takes no part in the loss (torch's cross entropy, `ignore_index`)."""


class UnstableTokensError(Exception):
    """Text before an answer has other tokens once the answer follows, or the answer has no end."""


@dataclass(frozen=True)
class Encoded:
    """A conversation as tokens."""

    ids: list[int]
    answers: list[tuple[int, int]]
    """Ranges [start, end) of `ids` that carry labels: one for each answer, its end token included."""

    def truncated(self, length: int) -> "Encoded":
        """The first `length` tokens; answers that begin later are gone."""
        kept = [(start, min(end, length)) for start, end in self.answers if start < length]
        return Encoded(self.ids[:length], kept)

    @property
    def label_tokens(self) -> int:
        """How many tokens carry a label."""
        return sum(end - start for start, end in self.answers)

    @property
    def labels(self) -> list[int]:
        """One label per token: the token itself inside answers, IGNORED elsewhere."""
        labels = [IGNORED] * len(self.ids)
        for start, end in self.answers:
            labels[start:end] = self.ids[start:end]
        return labels


def encode(chat: Chat, messages: list[Message]) -> Encoded:
    """Tokens and answers of a conversation. Raises ChatTemplateError or UnstableTokensError."""
    ids = chat.ids(chat.render(messages))
    turns = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    return Encoded(ids, [_answer(chat, messages, index, ids) for index in turns])


def _answer(chat: Chat, messages: list[Message], index: int, ids: list[int]) -> tuple[int, int]:
    before = chat.ids(chat.render(messages[:index], prompt=True))
    if ids[: len(before)] != before:
        raise UnstableTokensError(f"the tokens before message {index + 1} change with what follows them")
    # Only a bound: some templates (Qwen3) write more into the last answer than into the same answer further up.
    through = len(chat.ids(chat.render(messages[: index + 1])))
    for position in range(len(before), min(through, len(ids))):
        if ids[position] in chat.end_tokens:
            return len(before), position + 1
    raise UnstableTokensError("the chat template ends an answer with no token at which generation stops")


def load_chat(folder: Path) -> Chat:
    """Tokenizer and end tokens of a model folder. Raises BaseFaultError where it has no usable ones."""
    try:
        return models_chat.load_chat(folder)
    except BadBaseError as error:
        next_step = "Copy the model's tokenizer files, tokenizer.json among them, and its configuration into the folder"
        raise BaseFaultError(Reason.BASE_MALFORMED, str(error), next_step) from error
