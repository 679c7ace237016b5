"""The base image, made of Debian's packages as Debian makes its own slim one: no registry is asked."""

import subprocess
from pathlib import Path

from devcluster.console import DevclusterError, say

from .builder import BASE, Builder

SUITE = "bookworm"
LEFT_OUT = ("man", "doc", "info", "locale")  # as in Debian's slim images
MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"


def command(archive: Path) -> list[str]:
    """Arguments of mmdebstrap. With usr-is-merged there, nothing pulls in the 46 MB of Perl that usrmerge needs."""
    excluded = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in LEFT_OUT]
    fixed = ["--quiet", "--mode=root", "--variant=minbase", "--include=usr-is-merged", f"--hook-dir={MERGED_USR}"]
    return ["mmdebstrap", *fixed, *excluded, SUITE, str(archive)]


def ensure(builder: Builder) -> None:
    """Make the base image unless there is one."""
    if builder.has(BASE):
        return
    say(f"making the base image from Debian's packages ({SUITE})…")
    archive = builder.scratch / "base.tar"
    done = subprocess.run(
        command(archive), check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/"
    )
    if done.returncode != 0:
        raise DevclusterError(f"mmdebstrap failed:\n{done.stdout}")
    builder.import_base(archive)
    archive.unlink()
