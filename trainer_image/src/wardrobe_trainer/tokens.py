"""From a conversation to tokens and labels, by the base's own tokenizer and chat template (`wardrobe_models.chat`).

An answer is trained as it is served. What an engine is sent is the conversation before it with the generation prompt;
after exactly these tokens come, as labels, what the template writes for the answer as last message, up to and including
the token that ends it: without a label on that token a model learns to answer and never to stop. Where the template
writes the prompt otherwise once an answer follows (a thought that it opens for the model and drops afterwards), the
labels are the answer's text as the template writes it, and its end token.

Many templates write an answer otherwise as soon as another follows. There each answer is an example of its own.
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


_MARK = "wardrobe-answer-7c1e"
"""Stands in an answer's place to find where the template writes it."""


class UnlabelledError(Exception):
    """The template writes an answer so that nothing can be labelled as it. The text is a rule that this breaks."""


@dataclass(frozen=True)
class Turn:
    """One answer as it is served, in text."""

    prompt: str
    """What an engine is sent."""
    answer: str
    """What follows: it begins with the answer, and has the end token and perhaps more after it."""


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


def encode(chat: Chat, messages: list[Message]) -> list[Encoded]:
    """One example of the whole conversation where all its answers stand in it as they are served, else one for each.

    Each ends with the end token of its last answer. Raises ChatTemplateError or UnlabelledError.
    """
    single = [_encoded(chat, turn) for turn in turns(chat, messages)]
    whole = single[-1].ids
    if all(whole[: len(one.ids)] == one.ids for one in single):
        return [Encoded(whole, [answer for one in single for answer in one.answers])]
    return single


def examples(chat: Chat, messages: list[Message], length: int) -> list[Encoded]:
    """What is learnt from a conversation in `length` tokens: examples that keep labels. Raises as `encode`."""
    cut = (one.truncated(length) for one in encode(chat, messages))
    return [one for one in cut if one.answers]


def turns(chat: Chat, messages: list[Message]) -> list[Turn]:
    """Each answer of a conversation. Raises ChatTemplateError or UnlabelledError."""
    places = [place for place, message in enumerate(messages, 1) if message["role"] == "assistant"]
    return [_turn(chat, messages[:place]) for place in places]


def _turn(chat: Chat, messages: list[Message]) -> Turn:
    prompt, whole = chat.render(messages[:-1], prompt=True), chat.render(messages)
    if not whole.startswith(prompt):
        return Turn(prompt, _written(chat, messages, whole))
    ends = [chat.control_tokens[token] for token in chat.end_tokens if token in chat.control_tokens]
    if not any(end in whole[len(prompt) :] for end in ends):
        whole = _followed(chat, messages, whole)
    return Turn(prompt, whole[len(prompt) :])


def _followed(chat: Chat, messages: list[Message], whole: str) -> str:
    """With the beginning of a further turn: some templates (GLM's) write no end, and a model stops at that token."""
    more = chat.render([*messages, {"role": "user", "content": _MARK}])
    return more if more.startswith(whole) else whole


def _written(chat: Chat, messages: list[Message], whole: str) -> str:
    """The last message's text as the template writes it, and what it writes after that."""
    marked = chat.render([*messages[:-1], {**messages[-1], "content": _MARK}])
    before, mark, after = marked.rpartition(_MARK)
    if not mark or not (whole.startswith(before) and whole.endswith(after)):
        raise UnlabelledError("the chat template must write an answer's text as it stands")
    return whole[len(before) :]


def _encoded(chat: Chat, turn: Turn) -> Encoded:
    before = chat.ids(turn.prompt)
    answer = _answer_ids(chat, turn, before)
    end = next((place for place, token in enumerate(answer, 1) if token in chat.end_tokens), None)
    if end is None:
        raise UnlabelledError("the chat template must end an answer with a token at which generation stops")
    return Encoded(before + answer[:end], [(len(before), len(before) + end)])


def _answer_ids(chat: Chat, turn: Turn, before: list[int]) -> list[int]:
    """What follows the prompt's tokens. Raises UnlabelledError."""
    whole = chat.ids(turn.prompt + turn.answer)
    if whole[: len(before)] == before:
        return whole[len(before) :]
    # one token would stand for the prompt's end and the answer's beginning, and a model is sent all of the prompt
    apart = chat.ids(turn.answer)
    if chat.text(before + apart) != chat.text(whole):
        raise UnlabelledError("the tokenizer must have tokens for an answer that are not the prompt's as well")
    return apart


def answer_offsets(chat: Chat, turn: Turn) -> list[tuple[int, int]]:
    """Range of characters in `turn.answer` of each of its tokens, those after the end token too."""
    text, before = turn.prompt + turn.answer, chat.ids(turn.prompt)
    if chat.ids(text)[: len(before)] != before:
        return chat.offsets(turn.answer)
    shift = len(turn.prompt)
    return [(low - shift, high - shift) for low, high in chat.offsets(text)[len(before) :]]


def load_chat(folder: Path, prelude: str) -> Chat:
    """Tokenizer, effective template and end tokens of a model folder. Raises BaseFaultError where it has no usable
    ones."""
    try:
        return models_chat.load_chat(folder, prelude)
    except BadBaseError as error:
        next_step = "Copy the model's tokenizer files, tokenizer.json among them, and its configuration into the folder"
        raise BaseFaultError(Reason.BASE_MALFORMED, str(error), next_step) from error
