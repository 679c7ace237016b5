"""buildah with a storage of its own: everything it keeps is in one folder, so that nothing else has to be cleaned."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.console import DevclusterError

BASE = "localhost/wardrobe-base:bookworm"
CERTIFICATES = Path("/usr/local/share/ca-certificates")


def image_of(target: str) -> str:
    """What the image of a target of the Dockerfile is called here."""
    return f"localhost/wardrobe-{target}:check"


def build_command(target: str, tree: Path, certificates: list[Path], **arguments: str) -> list[str]:
    """Arguments of `buildah build`, with those of the Dockerfile. This machine's own certificates are mounted while it
    builds, and stay out."""
    command = ["build", "--isolation=chroot", "--layers", "--force-rm", f"--build-arg=BASE={BASE}"]
    command += [f"--build-arg={name}={value}" for name, value in arguments.items()]
    if certificates:
        command.append(f"--volume={CERTIFICATES}:{CERTIFICATES}:ro")
    return [*command, f"--target={target}", f"--tag={image_of(target)}", str(tree)]


@dataclass(frozen=True)
class Builder:
    """One storage."""

    folder: Path

    @property
    def scratch(self) -> Path:
        """Downloads that are kept between builds, and what a build needs for a moment."""
        return self.folder / "tmp"

    def prepare(self) -> None:
        """Make the folders, and remove what a killed check left."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.folder / "run", ignore_errors=True)  # what is mounted: nothing, in a mount namespace of ours
        self.run("rm", "--all")

    def prune(self) -> None:
        """Drop what builds left beside the images: with torch, 5 GB each."""
        self.run("rm", "--all")
        self.run("rmi", "--prune")

    def has(self, image: str) -> bool:
        """Whether there is such an image."""
        return bool(self.run("images", "--quiet", "--filter", f"reference={image}").strip())

    def import_base(self, archive: Path) -> None:
        """Make the base image of an archive of a root file system."""
        text = f'FROM scratch\nADD {archive.name} /\nCMD ["bash"]\n'  # the command that Debian's own image has
        container_file = archive.with_suffix(".Dockerfile")
        container_file.write_text(text)
        self.run("build", "--quiet", f"--tag={BASE}", f"--file={container_file}", str(archive.parent))
        container_file.unlink()

    def build(self, target: str, tree: Path, **arguments: str) -> None:
        """Build a target of the Dockerfile; what the build says goes to our standard error."""
        command = build_command(target, tree, sorted(CERTIFICATES.glob("*.crt")), **arguments)
        done = subprocess.run(self._command(*command), check=False, env=self._environment(), stdout=sys.stderr)
        if done.returncode != 0:
            raise DevclusterError(f"the image of {target} could not be built: see above")

    def config(self, image: str) -> dict[str, Any]:
        """The image's own: entry point, user, environment."""
        found: dict[str, Any] = json.loads(self.run("inspect", "--type=image", image))["OCIv1"]["config"]
        return found

    @contextmanager
    def mounted(self, image: str) -> Iterator[Path]:
        """A root file system of the image, gone after the block."""
        container = self.run("from", "--pull-never", image).strip()
        try:
            yield Path(self.run("mount", container).strip())
        finally:
            self.run("rm", container)

    def run(self, *arguments: str) -> str:
        """Output of a buildah command. Raises DevclusterError with its complaint."""
        command = self._command(*arguments)
        done = subprocess.run(command, check=False, text=True, capture_output=True, env=self._environment())
        if done.returncode != 0:
            raise DevclusterError(f"buildah {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def _command(self, *arguments: str) -> list[str]:
        return ["buildah", f"--root={self.folder / 'storage'}", f"--runroot={self.folder / 'run'}", *arguments]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "TMPDIR": str(self.scratch)}
