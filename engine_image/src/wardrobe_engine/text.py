"""Tokens to text, piece by piece, and stop strings that cross tokens."""

from tokenizers import Tokenizer

_CONTEXT = 6
"""Prompt tokens that decoding may look back on: some tokenizers drop a leading space without them."""
_INCOMPLETE = "\ufffd"
"""What a decoder makes of the first bytes of a character."""


class TextStream:
    """Text of a growing list of tokens, given out only up to the last complete character.

    The method of TGI and vLLM: decode a short window with and without the newest tokens and take the difference.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: list[int]) -> None:
        self._tokenizer = tokenizer
        self._ids = prompt[-_CONTEXT:]
        self._start = 0
        self._read = len(self._ids)

    def push(self, token: int) -> str:
        """Text that is complete with this token and was not before."""
        self._ids.append(token)
        text = self._pending()
        if not text or text.endswith(_INCOMPLETE):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return text

    def flush(self) -> str:
        """What is left at the end, with a replacement character for what never became complete."""
        return self._pending()

    def _pending(self) -> str:
        before = self._tokenizer.decode(self._ids[self._start : self._read])
        return self._tokenizer.decode(self._ids[self._start :])[len(before) :]


class StopFinder:
    """Finds the first of some strings in a growing text."""

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = stop
        self._longest = max(map(len, stop), default=0)
        self._text = ""

    def push(self, piece: str) -> tuple[int, int] | None:
        """Where the earliest stop string begins and ends, once there is one."""
        begin = max(0, len(self._text) - self._longest + 1)
        self._text += piece
        found = [(at, at + len(stop)) for stop in self._stop if (at := self._text.find(stop, begin)) >= 0]
        return min(found, default=None)

    def settled(self) -> int:
        """Characters of the text that no stop string can begin in any more, whatever follows."""
        text = self._text
        for at in range(max(0, len(text) - self._longest + 1), len(text)):
            if any(stop.startswith(text[at:]) for stop in self._stop):
                return at
        return len(text)
