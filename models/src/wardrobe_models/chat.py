"""A base's tokenizer and chat template: conversations to text, text to tokens, and the tokens that end an answer.

Both programs must agree on these: an adapter learns to end its answers with a token, and the engine must stop there.
Knows no torch, for inspection and check run without it.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from wardrobe_contracts.base_files import read_json

from . import templates
from .errors import BadBaseError

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
_END_TOKENS_IN = ("generation_config.json", "config.json")
"""Only the first of them that is there is read, as transformers and vLLM do."""

_TAILS = 1024
"""Ends of prompts whose tokens are kept."""

Ranges = list[tuple[int, int]]
"""Of characters, [start, end)."""
Message = dict[str, str]
"""Role and content."""


class ChatTemplateError(Exception):
    """The chat template fails on a conversation, or refuses it, for example for a system message.

    The error's text may quote the conversation.
    """

    def __init__(self, message: str, own_words: str = "") -> None:
        super().__init__(message)
        self.own_words = own_words
        """Of a refusal, what stands in the template itself."""


@dataclass(frozen=True)
class Chat:
    """How conversations are written for a base."""

    tokenizer: PreTrainedTokenizerBase
    end_tokens: frozenset[int]
    """Each of them ends an answer."""
    control_tokens: dict[int, str]
    """Texts that become control tokens wherever they stand."""

    @property
    def backend(self) -> Tokenizer:
        """What encodes and decodes; unlike transformers' part it may be used by several threads."""
        backend: Tokenizer = self.tokenizer.backend_tokenizer
        return backend

    @property
    def template(self) -> str:
        """The effective chat template. A base that has none has no chat."""
        template: str = self.tokenizer.get_chat_template()
        return template

    def render(self, messages: list[Message], *, prompt: bool = False) -> str:
        """The conversation as the model reads it; with `prompt`, up to where the next answer begins.

        Raises ChatTemplateError, whatever way the template fails.
        """
        try:
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
        except (
            TemplateError,
            TypeError,
            ValueError,
            LookupError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ) as error:
            raise ChatTemplateError(str(error), self._own_words(error)) from error
        return str(text)

    def _own_words(self, error: Exception) -> str:
        """Only `raise_exception` raises this very class."""
        if type(error) is not TemplateError:
            return ""
        return templates.own_words(self.template, str(error))

    def ids(self, text: str) -> list[int]:
        """Tokens of rendered text. The template writes all control tokens itself, so none is added."""
        [ids] = self.all_ids([text])
        return ids

    def all_ids(self, texts: list[str]) -> list[list[int]]:
        """Tokens of several texts."""
        # unlike `encode`, this one lets other threads run, and keeps no offsets
        return [found.ids for found in self.backend.encode_batch_fast(texts, add_special_tokens=False)]

    @cached_property
    def cuts(self) -> dict[str, int]:
        """Control tokens at which a text falls apart: wherever such a one's text stands it is that token, and what is
        before it and from it on has the tokens that it would have by itself.

        A tokenizer looks for these first, and takes up each piece between them on its own. Left out are tokens that
        take in white space beside them, and those whose text another's may overlap.
        """
        added = self.tokenizer.added_tokens_decoder
        texts = sorted(str(token) for token in added.values())
        inner = {character for text in texts for character in text[1:]}
        beginnings = {text for text, following in pairwise(texts) if following.startswith(text)}
        plain = {
            str(token): id_
            for id_, token in added.items()
            if token.special and not (token.lstrip or token.rstrip or token.single_word or token.normalized)
        }
        return {text: id_ for text, id_ in plain.items() if text[0] not in inner and text not in beginnings}

    @cached_property
    def cut_ids(self) -> frozenset[int]:
        """Of all of them."""
        return frozenset(self.cuts.values())

    @cached_property
    def _tails(self) -> dict[str, list[int]]:
        return {}

    def tail_ids(self, text: str) -> list[int]:
        """Tokens of what prompts end with: the same few texts for all conversations."""
        if text not in self._tails:
            if len(self._tails) == _TAILS:
                self._tails.clear()
            self._tails[text] = self.ids(text)
        return self._tails[text]

    @cached_property
    def any_cut(self) -> re.Pattern[str]:
        """Finds them in a text."""
        return re.compile("|".join(map(re.escape, self.cuts)) or r"(?!)")

    def placed(self, texts: list[str]) -> list[tuple[list[int], Ranges]]:
        """Tokens of rendered texts, and the range of characters of each."""
        return [(found.ids, found.offsets) for found in self.backend.encode_batch(texts, add_special_tokens=False)]

    def text(self, ids: list[int]) -> str:
        """What tokens stand for, control tokens among them."""
        text: str = self.backend.decode(ids, skip_special_tokens=False)
        return text

    def control_token_in(self, content: str) -> str | None:
        """A control token in what somebody wrote: a message that ends its own turn could write the other side."""
        return next((token for token in self.control_tokens.values() if token in content), None)


def load_chat(folder: Path, prelude: str) -> Chat:
    """Read tokenizer, chat template and end tokens of a model folder; the prelude (`templates`) is put before the
    template. Raises BadBaseError."""
    tokenizer = _load_tokenizer(folder)
    if prelude:
        tokenizer.chat_template = prelude + tokenizer.get_chat_template()
    end_tokens = frozenset(_end_tokens(folder, tokenizer))
    added = tokenizer.added_tokens_decoder
    control = {id_: str(token) for id_, token in added.items() if token.special or id_ in end_tokens}
    return Chat(tokenizer, end_tokens, control)


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise BadBaseError("it has no tokenizer.json (nor tokenizer.model, vocab.json or vocab.txt)")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise BadBaseError(f"its tokenizer cannot be read: {error}") from error
    if not tokenizer.is_fast:
        raise BadBaseError("its tokenizer does not tell which characters a token covers")
    # tokenizer.json may bring both from its making: text would be cut or filled up in silence
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _end_tokens(folder: Path, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """By the tokenizer and by what a file says; classes of transformers presume ids where a file names none."""
    found: set[int] = set() if tokenizer.eos_token_id is None else {int(tokenizer.eos_token_id)}
    name = next((name for name in _END_TOKENS_IN if (folder / name).is_file()), None)
    return found if name is None else found | _declared(folder / name)


def _declared(path: Path) -> set[int]:
    try:
        declared: Any = read_json(path).get("eos_token_id")
    except ValueError as error:
        raise BadBaseError(f"{path.name} is not a JSON object: {error}") from error
    several = declared if isinstance(declared, list) else [] if declared is None else [declared]
    if wrong := [item for item in several if type(item) is not int or item < 0]:
        raise BadBaseError(f"{path.name} gives eos_token_id {str(wrong[0])[:80]!r}, and a token is a whole number")
    return set(several)
