"""Near copies among many texts: MinHash signatures (Broder 1997), compared where one of their bands is the same.

Signatures and bands lie in files and are sorted band by band: of each text some 16 bytes are in memory at a time.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from .index import Column, parts

SIMILAR = 0.7
"""Jaccard similarity of two texts' runs of three words from which they are near copies."""
BANDS, WIDTH = 25, 5
"""Two texts of similarity s share a band with probability 1 - (1 - s^5)^25 (Leskovec et al., Mining of Massive
Datasets, 3.4): 0.99 at 0.7, and 0.55 at 0.5, which the comparison of the whole signatures then refuses."""
COMPARED = 16
"""Held-out texts of a band that each training text is compared with: thousands may share one."""
RUN = 3
_BATCH = 2**14
"""Runs that are worked on at once."""
_PAIRS = 2**11
"""Pairs that are, whose signatures take a page each."""
_WORD = re.compile(r"\w+")
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class _WordHashes(dict[str, int]):
    """32 bits of each word, kept for words that come again."""

    def __missing__(self, word: str) -> int:
        if len(self) >= 2**16:
            self.clear()
        self[word] = found = zlib.crc32(word.encode())
        return found


_hash_of = _WordHashes().__getitem__


def word_hashes(text: str) -> Column:
    """32 bits of each word, whatever its case; of a text without words, of the text."""
    words = _WORD.findall(text.casefold()) or [text]
    return np.fromiter(map(_hash_of, words), dtype=np.uint64, count=len(words))


def runs(texts: Sequence[Column], length: int) -> tuple[Column, Column]:
    """64 bits of each run of so many words, of a text of fewer words of all of them; and which text each is of."""
    lengths = np.array([len(words) for words in texts])
    short = lengths < length
    found, owners = _hashed(np.concatenate(texts), length), np.repeat(np.arange(len(texts)), lengths)
    ends = np.cumsum(lengths)
    whole = np.arange(len(found)) <= (ends[owners] - length)[: len(found)]  # none goes on into the next text
    alone = [_hashed(texts[place], len(texts[place])) for place in np.flatnonzero(short).tolist()]
    hashes = np.concatenate([found[whole], *alone])
    owner = np.concatenate([owners[: len(found)][whole], np.flatnonzero(short)])
    order = np.argsort(owner, kind="stable")
    return hashes[order], owner[order]


def _hashed(words: Column, length: int) -> Column:
    hashed = np.zeros(max(0, len(words) - length + 1), dtype=np.uint64)
    for place in range(length):
        hashed = (hashed + words[place : place + len(hashed)]) * _MULTIPLIER
    mixed: Column = hashed ^ (hashed >> np.uint64(32))
    return mixed


def _permutations() -> tuple[Column, Column]:
    """h -> a h + b mod 2^32, a odd: datasketch's of scheme affine32."""
    dice = np.random.RandomState(7)
    a = dice.randint(0, 2**31, BANDS * WIDTH, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return a[:, None], dice.randint(0, 2**32, BANDS * WIDTH, dtype=np.uint32)[:, None]


_A, _B = _permutations()


def signatures(texts: Sequence[Column]) -> Column:
    """Of each text, given as the hashes of its words, BANDS * WIDTH minima over its runs: (texts, minima), 32 bits."""
    hashes, owners = runs(texts, RUN)
    mixed = _mixed(hashes.astype(np.uint32))
    found = np.full((len(texts), BANDS * WIDTH), 2**32 - 1, dtype=np.uint32)
    for begin in range(0, len(mixed), _BATCH):
        of, begins = np.unique(owners[begin : begin + _BATCH], return_index=True)
        permuted = mixed[begin : begin + _BATCH] * _A + _B
        found[of] = np.minimum(found[of], np.minimum.reduceat(permuted, begins, axis=1).T)
    return found


def _mixed(hashes: Column) -> Column:
    """MurmurHash3's last step, which spreads what differs in few bits."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        hashes = (hashes ^ (hashes >> np.uint32(shift))) * np.uint32(factor)
    spread: Column = hashes ^ (hashes >> np.uint32(16))
    return spread


class Signatures:
    """Signatures of texts that are given one after another: those to be trained on first."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "signatures"
        self._bands = [folder / f"band-{number}" for number in range(BANDS)]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._file = self._stack.enter_context(self._path.open("wb"))
        self._files = [self._stack.enter_context(path.open("wb")) for path in self._bands]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, found: Column) -> None:
        """Of some texts, as `signatures` gives them."""
        self._file.write(found.tobytes())
        keys = np.zeros((len(found), BANDS), dtype=np.uint64)
        for place in range(WIDTH):
            keys = (keys + found[:, place::WIDTH]) * _MULTIPLIER
        for number, file in enumerate(self._files):
            file.write(keys[:, number].tobytes())

    def near_copies(self, training: int) -> tuple[Column, Column]:
        """Which of all texts are near copies of one before, and which of the first `training` of one after those."""
        texts = self._path.stat().st_size // (4 * BANDS * WIDTH)
        repeats, across = np.zeros(texts, dtype=bool), np.zeros(training, dtype=bool)
        for order, group in chain.from_iterable(map(_grouped, self._bands)):
            same = group[1:] == group[:-1]
            first, second = order[:-1][same], order[1:][same]
            alike = ~repeats[second] & ((first < training) == (second < training))
            repeats[second[alike][self._similar(first[alike], second[alike])]] = True
            for one, other in _across(order, group, training):
                left = ~across[one]
                across[one[left][self._similar(one[left], other[left])]] = True
        return repeats, across

    def _similar(self, first: Column, second: Column) -> Column:
        """Whether pairs of texts are near copies, by the share of their signatures that is equal."""
        found = np.zeros(len(first), dtype=bool)
        for begin in range(0, len(first), _PAIRS):
            chosen = slice(begin, begin + _PAIRS)
            # anew each time: what a map has shown stays in memory as long as the map, a page for each text
            signatures = np.memmap(self._path, dtype=np.uint32, mode="r").reshape(-1, BANDS * WIDTH)
            equal = signatures[first[chosen]] == signatures[second[chosen]]
            found[chosen] = equal.mean(axis=1) >= SIMILAR
        return found


def _grouped(band: Path) -> Iterator[tuple[Column, Column]]:
    """Texts that share their key with others, those with the same one together and in order; and each one's group. A
    part of the keys at a time."""
    keys = np.fromfile(band, dtype=np.uint64)
    for places in parts(keys):
        order = places[np.argsort(keys[places], kind="stable")]
        ordered = keys[order]
        new = np.append(True, ordered[1:] != ordered[:-1])[: len(order)]
        shared = ~(new & np.append(new[1:], True)[: len(order)])
        yield order[shared], np.cumsum(new)[shared]


def _across(order: Column, group: Column, training: int) -> list[tuple[Column, Column]]:
    """Each training text with the held-out ones of its group, the first with the first, and so on up to COMPARED."""
    if not len(order):
        return []
    held = order >= training
    _, begins, which, sizes = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    trained = np.bincount(which, weights=~held).astype(np.int64)
    first, end = (begins + trained)[which[~held]], (begins + sizes)[which[~held]]
    pairs = []
    for place in range(COMPARED):
        there = first + place < end
        if not there.any():
            break
        pairs.append((order[~held][there], order[(first + place)[there]]))
    return pairs
