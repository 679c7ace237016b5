"""Adapters that are not what they should be, made from a good one: changed behind its digest, or honest but unfit."""

import json
import random
import shutil
from array import array
from collections.abc import Callable
from pathlib import Path

from wardrobe.api.meta import Manifest
from wardrobe_contracts.digests import of_files, sha256, sha256_file
from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, ADAPTER_FILES, ADAPTER_WEIGHTS_FILE, MANIFEST_FILE
from wardrobe_contracts.probes import PROBES_FILE
from wardrobe_contracts.routes import RoutedAdapter, engine_adapter_name

from .resources import another_version

Change = Callable[[Path], None]
OTHER_BASE = "sha256:" + "b" * 64
VALUES = ["1e999", "NaN", "-1", "null", "[]", "{}", '"x"', "1" * 5000, "[" * 3000, "9" * 300 + ".5", '"\\ud800"']


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
    return another_version(good, version, artifact={"path": path}, **digests)


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


def halve_v_proj(folder: Path) -> None:
    """Half of what its v_proj add."""
    _scale_rows(folder, "v_proj.lora_B.weight", 0.5)


def zero_half_of_v_proj(folder: Path) -> None:
    """Nothing of what its v_proj add to the first half of their outputs."""
    _scale_rows(folder, "v_proj.lora_B.weight", 0.0, share=0.5)


def zero_all(folder: Path) -> None:
    """Nothing of what it adds: the base."""
    _scale_rows(folder, "lora_B.weight", 0.0)


def weights_of(other: Path) -> Change:
    """Those of another adapter of the same form, under its own probes."""

    def change(folder: Path) -> None:
        shutil.copyfile(other / ADAPTER_WEIGHTS_FILE, folder / ADAPTER_WEIGHTS_FILE)
        keep_probes(folder)

    return change


def keep_probes(folder: Path) -> None:
    """Its probes are said to be those of its files as they are now."""
    probes = json.loads((folder / PROBES_FILE).read_text())
    probes["adapterDigest"] = of_files({name: sha256_file(folder / name) for name in ADAPTER_FILES})
    (folder / PROBES_FILE).write_text(json.dumps(probes))


def _scale_rows(folder: Path, matrices: str, factor: float, *, share: float = 1.0) -> None:
    """The first rows, so many of all, of float32 matrices whose names end so."""
    data = bytearray((folder / ADAPTER_WEIGHTS_FILE).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    for name, tensor in json.loads(data[8:start]).items():
        if name.endswith(matrices):
            rows, columns = tensor["shape"]
            begin = start + tensor["data_offsets"][0]
            end = begin + 4 * columns * int(rows * share)
            data[begin:end] = array("f", (factor * value for value in array("f", data[begin:end]))).tobytes()
    (folder / ADAPTER_WEIGHTS_FILE).write_bytes(data)
    keep_probes(folder)


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


def by_hand(store: Path, good: Manifest, version: int, change: Change) -> Manifest:
    """A further version of a line as an Adapter made by hand: a changed copy, all of whose digests are true."""
    spec, name = good["spec"], f"{good['spec']['line']}-v{version}"
    routed = republish(store, spec["artifact"]["path"], change, adapter=name)
    digests = {"digest": routed.digest, "manifestDigest": routed.manifest_digest}
    return another_version(good, version, artifact={"path": routed.artifact}, **digests)


def republish(store: Path, good: str, change: Change, *, adapter: str = "cardiology-v9") -> RoutedAdapter:
    """A changed copy of a folder in the store whose digests all are true, as an Adapter by hand can bring it."""
    path = f"adapters/forged/{adapter}"
    folder = Path(shutil.copytree(store / good, store / path))
    config, manifest = folder / ADAPTER_CONFIG_FILE, folder / MANIFEST_FILE
    config.write_bytes(config.read_bytes() + b" " * len(list(folder.parent.iterdir())))  # a digest of its own
    _tell_the_truth(folder)
    before = manifest.read_bytes()
    change(folder)
    if manifest.read_bytes() == before:
        _tell_the_truth(folder)
    digest = of_files({name: sha256_file(folder / name) for name in ADAPTER_FILES})
    return RoutedAdapter(
        engine_name=engine_adapter_name(adapter, digest),
        adapter=adapter,
        departments=["cardiology"],
        artifact=path,
        digest=digest,
        manifest_digest=sha256_file(manifest),
    )


def fuzzed(text: bytes, chance: random.Random) -> bytes:
    """Something like it."""
    match chance.randrange(4):
        case 0:
            return text[: chance.randrange(len(text))]
        case 1:
            at = chance.randrange(len(text))
            return text[:at] + bytes([chance.randrange(256)]) + text[at + 1 :]
        case 2:
            pieces = text.split(b",")
            at = chance.randrange(len(pieces))
            name, colon, _ = pieces[at].rpartition(b":")
            pieces[at] = name + colon + chance.choice(VALUES).encode()
            return b",".join(pieces)
        case _:
            return chance.choice(VALUES).encode()
