"""What is observed of an AdapterDeployment before anything is decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wardrobe.api.adapter import AdapterResource
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.meta import Key, Manifest
from wardrobe.deployment.children.revision import History, Revision
from wardrobe.plan.needs import Missing
from wardrobe_contracts.routes import Routes

from .pod_troubles import Trouble
from .proofs import Replica, RouterPod
from .replacement import Unscheduled


@dataclass(frozen=True)
class Seen:
    """What was observed."""

    base: BaseModelResource | None
    adapters: dict[str, AdapterResource]
    """By name: those that the spec names, that are loaded, and that may be kept loaded."""
    unreadable: dict[str, str]
    """Adapters of these that are there and cannot be read, and why."""
    children: dict[Key, Manifest]
    """All owned objects but pods and routes."""
    taken: dict[Key, Manifest]
    """Objects that are not this deployment's and have a name or labels that it needs."""
    revisions: list[Revision]
    """In order of their numbers."""
    history: History | None
    """What they say together."""
    routes: Routes | None
    replicas: Sequence[Replica]
    routers: Sequence[RouterPod]
    troubles: Sequence[Trouble]
    """What keeps pods from starting."""
    missing: Missing | None
    unscheduled: Sequence[Unscheduled] = ()
    """Engine pods that no node has room for."""
    routes_data: Mapping[str, str] = field(default_factory=dict)
    """The routes as they stand in their ConfigMap, for readers of every format."""
