"""Trained adapters, kept in the machine's cache until something that made them changes."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from devcluster import build, environments
from wardrobe.api.meta import Manifest

MADE_BY = ("trainer", "operator")
"""Members of the workspace: the one makes the files, the other the Adapters."""
STORE, ADAPTERS = "store", "adapters.json"


@dataclass(frozen=True)
class Kept:
    """What runs published: a store to mount, and its Adapters."""

    store: Path
    adapters: list[Manifest]


def digest(tree: Path, model: Path, datasets: dict[str, str], manifests: Iterable[Manifest]) -> str:
    """Of all that decides what training makes: sources and lock of `tree`, the base, the data, the settings."""
    stamps = [environments.stamp(tree, environments.MEMBERS[name]) for name in MADE_BY]
    files = {str(file.relative_to(model)): _sha256(file) for file in sorted(model.rglob("*")) if file.is_file()}
    decides = json.dumps([stamps, files, datasets, list(manifests)], sort_keys=True)
    return hashlib.sha256(decides.encode()).hexdigest()


def find(key: str) -> Kept | None:
    """What was kept under a digest."""
    folder = _place() / key
    if not folder.is_dir():
        return None
    return Kept(folder / STORE, json.loads((folder / ADAPTERS).read_text()))


def keep(key: str, made: Kept) -> None:
    """Only this one: what other sources made is dropped. A run that is killed meanwhile leaves nothing half-kept."""
    _place().mkdir(parents=True, exist_ok=True)
    former = list(_place().iterdir())
    draft = Path(tempfile.mkdtemp(dir=_place()))
    shutil.copytree(made.store / "adapters", draft / STORE / "adapters")
    (draft / ADAPTERS).write_text(json.dumps(made.adapters))
    for folder in former:
        shutil.rmtree(folder)
    draft.rename(_place() / key)


def _place() -> Path:
    return build.cache_roots()[-1] / "adapters"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
