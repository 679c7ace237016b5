"""Whether an object in the cluster is still what we applied.

Everything that we say must be there; what the apiserver and others add does not count. Quantities are left out
(`500m` comes back as written, `1000m` as `1`): they are covered by the digest of what was applied.
"""

import hashlib
import json
from typing import Any

from wardrobe.api.children import APPLIED_ANNOTATION
from wardrobe.api.meta import Manifest

QUANTITIES = "resources"


def stamped(manifest: Manifest) -> Manifest:
    """The manifest with the digest of itself."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
    metadata = manifest["metadata"]
    annotations = metadata.get("annotations", {}) | {APPLIED_ANNOTATION: digest}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def differs(wanted: Manifest, found: Manifest | None) -> bool:
    """Whether the object must be applied."""
    return found is None or not _within(stamped(wanted), found)


def _within(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            name == QUANTITIES or _absent(value, name, found) or _within(value, found.get(name))
            for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and len(wanted) == len(found) and all(map(_within, wanted, found))
    return bool(wanted == found)


def _absent(value: Any, name: str, found: Manifest) -> bool:
    """Empty maps and lists come back as absent, and kind and version are left out of lists."""
    return found.get(name) is None and (value in ({}, [], False, "") or name in {"kind", "apiVersion"})
