"""Artifacts from the store into this pod's own folder, byte for byte as published, or not at all."""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pydantic import ValidationError

from wardrobe_contracts import regular_files
from wardrobe_contracts.artifact import MOST_BYTES
from wardrobe_contracts.base import Digest, Variant
from wardrobe_contracts.digests import of_files, sha256, sha256_file
from wardrobe_contracts.manifest import ADAPTER_FILES, MANIFEST_FILE, Manifest
from wardrobe_contracts.probes import PROBES_FILE, Probes
from wardrobe_contracts.routes import RoutedAdapter
from wardrobe_contracts.state import Reason, Verdict

FILES = (*ADAPTER_FILES, PROBES_FILE)
CHUNK = 1 << 20
FETCH_SECONDS = 900.0
"""For one copy: 8 GiB at 10 MB/s."""


class FetchError(Exception):
    """The adapter cannot be given to the engine; verdict and reason say why."""

    def __init__(self, verdict: Verdict, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.verdict = verdict
        self.reason = reason
        self.message = message


class Pace:
    """How a copy gets on: seen from outside while its thread may hang."""

    def __init__(self) -> None:
        self.moved = time.monotonic()
        """When something was last read."""
        self._end = self.moved + FETCH_SECONDS

    def move(self) -> None:
        """Something was read. Raises FetchError where the time is over."""
        self.moved = time.monotonic()
        if self.moved > self._end:
            message = f"it was not copied within {FETCH_SECONDS:g} s"
            raise FetchError(Verdict.LOAD_FAILED, Reason.STORE_FAILED, message)

    def stop(self) -> None:
        """Nobody waits for it any more: end at the next piece."""
        self._end = 0.0


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


def copy_of(adapter: RoutedAdapter, cache: Path) -> Path:
    """The copy's place: named by everything it holds, so it is never used for other bytes."""
    return cache / adapter.manifest_digest.removeprefix("sha256:")


def fetch(store: Store, adapter: RoutedAdapter, pace: Pace) -> Fetched:
    """Copy and verify, or verify the copy that is there. Raises FetchError."""
    folder = copy_of(adapter, store.cache)
    try:
        if not _is_whole(folder, adapter, pace):
            _copy(store, adapter, folder, pace)
        manifest = _manifest(_read(folder / MANIFEST_FILE), adapter)
        _require_fits(manifest, store)
        return Fetched(folder, _probes(_read(folder / PROBES_FILE), store))
    except FileNotFoundError as error:
        message = f"the store has no {adapter.artifact}/{Path(error.filename or '').name}"
        raise FetchError(Verdict.LOAD_FAILED, Reason.ARTIFACT_MISSING, message) from error
    except OSError as error:
        raise FetchError(Verdict.LOAD_FAILED, Reason.STORE_FAILED, str(error)) from error


def forget(cache: Path, keep: frozenset[Path]) -> None:
    """Remove what is no copy of `keep`: other adapters, and what an interrupted copy left."""
    for path in cache.iterdir():
        if path.is_dir() and path not in keep:
            shutil.rmtree(path, ignore_errors=True)


def _is_whole(folder: Path, adapter: RoutedAdapter, pace: Pace) -> bool:
    """Whether an earlier copy is there and untouched; a damaged one is removed."""
    if not folder.exists():
        return False
    try:
        manifest = _manifest(_read(folder / MANIFEST_FILE), adapter)
        for name in FILES:
            if sha256_file(folder / name) != manifest.files[name]:
                break
            pace.move()
        else:
            return True
    except (OSError, FetchError):
        pass
    shutil.rmtree(folder)
    return False


def _copy(store: Store, adapter: RoutedAdapter, target: Path, pace: Pace) -> None:
    """Copy into a folder beside the target, verify while copying, and give it its name by one rename."""
    source = store.source / _relative(adapter.artifact)
    partial = partial_of(target)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        text = _read(source / MANIFEST_FILE)
        pace.move()
        manifest = _manifest(text, adapter)
        _require_fits(manifest, store)  # before weights of another base are read
        (partial / MANIFEST_FILE).write_bytes(text)
        for name in FILES:
            if _copy_file(source / name, partial / name, pace) != manifest.files[name]:
                raise FetchError(Verdict.DIGEST_MISMATCH, Reason.FILES_CHANGED, f"{name} is not what was published")
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def partial_of(folder: Path) -> Path:
    """Where a copy is made, until it is whole."""
    return folder.with_name(f"{folder.name}.partial")


def _copy_file(source: Path, target: Path, pace: Pace) -> Digest:
    """Copy; returns the digest of what was written, which the store cannot change afterwards."""
    digest = hashlib.sha256()
    with _opened(source) as reader, target.open("wb") as writer:
        left = MOST_BYTES[source.name]
        while chunk := reader.read(CHUNK):
            pace.move()
            left -= len(chunk)
            if left < 0:  # it grows while it is read
                raise _too_large(source)
            digest.update(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return f"sha256:{digest.hexdigest()}"


def _read(path: Path) -> bytes:
    """A small file. Raises OSError and FetchError."""
    with _opened(path) as file:
        text = file.read(MOST_BYTES[path.name] + 1)
    if len(text) > MOST_BYTES[path.name]:
        raise _too_large(path)
    return text


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file of bounded size. Raises OSError and FetchError."""
    with regular_files.opened(path) as file:
        if os.fstat(file.fileno()).st_size > MOST_BYTES[path.name]:
            raise _too_large(path)
        yield file


def _too_large(path: Path) -> FetchError:
    message = f"{path.name} is larger than {MOST_BYTES[path.name]} bytes"
    return FetchError(Verdict.LOAD_FAILED, Reason.STORE_FAILED, message)


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
