"""usage: python -m image_check TARGET... (root): build, look into and start images; see `make images-check`.

Targets are the members, and `tgi`; all of them where none is named.
"""

import fcntl
import os
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from devcluster import build, debian, environments, images
from devcluster.console import DevclusterError, answer, say
from devcluster.instance import checkout

from . import base, content, starts, tgi
from .builder import Builder, image_of
from .container import Image

PROGRAMS = {
    "buildah": Path("/usr/bin/buildah"),
    "mmdebstrap": Path("/usr/bin/mmdebstrap"),
    "runc": Path("/usr/sbin/runc"),
    "openssl": Path("/usr/bin/openssl"),  # for the control plane
}
WANTED_MB = {"operator": 200, "gateway": 300}
"""A hundred of the gateway's are numpy, which pads adapters, and the hub's client, which asks TGI."""
OWN_NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


@dataclass(frozen=True)
class Outcome:
    """What was found of one image."""

    member: str
    megabytes: float
    seconds: float
    started: str
    wrong: list[str]


def main() -> int:
    """Check the targets named on the command line; 0 when nothing is wrong."""
    try:
        members, with_tgi = chosen(sys.argv[1:])
        if os.geteuid() != 0:
            raise DevclusterError("run as root: it mounts images and starts them as another user")
        if os.getpid() != 1:
            _isolate()
        signal.signal(signal.SIGTERM, _terminate)
        return _report(_check(members, with_tgi=with_tgi))
    except DevclusterError as error:
        say(f"images-check: {error}")
        return error.status


def chosen(targets: list[str]) -> tuple[list[str], bool]:
    """Members, and whether TGI's target is among what is asked for."""
    named = [target for target in targets if target != tgi.TARGET]
    members = [member.name for member in environments.chosen(named)] if named or not targets else []
    return members, not targets or tgi.TARGET in targets


def folder() -> Path:
    """Everything that is kept: storage, downloads. `make images-clean` removes it."""
    return build.cache_roots()[-1] / "images"


def _isolate() -> None:
    """Start again in namespaces of our own: however the check ends, no process and no mount is left."""
    command = [*OWN_NAMESPACES, sys.executable, "-m", "image_check", *sys.argv[1:]]
    os.execvp(command[0], command)  # noqa: S606 - there is no shell to want


def _terminate(*_: int | FrameType | None) -> None:
    sys.exit(143)


def _check(members: list[str], *, with_tgi: bool) -> list[Outcome]:
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    debian.ensure(PROGRAMS)
    # Its control plane is not seen by other programs, which see other process ids.
    os.environ["WARDROBE_RUN"] = str(place / "cluster")
    with (place / ".lock").open("w") as lock, ExitStack() as stack:
        _lock(lock.fileno())
        builder = Builder(place)
        builder.prepare()
        stack.callback(builder.prune)
        base.ensure(builder)
        seconds = {member: _build(builder, member) for member in members}
        where = stack.enter_context(starts.place_for(members, place / "start"))
        if with_tgi:
            tgi.build(builder)
            answer(f"{tgi.TARGET}: {tgi.start(builder, where)}")
        return [_look(builder, member, seconds[member], where) for member in members]


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another check is running; waiting for it…")
        fcntl.flock(handle, fcntl.LOCK_EX)


def _build(builder: Builder, member: str) -> float:
    say(f"building the image of {member}…")
    began = time.monotonic()
    builder.build(member, checkout())
    return time.monotonic() - began


def _look(builder: Builder, member: str, seconds: float, place: starts.Place) -> Outcome:
    say(f"looking into the image of {member}, and starting it…")
    image = image_of(member)
    config = builder.config(image)
    with builder.mounted(image) as root:
        found = list(content.walk(root))
        size = sum(size for _, size in found) / 1e6
        wrong = content.complaints(member, (entry for entry, _ in found), content.locked(checkout() / "uv.lock"))
        wrong += settings_complaints(config, images.config(environments.MEMBERS[member]))
        if size >= WANTED_MB.get(member, float("inf")):
            wrong.append(f"{size:.0f} MB; wanted: below {WANTED_MB[member]}")
        started = starts.STARTS[member](Image(root, config), place)
    return Outcome(member, size, seconds, started, wrong)


def settings_complaints(found: dict[str, object], wanted: dict[str, object]) -> list[str]:
    """Where an image's settings are not those of the development cluster's image."""
    names = sorted((found.keys() | wanted.keys()) - {"Labels"})
    differing = [name for name in names if found.get(name) != wanted.get(name)]
    return [f"{name} is {found.get(name)}, in the development cluster {wanted.get(name)}" for name in differing]


def _report(outcomes: list[Outcome]) -> int:
    for outcome in outcomes:
        answer(f"{outcome.member}: {outcome.megabytes:.0f} MB, built in {outcome.seconds:.0f} s; {outcome.started}")
        for complaint in outcome.wrong:
            answer(f"  wrong: {complaint}")
    return 1 if any(outcome.wrong for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
