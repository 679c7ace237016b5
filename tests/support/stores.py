"""Volumes that are no good, as real mounts: the kernel asks a filesystem of ours, in memory, in a process of its own.

It speaks the kernel's FUSE protocol on /dev/fuse (include/uapi/linux/fuse.h), as much of it as tasks need. What it is
told to refuse it answers with that error, as filesystems do that show something else as files. Needs root.
"""

import ctypes
import errno
import json
import os
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Doing = Literal["rename folder", "rename file", "sync file", "sync folder", "make folder"]
Fault = Literal["replaces folders", "keeps old names"]
"""What a rename does that no POSIX rename does: replace a folder that has files, or leave the old name as well."""
ROOT = 1
MOST_WRITTEN = 2**17
HEADER, ANSWER = struct.Struct("<IIQQIII4x"), struct.Struct("<IiQ")
NO_ANSWER = {2, 36, 42}
"""Opcodes of what is not answered: to forget nodes, and to interrupt."""


@contextmanager
def store(
    place: Path,
    refused: dict[Doing, int] | None = None,
    *,
    times: int = -1,
    size: int = 2**30,
    fault: Fault | None = None,
) -> Iterator[Path]:
    """A mounted store. `refused` are errors by what they answer, so many `times` or always; `size` is what it holds, in
    bytes."""
    place.mkdir(exist_ok=True)
    told = json.dumps({"refused": refused or {}, "times": times, "size": size, "fault": fault})
    server = subprocess.Popen([sys.executable, __file__, str(place), told], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "mounted\n", "mounting takes root and the kernel's fuse"
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=False)
        server.kill()
        server.communicate()


class RefusedError(OSError):
    """The answer is an error."""


@dataclass
class Node:
    """A file or a folder."""

    number: int
    mode: int
    uid: int
    gid: int
    data: bytearray = field(default_factory=bytearray)
    names: dict[bytes, "Node"] = field(default_factory=dict)
    mtime: int = field(default_factory=time.time_ns)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    def size(self) -> int:
        """Of all that can be found."""
        return len(self.data) + sum(node.size() for node in self.names.values())

    def attributes(self) -> bytes:
        """`struct fuse_attr`."""
        seconds, nanoseconds = divmod(self.mtime, 10**9)
        blocks = -(-len(self.data) // 512)
        times = (seconds,) * 3 + (nanoseconds,) * 3
        links = 2 if self.is_folder else 1
        return struct.pack(
            "<6Q10I", self.number, len(self.data), blocks, *times, self.mode, links, self.uid, self.gid, 0, 4096, 0
        )


class Files:
    """A tree, and what it refuses."""

    def __init__(self, refused: dict[str, int], times: int, size: int, fault: Fault | None) -> None:
        self._refused, self._times, self._size, self._fault = refused, times, size, fault
        self._nodes = {ROOT: Node(ROOT, stat.S_IFDIR | 0o777, 0, 0)}
        self.answers: dict[int, Callable[[Node, bytes, tuple[int, int]], bytes]] = {
            1: self._lookup,
            3: lambda node, *_: _with_attributes(node),
            4: self._set,
            9: self._make_folder,
            10: lambda node, body, _: self._remove(node, _name(body), folder=False),
            11: lambda node, body, _: self._remove(node, _name(body), folder=True),
            12: lambda node, body, _: self._rename(node, body, 8),
            14: lambda *_: bytes(16),
            15: self._read,
            16: self._write,
            17: lambda *_: struct.pack("<5Q4I24x", *(2**20,) * 5, 4096, 255, 4096, 0),
            18: lambda *_: b"",
            20: lambda *_: self._unless_refused("sync file"),
            25: lambda *_: b"",
            26: self._begin,
            27: lambda *_: bytes(16),
            28: self._list,
            29: lambda *_: b"",
            30: lambda *_: self._unless_refused("sync folder"),
            35: self._create,
            45: lambda node, body, _: self._rename(node, body, 16),
        }

    def answer(self, opcode: int, number: int, body: bytes, user: tuple[int, int]) -> bytes:
        """Raises RefusedError."""
        if opcode not in self.answers:
            raise RefusedError(errno.ENOSYS, "")
        return self.answers[opcode](self._nodes.get(number, self._nodes[ROOT]), body, user)

    def _unless_refused(self, doing: Doing) -> bytes:
        if doing in self._refused and self._times:
            self._times -= 1
            raise RefusedError(self._refused[doing], doing)
        return b""

    def _begin(self, _: Node, body: bytes, __: tuple[int, int]) -> bytes:
        _, _, ahead, _ = struct.unpack_from("<4I", body)
        return struct.pack("<4I2H2I2H2I24x", 7, 31, ahead, 0, 12, 9, MOST_WRITTEN, 1, 0, 0, 0, 0)

    def _lookup(self, node: Node, body: bytes, _: tuple[int, int]) -> bytes:
        found = node.names.get(_name(body))
        if found is None:
            raise RefusedError(errno.ENOENT, "")
        return _entry(found)

    def _new(self, parent: Node, name: bytes, mode: int, user: tuple[int, int]) -> Node:
        made = Node(max(self._nodes) + 1, mode, *user)
        if parent.mode & stat.S_ISGID:
            made.gid, made.mode = parent.gid, made.mode | (stat.S_ISGID if made.is_folder else 0)
        self._nodes[made.number] = parent.names[name] = made
        parent.mtime = time.time_ns()
        return made

    def _make_folder(self, node: Node, body: bytes, user: tuple[int, int]) -> bytes:
        self._unless_refused("make folder")
        (mode,) = struct.unpack_from("<I", body)
        return _entry(self._new(node, _name(body[8:]), stat.S_IFDIR | mode, user))

    def _create(self, node: Node, body: bytes, user: tuple[int, int]) -> bytes:
        _, mode = struct.unpack_from("<2I", body)
        return _entry(self._new(node, _name(body[16:]), stat.S_IFREG | mode, user)) + bytes(16)

    def _remove(self, node: Node, name: bytes, *, folder: bool) -> bytes:
        if folder and node.names[name].names:
            raise RefusedError(errno.ENOTEMPTY, "")
        del node.names[name]
        node.mtime = time.time_ns()
        return b""

    def _rename(self, node: Node, body: bytes, names_at: int) -> bytes:
        (number,) = struct.unpack_from("<Q", body)
        old, new = body[names_at:].split(b"\0")[:2]
        into, moved = self._nodes[number], node.names[old]
        self._unless_refused("rename folder" if moved.is_folder else "rename file")
        there = into.names.get(new)
        if there is not None and there.names and self._fault != "replaces folders":
            raise RefusedError(errno.ENOTEMPTY, "")
        if self._fault != "keeps old names":
            del node.names[old]
        into.names[new] = moved
        node.mtime = into.mtime = time.time_ns()
        return b""

    def _set(self, node: Node, body: bytes, _: tuple[int, int]) -> bytes:
        valid, size, mtime = (struct.unpack_from(form, body, at)[0] for form, at in (("<I", 0), ("<Q", 16), ("<Q", 40)))
        mode, uid, gid = (struct.unpack_from("<I", body, at)[0] for at in (68, 76, 80))
        node.mode = mode if valid & 1 else node.mode
        node.uid = uid if valid & 2 else node.uid
        node.gid = gid if valid & 4 else node.gid
        if valid & 8:
            self._resize(node, size)
        if valid & (32 | 256):
            node.mtime = time.time_ns() if valid & 256 else mtime * 10**9
        return _with_attributes(node)

    def _resize(self, node: Node, size: int) -> None:
        grown = size - len(node.data)
        if grown > self._size - self._nodes[ROOT].size():
            raise RefusedError(errno.ENOSPC, "")
        node.data = node.data[:size] + bytes(max(0, grown))
        node.mtime = time.time_ns()

    def _read(self, node: Node, body: bytes, _: tuple[int, int]) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        return bytes(node.data[offset : offset + size])

    def _write(self, node: Node, body: bytes, _: tuple[int, int]) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        self._resize(node, max(len(node.data), offset + size))
        node.data[offset : offset + size] = body[40 : 40 + size]
        return struct.pack("<2I", size, 0)

    def _list(self, node: Node, body: bytes, _: tuple[int, int]) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        found = b""
        for place, (name, one) in enumerate(list(node.names.items())[offset:], start=offset + 1):
            entry = struct.pack("<QQII", one.number, place, len(name), one.mode >> 12) + name
            entry += bytes(-len(entry) % 8)
            if len(found) + len(entry) > size:
                break
            found += entry
        return found


def _name(body: bytes) -> bytes:
    return body.split(b"\0", 1)[0]


def _with_attributes(node: Node) -> bytes:
    """`struct fuse_attr_out`: nothing may be kept, so that who asks sees what is there."""
    return bytes(16) + node.attributes()


def _entry(node: Node) -> bytes:
    """`struct fuse_entry_out`."""
    return struct.pack("<Q32x", node.number) + node.attributes()


def serve(device: int, files: Files) -> None:
    """Until it is unmounted."""
    while True:
        try:
            asked = os.read(device, MOST_WRITTEN + 2**16)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            if error.errno in {errno.ENOENT, errno.EINTR}:  # who asked was killed
                continue
            raise
        _, opcode, unique, number, uid, gid, _ = HEADER.unpack_from(asked)
        if opcode in NO_ANSWER:
            continue
        try:
            number_of_error, body = 0, files.answer(opcode, number, asked[HEADER.size :], (uid, gid))
        except RefusedError as refused:
            number_of_error, body = refused.errno or errno.EIO, b""
        os.write(device, ANSWER.pack(ANSWER.size + len(body), -number_of_error, unique) + body)


def main() -> None:
    place, told = sys.argv[1:]
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"store", place.encode(), b"fuse.tests", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "mount")
    print("mounted", flush=True)  # noqa: T201
    serve(device, Files(**json.loads(told)))


if __name__ == "__main__":
    main()
