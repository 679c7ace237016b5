"""From a conversation to tokens and labels, by the base's own tokenizer and chat template (`wardrobe_models.chat`).

An answer is trained as it is served. What an engine is sent is the conversation before it with the generation prompt;
after exactly these tokens come, as labels, what the template writes for the answer as last message, up to and including
the token that ends it: without a label on that token a model learns to answer and never to stop. Where the template
writes the prompt otherwise once an answer follows (a thought that it opens for the model and drops afterwards), the
labels are the answer's text as the template writes it, and its end token.

Many templates write an answer otherwise as soon as another follows. There each answer is an example of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from wardrobe_contracts.exits import Reason
from wardrobe_models import chat as models_chat
from wardrobe_models.chat import Chat, ChatTemplateError, Message
from wardrobe_models.errors import BadBaseError

from .cut import Cut
from .dataset import TEXT
from .model_files import BaseFaultError

IGNORED = -100
"""Label of a token that takes no part in the loss (torch's cross entropy, `ignore_index`)."""


Places = np.ndarray[Any, np.dtype[np.int32]]
"""Of tokens, the characters [start, end) that each covers: (tokens, 2)."""

_MARK = "wardrobe-answer-7c1e"
"""Stands in an answer's place to find where the template writes it."""


class UnlabelledError(Exception):
    """The template writes an answer so that nothing can be labelled as it. The text is a rule that this breaks."""


@dataclass(frozen=True)
class Turn:
    """One answer as it is served, in text; or a text that is learnt as it stands."""

    prompt: str
    """What an engine is sent; nothing of a text."""
    answer: str
    """What follows: it begins with the answer, and has the end token and perhaps more after it."""
    is_text: bool = False

    @property
    def whole(self) -> str:
        """Both."""
        return self.prompt + self.answer


@dataclass(frozen=True)
class Encoded:
    """A conversation as tokens."""

    ids: list[int]
    answers: list[tuple[int, int]]
    """Ranges [start, end) of `ids` that carry labels: one for each answer, its end token included."""
    turns: list[Turn] = field(default_factory=list, compare=False)
    """Each answer as text; not of what was truncated."""
    places: list[Places] = field(default_factory=list, compare=False)
    """Of each answer's tokens, those of `Turn.answer`; of what was tokenised with them."""

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


Unencodable = ChatTemplateError | UnlabelledError


def encode(chat: Chat, messages: list[Message]) -> list[Encoded]:
    """One example of the whole conversation where all its answers stand in it as they are served, else one for each.

    Each ends with the end token of its last answer. Raises ChatTemplateError or UnlabelledError.
    """
    [found] = encode_all(chat, [messages])
    if isinstance(found, Exception):
        raise found
    return found


def encode_all(
    chat: Chat, conversations: list[list[Message]], *, placed: bool = False
) -> list[list[Encoded] | Unencodable]:
    """Each as `encode` has it, or why it cannot be; tokenised together, and every text once where that is enough. With
    their places, which takes longer, where somebody will ask for them."""
    rendered = [_rendered(chat, messages) for messages in conversations]
    texts = [found[-1].whole for found in rendered if isinstance(found, list)]
    tokens = chat.placed(texts) if placed else zip(chat.all_ids(texts), repeat(()))
    read = iter(tokens)
    return [_or_why_not(chat, found, *next(read)) if isinstance(found, list) else found for found in rendered]


def examples(chat: Chat, messages: list[Message], length: int) -> list[Encoded]:
    """What is learnt from a conversation in `length` tokens: examples that keep labels. Raises as `encode`."""
    cut = (one.truncated(length) for one in encode(chat, messages))
    return [one for one in cut if one.answers]


def _rendered(chat: Chat, messages: list[Message]) -> list[Turn] | Unencodable:
    try:
        return turns(chat, messages)
    except (ChatTemplateError, UnlabelledError) as error:
        return error


def _or_why_not(
    chat: Chat, found: list[Turn], ids: list[int], ranges: Sequence[tuple[int, int]]
) -> list[Encoded] | Unencodable:
    try:
        return _encode(chat, found, ids, ranges)
    except UnlabelledError as error:
        return error


def _encode(chat: Chat, found: list[Turn], ids: list[int], ranges: Sequence[tuple[int, int]]) -> list[Encoded]:
    """`ids` are the last turn's, `ranges` the characters of each if they were asked for. Raises UnlabelledError."""
    last = found[-1]
    if last.is_text:
        return [_text_encoded(chat, last, ids)]
    read = Cut.of(chat, last.whole, ids)
    answers = [answer for turn in found if read and (answer := read.answer(turn))]
    if len(answers) == len(found):
        pairs = zip(found, answers, strict=True)
        places = [_within(ranges[start:end], len(turn.prompt)) for turn, (start, end) in pairs] if ranges else []
        return [Encoded(ids[: answers[-1][1]], answers, found, places)]
    single = [_encoded(chat, turn) for turn in found]
    whole = single[-1].ids
    if all(whole[: len(one.ids)] == one.ids for one in single):
        return [Encoded(whole, [answer for one in single for answer in one.answers], found)]
    return single


def _text_encoded(chat: Chat, turn: Turn, ids: list[int]) -> Encoded:
    """A text between what the tokenizer begins one with and the token that ends it."""
    before = _opening(chat)
    whole = [*before, *ids, _text_end(chat)]
    return Encoded(whole, [(max(1, len(before)), len(whole))], [turn])  # nothing precedes the first


def _opening(chat: Chat) -> list[int]:
    alone: list[int] = chat.backend.encode("", add_special_tokens=True).ids
    return list(takewhile(lambda token: token not in chat.end_tokens, alone))


def _text_end(chat: Chat) -> int:
    end: int | None = chat.tokenizer.eos_token_id
    return min(chat.end_tokens) if end is None else end


def turns(chat: Chat, messages: list[Message]) -> list[Turn]:
    """Each answer of a conversation, or the one text. Raises ChatTemplateError or UnlabelledError."""
    if messages[-1]["role"] == TEXT:
        return [Turn("", messages[-1]["content"], is_text=True)]
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
    return Encoded(before + answer[:end], [(len(before), len(before) + end)], [turn])


def _answer_ids(chat: Chat, turn: Turn, before: list[int]) -> list[int]:
    """What follows the prompt's tokens. Raises UnlabelledError."""
    whole = chat.ids(turn.whole)
    if whole[: len(before)] == before:
        return whole[len(before) :]
    # one token would stand for the prompt's end and the answer's beginning, and a model is sent all of the prompt
    apart = chat.ids(turn.answer)
    if chat.text(before + apart) != chat.text(whole):
        raise UnlabelledError("the tokenizer must have tokens for an answer that are not the prompt's as well")
    return apart


def answer_offsets(chat: Chat, turn: Turn) -> Places:
    """In `turn.answer`, of each of its labelled tokens, and of those after the end token too."""
    [(ids, offsets)] = chat.placed([turn.whole])
    if turn.is_text:
        end = len(turn.answer)
        return _within([*offsets[max(0, 1 - len(_opening(chat))) :], (end, end)])
    before = chat.ids(turn.prompt)
    if ids[: len(before)] != before:
        return _within(chat.placed([turn.answer])[0][1])
    return _within(offsets[len(before) :], len(turn.prompt))


def _within(ranges: Sequence[tuple[int, int]], before: int = 0) -> Places:
    """Of a whole that has so many characters before the answer, as of the answer."""
    flat = np.fromiter(chain.from_iterable(ranges), np.int32, 2 * len(ranges))
    places: Places = flat.reshape(-1, 2) - np.int32(before)
    return places


def load_chat(folder: Path, prelude: str) -> Chat:
    """Tokenizer, effective template and end tokens of a model folder. Raises BaseFaultError where it has no usable
    ones."""
    try:
        return models_chat.load_chat(folder, prelude)
    except BadBaseError as error:
        next_step = "Copy the model's tokenizer files, tokenizer.json among them, and its configuration into the folder"
        raise BaseFaultError(Reason.BASE_MALFORMED, str(error), next_step) from error
