"""How identities are computed: the same lines that `sha256sum` prints, sorted by name and hashed again."""

import hashlib
import json
import os
from pathlib import Path
from typing import BinaryIO

from .base import Digest, Fingerprint

HEADER_LENGTH_BYTES = 8
"""A safetensors file begins with its JSON header's length: a little-endian unsigned 64-bit integer."""
HEADER_LIMIT = 100_000_000
"""Bytes; the format's own limit for its JSON header (safetensors, `tensor.rs`)."""

SAMPLED = "sampled:"
"""Begins a fingerprint in today's form. Whoever changes what is read or how often changes this word too."""
WHOLE_BYTES = 64 * 2**20
"""A file up to this size is read whole: every tokenizer is, the largest known having half of it."""
SAMPLES = 32
"""Of a larger file, evenly spread, the first and the last block among them. In a model of 30 shards that is 960 reads,
half a second where each takes as long as from a network's disk."""
SAMPLE_BYTES = 16 * 1024
"""Of each sample: 8,192 weights of 16 bits. Training changes nearly all of a matrix's."""


def sha256(data: bytes) -> Digest:
    """Digest of bytes in memory."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def sha256_file(path: Path) -> Digest:
    """Digest of a file's bytes; raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def of_files(digests: dict[str, Digest]) -> Digest:
    """Digest of a set of files: sha256 over the lines `<hex>  <name>` sorted by name."""
    lines = "".join(f"{digests[name].removeprefix('sha256:')}  {name}\n" for name in sorted(digests))
    return sha256(lines.encode())


def fingerprint(folder: Path, names: list[str]) -> Fingerprint:
    """Cheap identity of a model folder: sizes of all files, small files whole, of large ones header and samples.

    It notices another model, another revision, other weights or a truncated copy in under a second; the full digest
    notices all. Raises OSError where a file is missing.
    """
    facts = {name: _sampled(folder / name) for name in sorted(names)}
    return SAMPLED + sha256(json.dumps(facts, sort_keys=True).encode())


def is_sampled(found: Fingerprint) -> bool:
    """Whether it has today's form."""
    return found.startswith(SAMPLED)


def fingerprint_like(expected: Fingerprint, folder: Path, names: list[str]) -> Fingerprint:
    """A folder's fingerprint in the form of the one that it is to be compared with. Raises OSError."""
    return fingerprint(folder, names) if is_sampled(expected) else _without_samples(folder, names)


def _sampled(path: Path) -> tuple[int, Digest]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= WHOLE_BYTES:
            return size, f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        seen = hashlib.sha256(_header(file, size) if path.suffix == ".safetensors" else b"")
        for place in range(SAMPLES):
            file.seek(place * (size - SAMPLE_BYTES) // (SAMPLES - 1))
            seen.update(file.read(SAMPLE_BYTES))
    return size, f"sha256:{seen.hexdigest()}"


def _header(file: BinaryIO, size: int) -> bytes:
    """Length and JSON header of a safetensors file; a length that cannot be is cut to what can."""
    length = file.read(HEADER_LENGTH_BYTES)
    return length + file.read(min(int.from_bytes(length, "little"), HEADER_LIMIT, size))


def _without_samples(folder: Path, names: list[str]) -> Fingerprint:
    """The older form, for orders written by an operator that had inspected the base in it."""
    facts = {name: [(folder / name).stat().st_size, _head(folder / name)] for name in sorted(names)}
    return sha256(json.dumps(facts, sort_keys=True).encode())


def _head(path: Path) -> Digest:
    if path.suffix != ".safetensors":
        return sha256_file(path)
    with path.open("rb") as file:
        return sha256(_header(file, os.fstat(file.fileno()).st_size))
