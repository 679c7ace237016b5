"""Artifacts from the store into this pod's own folder, byte for byte as published, or not at all."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from wardrobe_contracts.base import Digest, Variant
from wardrobe_contracts.digests import of_files, sha256, sha256_file
from wardrobe_contracts.manifest import ADAPTER_FILES, MANIFEST_FILE, Manifest
from wardrobe_contracts.probes import PROBES_FILE, Probes
from wardrobe_contracts.routes import RoutedAdapter
from wardrobe_contracts.state import Reason, Verdict

FILES = (*ADAPTER_FILES, PROBES_FILE)
CHUNK = 1 << 20


class FetchError(Exception):
    """The version cannot be given to the engine; verdict and reason say why."""

    def __init__(self, verdict: Verdict, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.verdict = verdict
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Fetched:
    """A verified copy."""

    folder: Path
    probes: Probes


@dataclass(frozen=True)
class Store:
    """Where artifacts come from, where copies go, and what they must fit."""

    source: Path
    cache: Path
    base: Digest
    variant: Variant

    def folder_of(self, adapter: RoutedAdapter) -> Path:
        """The copy's place: named by everything it holds, so it is never used for other bytes."""
        return self.cache / adapter.manifest_digest.removeprefix("sha256:")


def fetch(store: Store, adapter: RoutedAdapter) -> Fetched:
    """Copy and verify, or verify the copy that is there. Raises FetchError."""
    folder = store.folder_of(adapter)
    try:
        if not _is_whole(folder, adapter):
            _copy(store, adapter, folder)
        manifest = _manifest((folder / MANIFEST_FILE).read_bytes(), adapter)
        _require_fits(manifest, store)
        return Fetched(folder, _probes((folder / PROBES_FILE).read_bytes(), store))
    except FileNotFoundError as error:
        message = f"the store has no {adapter.artifact}/{Path(error.filename or '').name}"
        raise FetchError(Verdict.LOAD_FAILED, Reason.ARTIFACT_MISSING, message) from error
    except OSError as error:
        raise FetchError(Verdict.LOAD_FAILED, Reason.STORE_FAILED, str(error)) from error


def forget(cache: Path, keep: frozenset[Path]) -> None:
    """Remove what is no copy of `keep`: other versions, and what an interrupted copy left."""
    for path in cache.iterdir():
        if path.is_dir() and path not in keep:
            shutil.rmtree(path, ignore_errors=True)


def _is_whole(folder: Path, adapter: RoutedAdapter) -> bool:
    """Whether an earlier copy is there and untouched; a damaged one is removed."""
    if not folder.exists():
        return False
    try:
        manifest = _manifest((folder / MANIFEST_FILE).read_bytes(), adapter)
        if all(sha256_file(folder / name) == manifest.files[name] for name in FILES):
            return True
    except (OSError, FetchError):
        pass
    shutil.rmtree(folder)
    return False


def _copy(store: Store, adapter: RoutedAdapter, target: Path) -> None:
    """Copy into a folder beside the target, verify while copying, and give it its name by one rename."""
    source = store.source / _relative(adapter.artifact)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    text = (source / MANIFEST_FILE).read_bytes()
    manifest = _manifest(text, adapter)
    _require_fits(manifest, store)  # before weights of another base are read
    (partial / MANIFEST_FILE).write_bytes(text)
    for name in FILES:
        if _copy_file(source / name, partial / name) != manifest.files[name]:
            raise FetchError(Verdict.DIGEST_MISMATCH, Reason.FILES_CHANGED, f"{name} is not what was published")
    partial.rename(target)


def _copy_file(source: Path, target: Path) -> Digest:
    """Copy; returns the digest of what was written, which the store cannot change afterwards."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(CHUNK):
            digest.update(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return f"sha256:{digest.hexdigest()}"


def _relative(artifact: str) -> PurePosixPath:
    path = PurePosixPath(artifact)
    if path.is_absolute() or ".." in path.parts:
        raise FetchError(Verdict.LOAD_FAILED, Reason.ARTIFACT_MISSING, f"{artifact} is not a folder inside the store")
    return path


def _manifest(text: bytes, adapter: RoutedAdapter) -> Manifest:
    """The manifest whose digest the Adapter holds, listing the files whose digest it holds."""
    if sha256(text) != adapter.manifest_digest:
        raise FetchError(Verdict.DIGEST_MISMATCH, Reason.MANIFEST_CHANGED, f"{MANIFEST_FILE} is not what was published")
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        message = f"{MANIFEST_FILE} is not a manifest: {error.error_count()} errors"
        raise FetchError(Verdict.LOAD_FAILED, Reason.MANIFEST_UNREADABLE, message) from error
    if missing := [name for name in FILES if name not in manifest.files]:
        message = f"{MANIFEST_FILE} does not list {', '.join(missing)}"
        raise FetchError(Verdict.LOAD_FAILED, Reason.MANIFEST_UNREADABLE, message)
    if of_files({name: manifest.files[name] for name in ADAPTER_FILES}) != adapter.digest:
        message = f"the files that {MANIFEST_FILE} lists are not those of {adapter.digest}"
        raise FetchError(Verdict.DIGEST_MISMATCH, Reason.MANIFEST_CHANGED, message)
    return manifest


def _require_fits(manifest: Manifest, store: Store) -> None:
    if manifest.base.digest != store.base:
        message = f"it belongs to the base {manifest.base.name} {manifest.base.digest}, this is {store.base}"
        raise FetchError(Verdict.LOAD_FAILED, Reason.OTHER_BASE, message)


def _probes(text: bytes, store: Store) -> Probes:
    """The probes, with scores on the variant that is served."""
    try:
        probes = Probes.model_validate_json(text)
    except ValidationError as error:
        message = f"{PROBES_FILE} holds no probes: {error.error_count()} errors"
        raise FetchError(Verdict.LOAD_FAILED, Reason.MANIFEST_UNREADABLE, message) from error
    if not probes.probes or any(store.variant not in probe.scores for probe in probes.probes):
        message = f"it has no recorded scores on {store.variant}; assess it on this variant first"
        raise FetchError(Verdict.LOAD_FAILED, Reason.VARIANT_NOT_ASSESSED, message)
    return probes
