"""From a conversation to tokens and labels, by the base's own tokenizer and chat template.

Templates rarely mark the assistant's tokens, so they are found by rendering: the conversation before an answer, with
the generation prompt, is what an engine will give the model, and its tokens must be a prefix of the whole's. The answer
begins there, and its labels reach up to and including the token that ends the turn: without a label on that token a
model learns to answer and never to stop.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from wardrobe_contracts.exits import Reason

from .model_files import BaseFaultError, read_json

IGNORED = -100
"""Label of a token that takes no part in the loss (torch's cross entropy, `ignore_index`)."""

Message = dict[str, str]


class TemplateRefusedError(Exception):
    """The chat template itself refuses a conversation, for example one with a system message."""


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


@dataclass(frozen=True)
class Chat:
    """A base's tokenizer with what its conversations need."""

    tokenizer: PreTrainedTokenizerBase
    stop_ids: frozenset[int]
    """Tokens at which engines stop generating."""
    special_tokens: tuple[str, ...]
    """Texts that the tokenizer turns into control tokens, wherever they stand."""

    def render(self, messages: list[Message], *, prompt: bool = False) -> str:
        """The conversation as the model reads it; with `prompt`, up to where the next answer begins."""
        try:
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
        except TemplateError as error:
            raise TemplateRefusedError(str(error)) from error
        return str(text)

    def ids(self, text: str) -> list[int]:
        """Tokens of rendered text. The template writes all special tokens itself, so none is added."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Range of characters of each token of rendered text."""
        return list(self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"])

    def encode(self, messages: list[Message]) -> Encoded:
        """Tokens and answers of a conversation. Raises TemplateRefusedError or UnstableTokensError."""
        ids = self.ids(self.render(messages))
        turns = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        return Encoded(ids, [self._answer(messages, index, ids) for index in turns])

    def _answer(self, messages: list[Message], index: int, ids: list[int]) -> tuple[int, int]:
        before = self.ids(self.render(messages[:index], prompt=True))
        if ids[: len(before)] != before:
            raise UnstableTokensError(f"the tokens before message {index + 1} change with what follows them")
        # Only a bound: some templates (Qwen3) write more into the last answer than into the same answer further up.
        through = len(self.ids(self.render(messages[: index + 1])))
        for position in range(len(before), min(through, len(ids))):
            if ids[position] in self.stop_ids:
                return len(before), position + 1
        raise UnstableTokensError("the chat template ends an answer with no token at which generation stops")


def load_chat(folder: Path) -> Chat:
    """Tokenizer and stop tokens of a model folder. Raises BaseFaultError where it has no usable tokenizer."""
    tokenizer = _load_tokenizer(folder)
    special = sorted(str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
    return Chat(tokenizer, frozenset(_stop_ids(folder, tokenizer)), tuple(special))


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")):
        raise _no_tokenizer("it has no tokenizer.json (nor tokenizer.model, vocab.json or vocab.txt)")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise _no_tokenizer(f"its tokenizer cannot be read: {error}") from error
    if not tokenizer.is_fast:
        raise _no_tokenizer("its tokenizer does not tell which characters a token covers")
    return tokenizer


def _no_tokenizer(found: str) -> BaseFaultError:
    return BaseFaultError(
        Reason.BASE_MALFORMED, found, "Copy the model's tokenizer files, tokenizer.json among them, into the folder"
    )


def _stop_ids(folder: Path, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    found: set[int] = set() if tokenizer.eos_token_id is None else {int(tokenizer.eos_token_id)}
    generation = folder / "generation_config.json"
    declared: Any = read_json(generation).get("eos_token_id") if generation.is_file() else None
    return found | set(declared if isinstance(declared, list) else [] if declared is None else [declared])
