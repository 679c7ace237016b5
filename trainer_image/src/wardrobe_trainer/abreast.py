"""A function over a stream on all processors, in order, holding only what is on its way."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from wardrobe_models import processors

BATCH = 64
"""Items that a thread takes at once: handing them over costs as much as a short row."""

T = TypeVar("T")
R = TypeVar("R")


def abreast(work: Callable[[T], R], items: Iterable[T], size: Callable[[T], int], most: int) -> Iterator[R]:
    """`work` of each item. A batch has BATCH items, or fewer whose sizes together reach `most`.

    Threads are enough: the tokenizer, which takes the most time, lets others run.
    """
    threads = processors.granted()
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[list[R]]] = deque()
        try:
            for batch in _batches(items, size, most):
                waiting.append(pool.submit(_all, work, batch))
                if len(waiting) > 2 * threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _all(work: Callable[[T], R], batch: list[T]) -> list[R]:
    return [work(item) for item in batch]


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
