"""Which held-out rows are measured where there are more than enough."""

import hashlib
import json

from .dataset import Row


def sample(rows: list[Row], most: int) -> list[Row]:
    """At most so many rows, in their order; picked by hash, so that few others are picked as data grows."""
    if len(rows) <= most:
        return rows
    picked = sorted(range(len(rows)), key=lambda index: (_hash(rows[index]), index))[:most]
    return [rows[index] for index in sorted(picked)]


def _hash(row: Row) -> bytes:
    return hashlib.sha256(json.dumps(["measured", row.messages], sort_keys=True).encode()).digest()
