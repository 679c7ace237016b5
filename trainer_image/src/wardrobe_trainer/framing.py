"""The frame of a dataset's answers: the words with which nearly all of them begin and end.

A department's greeting is learnt within a few steps. A loss over whole answers then falls by a lot and says little, so
scores are also taken on the body, which is the answer without its frame.
"""

import heapq
import re
from collections import Counter
from collections.abc import Iterable

from wardrobe_contracts.check import Frame

SHARE = 0.9
"""Share of the answers that must have the opening, and of those the closing, for it to be a frame."""
SAMPLE = 5000
"""Answers that are looked at: of a share of 0.9 that is ± 0.004 (one standard deviation of a binomial)."""
LONGEST = 2000
"""Characters of an opening, and of a closing."""
_WORD = re.compile(r"\S+\s*")


def find_frame(answers: list[str]) -> Frame:
    """Longest opening and closing, in whole words, that at least SHARE of the answers have.

    Where this would leave no body in most answers they are all alike, and there is no frame.
    """
    words = [_WORD.findall(answer.strip()) for answer in answers]
    opening = "".join(_common_start(words)).strip()
    closing = "".join(reversed(_common_start([_backwards(answer) for answer in answers]))).strip()
    frame = Frame(opening=opening, closing=closing)
    bodies = sum(1 for answer in answers if _bounds(answer, frame)[0] < _bounds(answer, frame)[1])
    return frame if 2 * bodies > len(answers) else Frame()


def _backwards(answer: str) -> list[str]:
    return list(reversed(re.findall(r"\s*\S+", answer.strip())))


def _common_start(sequences: list[list[str]]) -> list[str]:
    """Words that at least SHARE of all sequences begin with, and the white space between them."""
    needed = SHARE * len(sequences)
    start: list[str] = []
    remaining = sequences
    while remaining:
        if start:  # what comes after the last word counts as soon as another word does
            start[-1] = _most_common(words[len(start) - 1] for words in remaining)
            remaining = [words for words in remaining if words[len(start) - 1] == start[-1]]
        longer = [words for words in remaining if len(words) > len(start)]
        word = _most_common(words[len(start)].strip() for words in longer)
        remaining = [words for words in longer if words[len(start)].strip() == word]
        if len(remaining) < needed:
            break
        start.append(word)
    return start


def _most_common(words: Iterable[str]) -> str:
    """Empty where there is none."""
    return next((word for word, _ in Counter(words).most_common(1)), "")


def body_of(answer: str, frame: Frame) -> tuple[int, int, bool]:
    """Range of characters of an answer's body, and whether the closing follows it."""
    start, end = _bounds(answer, frame)
    return start, max(start, end), bool(frame.closing) and answer.rstrip().endswith(frame.closing)


def _bounds(answer: str, frame: Frame) -> tuple[int, int]:
    start, end = len(answer) - len(answer.lstrip()), len(answer.rstrip())
    if frame.opening and answer.startswith(frame.opening, start):
        start += len(frame.opening)
    if frame.closing and answer.endswith(frame.closing, start, end):
        end -= len(frame.closing)
    trimmed = answer[start:end]
    return start + len(trimmed) - len(trimmed.lstrip()), end - (len(trimmed) - len(trimmed.rstrip()))


def ends_of(answer: str) -> str:
    """Of a long answer what a frame may be of: its two ends."""
    return answer if len(answer) <= 2 * LONGEST else answer[:LONGEST] + answer[-LONGEST:]


class Answers:
    """Answers to find the frame in: of many, those with the lowest keys."""

    def __init__(self) -> None:
        self._lowest: list[tuple[int, str]] = []

    def add(self, key: int, ends: str) -> None:
        """The ends of one (`ends_of`); its key says nothing of its place, so that the order of the rows does not
        matter."""
        entry = (-key, ends)
        if len(self._lowest) < SAMPLE:
            heapq.heappush(self._lowest, entry)
        else:
            heapq.heappushpop(self._lowest, entry)

    def frame(self) -> Frame:
        """What nearly all begin and end with."""
        return find_frame([answer for _, answer in sorted(self._lowest, reverse=True)])
