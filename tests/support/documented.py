"""docs/conditions.md says where each reason stands; every status that a test sees written is held against it."""

from wardrobe.api.meta import Manifest
from wardrobe.api.reasons import Place
from wardrobe_docs.conditions import DERIVED, documented


def require_documented(kind: str, status: Manifest) -> None:
    """Raise AssertionError for a reason on a condition where the page does not have it, with that status."""
    for condition in status.get("conditions", []):
        place = Place(kind, condition["type"], condition["status"])
        if place.condition not in DERIVED:
            assert (place, condition["reason"]) in documented(), (
                f"{condition['reason']} is not said to stand on {place}"
            )
