"""Whether an object in the cluster is still what we applied.

Everything that we say must be there; what the apiserver and others add does not count. A value that is another one
than ours is drift only where somebody else has come to own the field. Where it is still ours, our own request ended so:
an admission webhook changes what we apply (one more toleration, a mirror's image), or the apiserver writes it otherwise
(`1000m` as `1`). To apply it once more would end the same, at every reconcile.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from wardrobe.api.children import APPLIED_ANNOTATION
from wardrobe.api.meta import Manifest
from wardrobe.writes import FIELD_MANAGER


def stamped(manifest: Manifest) -> Manifest:
    """The manifest with the digest of itself."""
    metadata = manifest["metadata"]
    annotations = metadata.get("annotations", {}) | {APPLIED_ANNOTATION: _digest(manifest)}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def differs(wanted: Manifest, found: Manifest | None) -> bool:
    """Whether the object must be applied."""
    if found is None or found["metadata"].get("annotations", {}).get(APPLIED_ANNOTATION) != _digest(wanted):
        return True
    return not _holds(wanted, found, _ours(found))


def _digest(manifest: Manifest) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def _ours(found: Manifest) -> list[Manifest]:
    """The trees of fields that we own, by applying, or because a webhook changed them in our request."""
    return [
        entry["fieldsV1"]
        for entry in found["metadata"].get("managedFields", [])
        if entry["manager"] == FIELD_MANAGER and not entry.get("subresource")
    ]


def _holds(wanted: Any, found: Any, owned: Sequence[Manifest]) -> bool:
    """Whether a value is as wanted, or another one that our own request came to. `owned` is what we own below it."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(
            _absent(value, name, found) or _holds(value, found.get(name), _below(owned, f"f:{name}"))
            for name, value in wanted.items()
        ) or _whole(owned)
    if isinstance(wanted, list) and isinstance(found, list):
        return _all_hold(wanted, found, owned) or _whole(owned)
    return bool(wanted == found) or (found is not None and _whole(owned))


def _all_hold(wanted: list[Any], found: list[Any], owned: Sequence[Manifest]) -> bool:
    """Each item in its place; in a list whose items have keys, such as containers, each wherever it is."""
    steps = {step for tree in owned for step in tree if step.startswith("k:")}
    if steps:
        return all(any(_named(step, item, found, _below(owned, step)) for step in steps) for item in wanted)
    return len(wanted) == len(found) and all(_holds(*pair, []) for pair in zip(wanted, found, strict=True))


def _named(step: str, wanted: Manifest, found: list[Manifest], owned: Sequence[Manifest]) -> bool:
    """Whether the item that `k:{"name":"agent"}` names is the wanted one, and holds. What we leave out is a default."""
    key: Manifest = json.loads(step.removeprefix("k:"))
    if any(wanted.get(name, value) != value for name, value in key.items()):
        return False
    return any(key.items() <= item.items() and _holds(wanted, item, owned) for item in found)


def _below(owned: Sequence[Manifest], step: str) -> list[Manifest]:
    return [tree[step] for tree in owned if step in tree]


def _whole(owned: Sequence[Manifest]) -> bool:
    """Whether we own the value as one: a leaf, or a list that is replaced whole."""
    return any(not tree for tree in owned)


def _absent(value: Any, name: str, found: Manifest) -> bool:
    """Empty maps and lists come back as absent, and kind and version are left out of lists."""
    return found.get(name) is None and (value in ({}, [], False, "") or name in {"kind", "apiVersion"})
