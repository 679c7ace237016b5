"""What holds an AdapterDeployment back: no engine pod is made or changed meanwhile, and no adapter is loaded.

What is proved already goes on answering, and is routed as the spec says: a base that is away stops no rollback.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from wardrobe import engines
from wardrobe.api import adapterdeployment
from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import ConditionStatus, Key, Manifest
from wardrobe.api.reasons import Failure, Waiting
from wardrobe.base.ready import ReadyBase, ready_base
from wardrobe.plan.needs import LOOK_AGAIN_SECONDS, Missing
from wardrobe.settings import Settings

from .seen import Seen

COLLECTING_SECONDS = 1.0
"""The garbage collector removes what a deleted deployment left; nothing tells when it has."""


@dataclass(frozen=True)
class Obstacle:
    """Why nothing new is made. `status` is that of the condition Ready."""

    reason: Waiting | Failure
    message: str
    status: ConditionStatus = "Unknown"
    look_again: float = LOOK_AGAIN_SECONDS


def base_or_obstacle(deployment: AdapterDeploymentResource, seen: Seen, settings: Settings) -> Obstacle | ReadyBase:
    """The first thing in the way; or the base that engines are made on, where there is none."""
    base = _base(deployment, seen)
    if isinstance(base, Missing):
        return Obstacle(base.reason, base.message)
    return (
        _other_base(base, seen)
        or _taken(deployment.metadata.name, seen.taken)
        or _engine(deployment, base, settings)
        or base
    )


def makes_children(deployment: AdapterDeploymentResource, seen: Seen) -> bool:
    """Whether children are made or mended now; before the first routes everything has to be there at once."""
    return seen.routes is not None or isinstance(_base(deployment, seen), ReadyBase)


def _base(deployment: AdapterDeploymentResource, seen: Seen) -> ReadyBase | Missing:
    base = ready_base(seen.base, deployment.spec.base_model.name)
    return base if isinstance(base, Missing) else seen.missing or base


def _other_base(base: ReadyBase, seen: Seen) -> Obstacle | None:
    """A base that was deleted and made again from other files: what is served belongs to the former ones."""
    if seen.routes is None or seen.routes.base.digest == base.digest:
        return None
    message = (
        f"BaseModel {base.name} now has digest {base.digest}, and this deployment serves adapters of "
        f"{seen.routes.base.digest}. Another base is another AdapterDeployment: create one, or put the former files "
        "back"
    )
    return Obstacle(Failure.BASE_MODEL_CHANGED, message, "False")


def _engine(deployment: AdapterDeploymentResource, base: ReadyBase, settings: Settings) -> Obstacle | None:
    """What the engine could not serve, or would get wrong. Its message says why."""
    why = engines.unservable(deployment.spec, base.shape, settings)
    return Obstacle(Waiting.ENGINE_CANNOT_SERVE, why, "False") if why else None


def _taken(name: str, taken: Mapping[Key, Manifest]) -> Obstacle | None:
    """Names that somebody else's objects have. They are never changed."""
    if not taken:
        return None
    left = [key for key, found in taken.items() if _left(found, name)]
    if len(left) == len(taken):
        message = f"{_list(left)} is left of a deleted AdapterDeployment {name}; waiting for the garbage collector"
        return Obstacle(Waiting.NAME_TAKEN, message, look_again=COLLECTING_SECONDS)
    foreign = [key for key in taken if key not in left]
    message = (
        f"{_list(foreign)} exists already and is not this deployment's{_whose(taken[foreign[0]])}: it needs that name, "
        "and changes nothing of others. Delete or rename the other object, or create this AdapterDeployment under "
        "another name"
    )
    return Obstacle(Waiting.NAME_TAKEN, message, "False")


def _list(keys: list[Key]) -> str:
    return ", ".join(f"{key.kind} {key.name}" for key in sorted(keys))


def _left(found: Manifest, name: str) -> bool:
    owner = _owner(found)
    return (owner.get("kind"), owner.get("name")) == (adapterdeployment.KIND, name)


def _whose(found: Manifest) -> str:
    owner = _owner(found)
    return f" but {owner['kind']} {owner['name']}'s" if owner else ""


def _owner(found: Manifest) -> Manifest:
    references: list[Manifest] = found["metadata"].get("ownerReferences", [])
    return next((reference for reference in references if reference.get("controller")), {})
