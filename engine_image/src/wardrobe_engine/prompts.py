"""Text and conversations to tokens: beside the event loop, a few at a time, and never more than the model can take."""

import asyncio
import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from wardrobe_models.chat import Chat, ChatTemplateError, Message

from .errors import InvalidRequestError, TemplateError

AT_ONCE = 2
"""Prompts that are rendered and tokenized at a time. A tokenizer takes some 300 bytes of memory per byte of text."""
TRIM_BYTES = 256 * 1024
"""After a prompt of so many bytes, the memory of its tokenizing is given back: glibc keeps it otherwise."""

_libc = ctypes.CDLL(None)


class Prompts:
    """Makes prompts for one tokenizer and context length."""

    def __init__(self, chat: Chat, max_tokens: int) -> None:
        self._chat = chat
        self._max_tokens = max_tokens
        vocabulary = chat.backend.get_vocab(with_added_tokens=True)
        self.max_bytes = max_tokens * max(len(token.encode()) for token in vocabulary)
        """A text of more bytes has more tokens than fit: none is longer than the vocabulary's longest."""
        self._pool = ThreadPoolExecutor(AT_ONCE, "prompt")

    async def of_text(self, text: str) -> list[int]:
        """Tokens of a rendered prompt; control tokens in it are what they are. Raises InvalidRequestError.

        None are added: a template brings its own, and scores must be of what was sent.
        """
        return await self._aside(lambda: self._encoded(text))

    async def of_chat(self, messages: list[Message]) -> list[int]:
        """Tokens of a conversation, ready for the assistant's turn. Raises InvalidRequestError or TemplateError."""
        return await self._aside(lambda: self._encoded(self._rendered(messages)))

    def close(self) -> None:
        """End the threads after what they work on."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _aside(self, work: Callable[[], list[int]]) -> list[int]:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _rendered(self, messages: list[Message]) -> str:
        self._require_room(sum(len(message["content"].encode()) for message in messages))
        for place, message in enumerate(messages):
            self._require_plain(place, message["content"])
        try:
            return self._chat.render(messages, prompt=True)
        except ChatTemplateError as error:
            raise TemplateError(f"Template error: {error}") from error

    def _require_plain(self, place: int, content: str) -> None:
        """Training refuses such rows too: a message that ends its own turn could write the other side."""
        if found := self._chat.control_token_in(content):
            rule = "a message must not contain the tokenizer's control tokens, which the chat template writes itself"
            raise InvalidRequestError(f"messages.{place}.content: {found!r} in it; {rule}; remove it")

    def _encoded(self, text: str) -> list[int]:
        size = len(text.encode())
        self._require_room(size)
        ids = self._chat.ids(text)
        if len(ids) >= self._max_tokens:
            counts = f"Given: {len(ids)} `inputs` tokens and at least 1 `max_new_tokens`"
            raise InvalidRequestError(f"`inputs` tokens + `max_new_tokens` must be <= {self._max_tokens}. {counts}")
        if not ids:
            raise InvalidRequestError("the prompt has no token")
        if size > TRIM_BYTES:
            _libc.malloc_trim(0)
        return ids

    def _require_room(self, size: int) -> None:
        if size > self.max_bytes:
            rule = f"{self._max_tokens} tokens, which are all that fit, hold at most {self.max_bytes}"
            raise InvalidRequestError(f"the prompt has {size} bytes; {rule}; shorten it")
