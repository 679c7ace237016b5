"""Adapters that are not what they should be, made from a good one: changed behind its digest, or honest but unfit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from wardrobe_contracts.digests import of_files, sha256, sha256_file
from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_FILES, ADAPTER_WEIGHTS_FILE, MANIFEST_FILE

from .cluster import Manifest

Change = Callable[[Path], None]
OTHER_BASE = "sha256:" + "b" * 64


def forged(store: Path, good: Manifest, version: int, change: Change, *, honest: bool) -> Manifest:
    """A further version of a line, with files that `change` has changed.

    An honest one has digests that fit them; another has those of the good files. The manifest is never the good one's,
    to the byte: a copy that was verified under its digest is not read again.
    """
    spec, line = good["spec"], good["spec"]["line"]
    path = f"adapters/{line}/forged-{version}"
    folder = Path(shutil.copytree(store / spec["artifact"]["path"], store / path))
    change(folder)
    if honest:
        _tell_the_truth(folder)
    digests = _publish(folder, version)
    return {
        "apiVersion": good["apiVersion"],
        "kind": "Adapter",
        "metadata": {"name": f"{line}-v{version}"},
        "spec": {**spec, "version": version, "artifact": {"path": path}, **digests},
    }


def flip_a_bit(folder: Path) -> None:
    """In the last weight."""
    weights = bytearray((folder / ADAPTER_WEIGHTS_FILE).read_bytes())
    weights[-1] ^= 1
    (folder / ADAPTER_WEIGHTS_FILE).write_bytes(bytes(weights))


def claim_another_base(folder: Path) -> None:
    """In the manifest only."""
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["base"]["digest"] = OTHER_BASE
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))


def claim_another_rank(folder: Path) -> None:
    """Twice that of its weights."""
    config = json.loads((folder / ADAPTER_CONFIG_FILE).read_text())
    config["r"] *= 2
    (folder / ADAPTER_CONFIG_FILE).write_text(json.dumps(config))


def turn_a_matrix(folder: Path) -> None:
    """Rows for columns: as many numbers, another shape."""
    data = (folder / ADAPTER_WEIGHTS_FILE).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    first = next(tensor for name, tensor in sorted(header.items()) if name != "__metadata__")
    first["shape"].reverse()
    text = json.dumps(header, separators=(",", ":")).encode().ljust(length)
    (folder / ADAPTER_WEIGHTS_FILE).write_bytes(data[:8] + text + data[8 + length :])


def _tell_the_truth(folder: Path) -> None:
    """List the files as they are."""
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["files"] = {name: sha256_file(folder / name) for name in manifest["files"]}
    manifest["digest"] = of_files({name: manifest["files"][name] for name in ADAPTER_FILES})
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))


def _publish(folder: Path, version: int) -> dict[str, str]:
    """Give the manifest bytes of its own; the digests for the Adapter."""
    text = (folder / MANIFEST_FILE).read_bytes().rstrip() + b" " * version
    (folder / MANIFEST_FILE).write_bytes(text)
    return {"digest": json.loads(text)["digest"], "manifestDigest": sha256(text)}
