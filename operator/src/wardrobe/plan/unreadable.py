"""A resource that this release of the operator cannot read: it says so itself, and nothing else waits for it."""

from typing import TypeVar

import pydantic

from wardrobe.api.meta import Manifest, Resource, Status
from wardrobe.api.reasons import ConditionType, Waiting

from .conditions import Fact
from .undecided import with_top

Kind = TypeVar("Kind", bound=Resource)


def parse(kind: type[Kind], manifest: Manifest) -> Kind | str:
    """The resource, or the first field of its spec that is wrong, with the rule; values stay out of messages.

    A status that cannot be read counts as wiped: it is made again.
    """
    try:
        return kind.parse(manifest)
    except pydantic.ValidationError:
        pass
    try:
        return kind.parse({**manifest, "status": {}})
    except pydantic.ValidationError as error:
        found = error.errors()[0]
    return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"


def bare(manifest: Manifest) -> Resource:
    """What every resource has, read as far as it can be: metadata, and conditions."""
    status = {name: manifest.get("status", {}).get(name) for name in ("conditions", "observedGeneration")}
    found = parse(Resource, {"metadata": manifest["metadata"], "status": {k: v for k, v in status.items() if v}})
    if isinstance(found, str):
        raise TypeError(f"metadata of the API itself cannot be read: {found}")
    return found


def stalled(resource: Resource, top: ConditionType, why: str, now: str) -> Status:
    """Conditions alone; whatever else stands in the status stays, and a run that has ended has ended.

    No generation was observed: what has this condition is decided upon anew as soon as it can be read.
    """
    before = resource.status.condition(top)
    if top is ConditionType.SUCCEEDED and before and before.status != "Unknown":
        return resource.status
    message = (
        f"this release of Wardrobe cannot read the resource ({why}), and leaves what was made for it as it is. Apply "
        "the kinds of the operator's release, or correct the field"
    )
    status = with_top(resource, Fact(top, "Unknown", Waiting.OBJECT_UNREADABLE, message), now)
    return status.model_copy(update={"observed_generation": None})
