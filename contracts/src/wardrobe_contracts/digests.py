"""How identities are computed: the same lines that `sha256sum` prints, sorted by name and hashed again."""

import hashlib
import json
from pathlib import Path

from .base import Digest

_HEADER_LENGTH_BYTES = 8
"""A safetensors file begins with its JSON header's length: a little-endian unsigned 64-bit integer."""


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


def fingerprint(folder: Path, names: list[str]) -> Digest:
    """Cheap identity of a model folder: sizes of all files, headers of safetensors, whole contents of small ones.

    It notices another model, another revision or a truncated copy in milliseconds; the full digest notices all.
    Raises OSError where a file is missing.
    """
    facts = {name: [(folder / name).stat().st_size, _head(folder / name)] for name in sorted(names)}
    return sha256(json.dumps(facts, sort_keys=True).encode())


def _head(path: Path) -> Digest:
    if path.suffix != ".safetensors":
        return sha256_file(path)
    with path.open("rb") as file:
        length = file.read(_HEADER_LENGTH_BYTES)
        return sha256(length + file.read(int.from_bytes(length, "little")))
