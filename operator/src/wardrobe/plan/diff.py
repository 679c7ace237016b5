"""JSON merge patches (RFC 7386): only what differs is sent, so that an unchanged status costs no write."""

from wardrobe.api.meta import Manifest


def merge_patch(before: Manifest, after: Manifest) -> Manifest:
    """The patch that turns `before` into `after`; empty where they are equal. Lists are replaced whole."""
    patch: Manifest = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if old == value:
            continue
        patch[name] = merge_patch(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return patch
