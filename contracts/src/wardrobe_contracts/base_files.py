"""Which files are a base model: the same answer for the tasks that inspect and train, and for the engine that serves.

A model is its configuration (`*.json`), tokenizer (`*.model`, merges.txt, vocab.txt), chat template (`*.jinja`) and
the safetensors files that its index names, all directly in its folder. Pages for people, hidden files, folders and
weights in other formats are no part of it: they may change without making another model of it.
"""

import json
from pathlib import Path
from typing import Any

SINGLE_WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
JSON_LIMIT = 64 * 2**20
"""Bytes of a JSON file before it is parsed, which takes some twenty times as much memory. The largest known index, of a
model of a trillion parameters, has a fifth of it."""
_SUFFIXES = {".json", ".model", ".jinja"}
_TOKENIZER_TEXTS = {"merges.txt", "vocab.txt"}


def base_files(folder: Path) -> list[str]:
    """Names of the files that make the model, sorted. Raises OSError, or ValueError where the index is none."""
    index = folder / WEIGHTS_INDEX
    return sorted([*describing_files(folder), *(indexed(index) if index.is_file() else [SINGLE_WEIGHTS])])


def describing_files(folder: Path) -> list[str]:
    """Names of all its files but the weights."""
    return [path.name for path in folder.iterdir() if path.is_file() and _describes(path)]


def _describes(path: Path) -> bool:
    return not path.name.startswith(".") and (path.suffix in _SUFFIXES or path.name in _TOKENIZER_TEXTS)


def indexed(index: Path) -> list[str]:
    """Names of the shards that an index names, sorted. Raises OSError, or ValueError where it names none beside it."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or any("/" in str(name) for name in names.values()):
        raise ValueError("it has no weight_map from tensors to files of the same folder")
    return sorted({str(name) for name in names.values()})


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a stranger's. Raises OSError, or ValueError where the file is something else or too large."""
    with path.open("rb") as file:
        text = file.read(JSON_LIMIT + 1)
    if len(text) > JSON_LIMIT:
        raise ValueError(f"it has more than {JSON_LIMIT} bytes")
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("its brackets are nested too deep") from error
    if isinstance(value, dict):
        return value
    raise ValueError(f"it is a {type(value).__name__}")
