"""Labels and owner references of children."""

from wardrobe.api import children
from wardrobe.api.meta import API_VERSION, Manifest, Metadata


def of_owner(kind: str, owner: Metadata) -> dict[str, str]:
    """Labels by which a child is found from its owner."""
    return {
        children.MANAGED_BY_LABEL: children.MANAGED_BY,
        children.OWNER_KIND_LABEL: kind,
        children.OWNER_LABEL: owner.name,
    }


def owner_reference(kind: str, owner: Metadata) -> Manifest:
    """The garbage collector deletes the child with its owner."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
