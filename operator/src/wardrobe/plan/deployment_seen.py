"""What is observed of an AdapterDeployment before anything is decided."""

from collections.abc import Sequence
from dataclasses import dataclass

from wardrobe.api.adapter import AdapterResource
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.meta import Key, Manifest
from wardrobe.resources.revision import Revision
from wardrobe_contracts.routes import Routes

from .needs import Missing
from .pod_troubles import Trouble
from .proofs import Replica, RouterPod


@dataclass(frozen=True)
class Seen:
    """What was observed."""

    base: BaseModelResource | None
    adapters: dict[str, AdapterResource]
    children: dict[Key, Manifest]
    """All owned objects but pods and routes."""
    taken: dict[Key, Manifest]
    """Objects that are not this deployment's and have a name or labels that it needs."""
    revisions: list[Revision]
    """In order of their numbers."""
    routes: Routes | None
    replicas: Sequence[Replica]
    routers: Sequence[RouterPod]
    troubles: Sequence[Trouble]
    """What keeps pods from starting."""
    missing: Missing | None
