"""Images of a few kilobytes: folders, links and a user, no files of their own.

The node mounts the host's /usr and the members' environments read-only into every container, so a pod runs
the working tree without an image build of several gigabytes. Real images are a separate check.
"""

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.environments import Member

USER = 10001
PAUSE = "localhost/pause:1"
BUSYBOX = Path("/bin/busybox")  # Debian: busybox-static
FOLDERS = ("dev", "etc", "home", "opt", "proc", "root", "run", "sys", "usr", "var", "work")
LINKS = ("bin", "lib", "lib64", "sbin")
PASSWD = f"root:x:0:0:root:/root:/bin/sh\nwardrobe:x:{USER}:{USER}:wardrobe:/tmp:/bin/sh\n"
GROUP = f"root:x:0:\nwardrobe:x:{USER}:\n"


@dataclass(frozen=True)
class Entry:
    """One name in a layer: a folder unless it has content or a link target."""

    name: str
    content: bytes | None = None
    mode: int = 0o755
    link: str | None = None


def layer(entries: list[Entry]) -> bytes:
    """An uncompressed layer; equal entries give equal bytes (no times, no owners)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for entry in entries:
            tar.addfile(_info(entry), io.BytesIO(entry.content or b""))
    return buffer.getvalue()


def _info(entry: Entry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(entry.name)
    info.mode = entry.mode
    if entry.link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
    elif entry.content is None:
        info.type = tarfile.DIRTYPE
    else:
        info.size = len(entry.content)
    return info


def archive(reference: str, entries: list[Entry], config: dict[str, Any]) -> bytes:
    """A docker-archive with one layer, as `ctr images import` takes it. `config` is the OCI image's."""
    data = layer(entries)
    digest = hashlib.sha256(data).hexdigest()
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [],
    }
    text = json.dumps(image, sort_keys=True).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": [f"{digest}/layer.tar"]}]
    members = {f"{digest}/layer.tar": data, name: text, "manifest.json": json.dumps(manifest).encode()}
    return layer([Entry(file, content, 0o644) for file, content in members.items()])


def pause() -> bytes:
    """The container that holds a pod's namespaces."""
    entries = [Entry("bin"), Entry("bin/busybox", BUSYBOX.read_bytes())]
    return archive(PAUSE, entries, {"Cmd": ["/bin/busybox", "sleep", "2147483647"]})


def program(reference: str, name: str, file: Path) -> bytes:
    """The image of one static program, which is its entry point under this name."""
    config = {"Entrypoint": [f"/{name}"], "User": str(USER)}
    return archive(reference, [*entries(), Entry(name, file.read_bytes())], config)


def member(of: Member) -> bytes:
    """The image of a member."""
    return archive(of.image, entries(), config(of))


def entries() -> list[Entry]:
    """Mount points, and a user."""
    found = [Entry(name) for name in FOLDERS]
    found += [Entry("tmp", mode=0o1777)]
    found += [Entry(name, mode=0o777, link=f"usr/{name}") for name in LINKS]
    return [*found, Entry("etc/passwd", PASSWD.encode(), 0o644), Entry("etc/group", GROUP.encode(), 0o644)]


def config(of: Member) -> dict[str, Any]:
    """Settings of a member's image, here and in the Dockerfile: PATH holds its environment only."""
    return {
        "Entrypoint": list(of.entrypoint),
        "Env": [f"PATH={of.environment}/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"],
        "User": str(USER),
        "WorkingDir": "/",
    }
