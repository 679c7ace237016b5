"""Server-side apply on plain JSON: who owns which field, and what becomes of one that its applier leaves out.

A list is owned whole, unless our schemas call it a set. The apiserver also merges lists by key; nothing here relies on
that. `tests/kube/test_fake_cluster.py` compares with a real one.
"""

import copy
from collections.abc import Iterator
from typing import Any

from wardrobe.api.meta import Manifest

Path = tuple[str, ...]

SETS = {("status", "usedBy")}
NAMING = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}
"""Which object it is; nobody owns that."""
SERVERS = {("metadata", name) for name in ("uid", "resourceVersion", "generation", "deletionTimestamp")}
"""What the apiserver sets itself."""


class FieldConflictError(Exception):
    """Another manager set a field to something else, and the apply does not force it."""


class FieldOwnership:
    """Of one object. Managers that apply and those that update are told apart, as the apiserver does."""

    def __init__(self) -> None:
        self._owners: dict[Path, set[str]] = {}

    def apply(self, stored: Manifest, wanted: Manifest, manager: str, *, force: bool) -> Manifest:
        """The object after the manager's apply; `stored` stays as it was."""
        fields, found = dict(_owned(wanted)), dict(_owned(stored))
        for path, value in fields.items():
            others = self._owners.get(path, set()) - {manager}
            if others and found.get(path, value) != value:
                if not force:
                    raise FieldConflictError(f"{'.'.join(path)} belongs to {', '.join(sorted(others))}")
                self._owners[path] = set()
        after = copy.deepcopy(stored)
        for path in [path for path in self._owners if path not in fields]:
            self._leave(after, path, manager)
        for path, value in fields.items():
            self._owners.setdefault(path, set()).add(manager)
            _set(after, path, value)
        return after

    def update(self, before: Manifest, after: Manifest, manager: str) -> None:
        """A write of any other kind: what it changes is its writer's."""
        old, new = dict(_owned(before)), dict(_owned(after))
        for path in old.keys() - new.keys():
            self._owners.pop(path, None)
        for path, value in new.items():
            if path not in old or old[path] != value:
                self._owners[path] = {manager}

    def _leave(self, after: Manifest, path: Path, manager: str) -> None:
        owners = self._owners[path]
        if manager in owners:
            owners.remove(manager)
            if not owners:
                del self._owners[path]
                _remove(after, path)


def _owned(manifest: Manifest) -> Iterator[tuple[Path, Any]]:
    return ((path, value) for path, value in _leaves(manifest, ()) if path not in NAMING | SERVERS)


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif path in SETS:
        yield from (((*path, item), item) for item in value)
    else:
        yield path, value


def _set(target: Manifest, path: Path, value: Any) -> None:
    *way, last = path
    if path[:-1] in SETS:
        items = _at(target, way[:-1]).setdefault(way[-1], [])
        items += [value] if value not in items else []
        return
    parent = _at(target, way)
    if value != {} or not isinstance(parent.get(last), dict):
        parent[last] = copy.deepcopy(value)


def _remove(target: Manifest, path: Path) -> None:
    *way, last = path
    if path[:-1] in SETS:
        items = _at(target, way[:-1]).get(way[-1], [])
        items[:] = [item for item in items if item != last]
    else:
        _at(target, way).pop(last, None)


def _at(target: Manifest, way: list[str]) -> Any:
    found: Any = target
    for name in way:
        if not isinstance(found.get(name), dict):
            found[name] = {}
        found = found[name]
    return found
