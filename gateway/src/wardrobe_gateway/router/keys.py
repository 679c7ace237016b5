"""Departments' keys: read from a projected folder, kept as hashes."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from wardrobe_contracts.routes import KEYS_FILE

from ..errors import ApiError

SCHEME = "bearer "
LEAST_CHARACTERS = 16
"""Of a key, visible ASCII: 64 bits where it is random hexadecimal. Shorter ones are words, and are guessed."""
ASK_FOR_KEY = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True)
class KeyTable:
    """Who may come in. Keys are looked up by their hash, whose timing says nothing of how near a guess was."""

    owners: Mapping[bytes, str]
    """sha256 of a key to its department."""
    shared: frozenset[bytes]
    """sha256 of keys that several departments list: they open none."""
    counts: Mapping[str, int]
    """Usable keys per department."""
    missing: frozenset[str]
    """Departments that list no key at all."""
    duplicates: frozenset[str]
    """Departments that list a key of another."""
    weak: frozenset[str]
    """Departments that list a key which is shorter than LEAST_CHARACTERS, or cannot be sent."""
    too_weak: frozenset[bytes]
    """sha256 of those keys: they open none."""


EMPTY = KeyTable({}, frozenset(), {}, frozenset(), frozenset(), frozenset(), frozenset())


def read(folder: Path) -> dict[str, str]:
    """Contents of `<folder>/<department>/keys`; departments whose Secret is missing have no folder."""
    found = {}
    for path in folder.glob(f"*/{KEYS_FILE}"):
        if not path.parent.name.startswith(".."):  # the kubelet's own `..data`
            found[path.parent.name] = path.read_text(errors="replace")
    return found


def build(departments: Collection[str], texts: Mapping[str, str]) -> KeyTable:
    """The table for the routed departments. Keys of others open nothing and collide with nothing."""
    lines = {name: _lines(texts.get(name, "")) for name in departments}
    too_weak = {name: {_hash(line) for line in found if not _is_strong(line)} for name, found in lines.items()}
    listed = {name: {_hash(line) for line in found if _is_strong(line)} for name, found in lines.items()}
    times = Counter(key for keys in listed.values() for key in keys)
    shared = frozenset(key for key, count in times.items() if count > 1)
    owners = {key: name for name, keys in listed.items() for key in keys - shared}
    return KeyTable(
        owners=owners,
        shared=shared,
        counts={name: len(keys - shared) for name, keys in listed.items()},
        missing=frozenset(name for name, found in lines.items() if not found),
        duplicates=frozenset(name for name, keys in listed.items() if keys & shared),
        weak=frozenset(name for name, found in too_weak.items() if found),
        too_weak=frozenset().union(*too_weak.values()),
    )


def owner(table: KeyTable, authorization: str | None) -> str:
    """The department whose key this is. Raises ApiError."""
    if authorization is None or not authorization.lower().startswith(SCHEME):
        message = "send your department's key as `Authorization: Bearer <key>`"
        raise ApiError(401, "key_missing", message, headers=ASK_FOR_KEY)
    key = _hash(authorization[len(SCHEME) :].strip())
    if key in table.shared:
        message = "this key is listed for more than one department, and opens none until that is mended"
        raise ApiError(401, "key_ambiguous", message, headers=ASK_FOR_KEY)
    if key in table.too_weak:
        message = f"this key has fewer than {LEAST_CHARACTERS} characters, all visible ASCII, and opens none"
        raise ApiError(401, "key_too_short", message, headers=ASK_FOR_KEY)
    if key not in table.owners:
        raise ApiError(401, "key_unknown", "this key is no department's", headers=ASK_FOR_KEY)
    return table.owners[key]


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _is_strong(key: str) -> bool:
    return len(key) >= LEAST_CHARACTERS and key.isascii() and key.isprintable() and " " not in key


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()  # a head may hold any byte
