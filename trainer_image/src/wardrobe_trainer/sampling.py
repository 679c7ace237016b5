"""Which held-out rows are measured where there are more than enough."""

import hashlib
import heapq
import json
from collections.abc import Iterable

from .dataset import Row


def sample(rows: Iterable[Row], most: int) -> list[int]:
    """Places of at most so many rows, in their order; picked by hash, so that few others are picked as data grows."""
    hashed = ((_hash(row), place) for place, row in enumerate(rows))
    return sorted(place for _, place in heapq.nsmallest(most, hashed))


def _hash(row: Row) -> bytes:
    return hashlib.sha256(json.dumps(["measured", row.messages], sort_keys=True).encode()).digest()
