"""Starting an image as the pods' security settings have it: uid 10001, read-only root, no capabilities.

runc starts it, as containerd does. Only the network is the machine's, so that a control plane here is reached.
"""

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.console import DevclusterError
from devcluster.processes import last_lines
from devcluster.waiting import require

NAME = "wardrobe-image-check"
WORK = "/work"
START_SECONDS = 60
END_SECONDS = 120
NO_VARIABLES: Mapping[str, str] = {}
NAMESPACES = ("pid", "mount", "ipc", "uts")


@dataclass(frozen=True)
class Image:
    """An image that can be started: where its files are mounted, and its settings."""

    root: Path
    config: Mapping[str, Any]

    @property
    def entry_point(self) -> list[str]:
        """The command that the image runs by itself."""
        return list(self.config["Entrypoint"])


def bundle(image: Image, arguments: list[str], work: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """runc's config.json: the image's own settings, and `work` of this machine as the only place on a disk to write."""
    tmpfs = ["nosuid", "nodev", "mode=1777"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": int(image.config["User"]), "gid": int(image.config["User"])},
            "args": arguments,
            "env": [*image.config["Env"], "HOME=/tmp", *(f"{name}={value}" for name, value in variables.items())],
            "cwd": image.config["WorkingDir"],
            "capabilities": {},
            "noNewPrivileges": True,
        },
        "root": {"path": str(image.root), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": tmpfs},  # noqa: S108 - inside
            {"destination": "/tmp", "type": "tmpfs", "source": "tmp", "options": tmpfs},  # noqa: S108 - inside
            {"destination": WORK, "type": "bind", "source": str(work), "options": ["bind", "rw"]},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in NAMESPACES]},
    }


@dataclass
class Container:
    """A running one."""

    process: "subprocess.Popen[bytes]"
    port: int

    def get(self, path: str) -> bytes | None:
        """The body that a program answers with 200, None for anything else."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                body: bytes = answer.read()
        except OSError:  # urllib's own errors too
            return None
        return body

    def await_answer(self, path: str, expected: bytes = b"") -> None:
        """Return once `path` answers with 200 and the expected text in it."""

        def answers() -> bool:
            body = self.get(path)
            return self.process.poll() is not None or (body is not None and expected in body)

        require(answers, seconds=START_SECONDS, what=path, every=0.2)
        if self.process.poll() is not None:
            raise DevclusterError(f"it ended with {self.process.returncode} before {path} answered")

    def stop(self) -> None:
        """SIGTERM, as a rollout's, which must end it in order."""
        self.process.terminate()
        self.await_end()

    def await_end(self) -> None:
        """Raises DevclusterError for any exit code but 0."""
        require(lambda: self.process.poll() is not None, seconds=END_SECONDS, what="its end")
        if self.process.returncode != 0:
            raise DevclusterError(f"it ended with {self.process.returncode}")


@dataclass(frozen=True)
class Runner:
    """Starts one container at a time; `folder` is for its state, log and bundle, `work` is mounted in it."""

    folder: Path
    work: Path

    @contextmanager
    def running(
        self, image: Image, arguments: list[str], *, variables: Mapping[str, str] = NO_VARIABLES, port: int = 0
    ) -> Iterator[Container]:
        """A container while the block runs; killed after it if it still runs."""
        self.discard()
        place = self.folder / "bundle"
        place.mkdir(parents=True, exist_ok=True)
        (place / "config.json").write_text(json.dumps(bundle(image, arguments, self.work, variables)))
        log = self.folder / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                self._runc("run", f"--bundle={place}", NAME), stdout=file, stderr=file, stdin=subprocess.DEVNULL
            )
        try:
            yield Container(process, port)
        except DevclusterError as error:
            raise DevclusterError(f"{' '.join(arguments)}: {error}; it said:\n{last_lines(log, 15)}") from error
        finally:
            process.kill()  # only runc, if it has not ended: the container goes with its state
            process.wait()
            self.discard()

    def run(self, image: Image, arguments: list[str], variables: Mapping[str, str] = NO_VARIABLES) -> None:
        """A command in the image, to its end. Raises DevclusterError for any exit code but 0."""
        with self.running(image, arguments, variables=variables) as container:
            container.await_end()

    def discard(self) -> None:
        """Kill what runs under our name and remove its state; harmless when there is nothing."""
        subprocess.run(self._runc("delete", "--force", NAME), check=False, capture_output=True)

    def _runc(self, *arguments: str) -> list[str]:
        return ["runc", f"--root={self.folder / 'runc'}", *arguments]
