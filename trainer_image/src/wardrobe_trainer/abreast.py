"""A function over a stream on all processors, in order, holding only what is on its way."""

import gc
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import Any, TypeVar

from wardrobe_models import processors

BATCH = 64
"""Items that are worked on at once: handing them over costs as much as a short row."""
BYTES_AT_ONCE = 2**20
"""Of text that is worked on at once. A few of such batches are on their way, some twenty times as large as text."""
ALONE = 4
"""Batches from which on it pays to start processes."""
MOST = 8
"""Processes, however wide the node is: each takes some 100 MB, and one more to feed them all would be needed."""
AHEAD = 3
"""Batches on their way for each process."""

T = TypeVar("T")
R = TypeVar("R")


def abreast(
    work: Callable[[Sequence[T]], list[R]],
    items: Iterable[T],
    size: Callable[[T], int],
    most: int = BYTES_AT_ONCE,
    processes: int | None = None,
) -> Iterator[R]:
    """What `work` gives for items, several at a time. A batch has BATCH items, or fewer whose sizes together reach
    `most`. Both go to other processes, so they and what is raised must be of values; `work` itself is inherited.

    Raises MemoryError where a process is killed.
    """
    batches, processes = _batches(items, size, most), processes or min(processors.granted(), MOST)
    first = list(islice(batches, ALONE))
    if processes == 1 or len(first) < ALONE:
        for batch in chain(first, batches):
            yield from work(batch)
    else:
        yield from _by_processes(work, chain(first, batches), processes)


def _by_processes(work: Callable[[Sequence[T]], list[R]], batches: Iterator[list[T]], processes: int) -> Iterator[R]:
    gc.freeze()  # what is there is not looked at by the children's collectors, so that its pages stay shared
    # children of a fork have the tokenizer and the template as they are, compiled and all
    context = multiprocessing.get_context("fork")
    waiting: deque[Future[list[Any]]] = deque()
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(work,))
    try:
        for batch in batches:
            waiting.append(pool.submit(_go_on, batch))
            if len(waiting) > AHEAD * processes:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise MemoryError("a process of it was killed, as happens at the container's limit") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        gc.unfreeze()


_inherited: list[Callable[[Any], list[Any]]] = []


def _begin(work: Callable[[Any], list[Any]]) -> None:
    _inherited[:] = [work]


def _go_on(batch: Sequence[Any]) -> list[Any]:
    [work] = _inherited
    return work(batch)


def _batches(items: Iterable[T], size: Callable[[T], int], most: int) -> Iterator[list[T]]:
    batch: list[T] = []
    total = 0
    for item in items:
        batch.append(item)
        total += size(item)
        if len(batch) == BATCH or total >= most:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
