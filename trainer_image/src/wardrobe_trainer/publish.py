"""Publication: an artifact appears whole under its digest, or not at all, and is never changed afterwards."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import ValidationError

from wardrobe_contracts.base import Digest
from wardrobe_contracts.digests import of_files, sha256_file
from wardrobe_contracts.manifest import ADAPTER_FILES, MANIFEST_FILE, Manifest

from .files import pod, sync_folder, sync_tree
from .problems import TaskError, bad_adapter

Whole = Callable[[Path, Digest], object]
"""Raises NotWholeError where a folder is not the artifact of a digest. Of adapters, unless another is given."""


class NotWholeError(OSError):
    """A folder is not the artifact that its name promises: the store gives back something else than was put in."""


def target_of(line_folder: Path, digest: Digest) -> Path:
    """Where an artifact belongs."""
    return line_folder / digest.removeprefix("sha256:")


def stage_of(line_folder: Path, run: str) -> Path:
    """Where a run's pod builds its artifact, within the mount of its target, so that one rename publishes it."""
    return line_folder / f".{run}.{pod()}"


def verify(folder: Path, digest: Digest) -> Manifest:
    """Manifest of a whole artifact. Raises NotWholeError with what is wrong, OSError where the store fails."""
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        found = {name: sha256_file(folder / name) for name in manifest.files}
    except FileNotFoundError as error:
        raise NotWholeError(f"{Path(error.filename).name} is missing") from error
    except ValidationError as error:
        raise NotWholeError(f"{MANIFEST_FILE} is not a manifest") from error
    if changed := sorted(name for name in found if found[name] != manifest.files[name]):
        raise NotWholeError(f"{', '.join(changed)} differ from the manifest")
    if manifest.digest != digest or of_files({name: found[name] for name in ADAPTER_FILES if name in found}) != digest:
        raise NotWholeError(f"it is the artifact {manifest.digest}")
    return manifest


def published(
    folder: Path,
    digest: Digest,
    whole: Whole | None = None,
    bad: Callable[..., TaskError] = bad_adapter,
) -> bool:
    """Whether the artifact is there and whole. Raises TaskError where something else is in its place.

    Its name is on disk then: who has published it may have been killed before it was.
    """
    target = target_of(folder, digest)
    if not target.exists():
        return False
    try:
        (whole or verify)(target, digest)
    except NotWholeError as error:
        raise bad(
            value=str(target),
            rule=f"an artifact of this digest is already in the store and is damaged: {error}",
            next_step="Find out what changed it; if nothing names it, move the folder away and create the run again",
        ) from error
    sync_folder(folder)
    return True


def publish(
    line_folder: Path,
    run: str,
    digest: Digest,
    contents: Mapping[str, bytes | Path],
    whole: Whole | None = None,
) -> bool:
    """Stage, verify, sync and rename. `contents` are file names to bytes, or to a file to copy.

    False where another pod was first with the same digest: its artifact stays. Raises OSError where the store fails,
    NotWholeError where what was written does not read back. In any case, an interruption by SIGTERM included, nothing
    half remains.
    """
    stage = stage_of(line_folder, run)
    try:
        stage.mkdir(parents=True)
        for name, content in contents.items():
            _put(stage / name, content)
        sync_tree(stage)
        (whole or verify)(stage, digest)
        return move(stage, target_of(line_folder, digest), digest, whole)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def _put(path: Path, content: bytes | Path) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        shutil.copyfile(content, path)


def move(stage: Path, target: Path, digest: Digest, whole: Whole | None = None) -> bool:
    """Publish by one rename. False where another pod was first with the same digest: its folder stays, ours goes."""
    first = True
    try:
        stage.rename(target)
    except OSError:
        if not target.exists():
            raise
        (whole or verify)(target, digest)
        shutil.rmtree(stage)
        first = False
    sync_folder(target.parent)
    return first
