"""A conversation's tokens, cut where its control tokens are: so that what is served is found in it without tokenising
each beginning of it again, which takes time by the square of its turns.

What a tokenizer makes of a text up to a cut does not depend on what follows (`Chat.cuts`). So the tokens of a prompt
are those before its last cut, and those that the few characters from there on have by themselves. Where a text is not
as presumed here the answer is None, and the caller tokenises as an engine would.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Protocol, Self

from wardrobe_models.chat import Chat

LONGEST = 512
"""Characters after a prompt's last cut, such as a role's name and a line end."""


class Served(Protocol):
    """An answer as it is served, in text (`tokens.Turn`)."""

    @property
    def prompt(self) -> str:
        """What an engine is sent."""

    @property
    def answer(self) -> str:
        """What follows."""


@dataclass(frozen=True)
class Cut:
    """A text, its tokens, and where both have cuts."""

    chat: Chat
    text: str
    ids: list[int]
    marks: list[str]
    """How each cut is written."""
    starts: list[int]
    """Of each in the text."""
    places: list[int]
    """Of each among the tokens."""

    @classmethod
    def of(cls, chat: Chat, text: str, ids: list[int]) -> Self | None:
        """None where the text does not show what the tokens have, or an answer may end elsewhere than at a cut."""
        if not chat.end_tokens <= chat.cut_ids:
            return None
        found, cuts = list(chat.any_cut.finditer(text)), chat.cut_ids
        places = [place for place, token in enumerate(ids) if token in cuts]
        if [chat.cuts[one.group()] for one in found] != [ids[place] for place in places]:
            return None
        return cls(chat, text, ids, [one.group() for one in found], [one.start() for one in found], places)

    def answer(self, turn: Served) -> tuple[int, int] | None:
        """Where an answer's tokens begin, and end with its end token; None where this text does not have it as it is
        served."""
        begin = self._after(turn.prompt)
        following = range(bisect_left(self.starts, len(turn.prompt)), len(self.starts))
        end = next((cut for cut in following if self._token(cut) in self.chat.end_tokens), None)
        if begin is None or end is None:
            return None
        served = turn.answer[: self.starts[end] - len(turn.prompt) + len(self.marks[end])]
        same = self.text.startswith(served, len(turn.prompt)) and served.endswith(self.marks[end])
        return (begin, self.places[end] + 1) if same else None

    def _after(self, prompt: str) -> int | None:
        """Which token follows the prompt's, where those stand here as they are by themselves."""
        last = bisect_left(self.starts, len(prompt)) - 1
        if last < 0 or not self.text.startswith(prompt):
            return None
        tail = prompt[self.starts[last] :]
        if not len(self.marks[last]) <= len(tail) <= LONGEST:
            return None
        begin, own = self.places[last], self.chat.tail_ids(tail)
        return begin + len(own) if self.ids[begin : begin + len(own)] == own else None

    def _token(self, cut: int) -> int:
        return self.ids[self.places[cut]]
