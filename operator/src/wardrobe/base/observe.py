"""What the decision on a BaseModel needs to know, and the BaseModel that others name."""

from wardrobe.api import basemodel, children
from wardrobe.api.basemodel import BaseModelResource
from wardrobe.api.meta import Key
from wardrobe.kube.client import Kube
from wardrobe.plan.unreadable import parse
from wardrobe.stage.attempts import Owner, see
from wardrobe.stage.observe import attempts, missing
from wardrobe.stage.record import Record

from .decide import Seen, needs
from .job import INSPECT, earlier_run_name, run_name


async def for_base(kube: Kube, base: BaseModelResource, now: str) -> Seen:
    """A BaseModel's Jobs and what they would mount."""
    namespace = base.metadata.namespace
    seen, trouble = await attempts(kube, Owner(basemodel.KIND, base.metadata, run_name(base), (INSPECT,)), now)
    earlier = Owner(basemodel.KIND, base.metadata, earlier_run_name(base), (INSPECT,))
    # of an older operator: its Jobs have no record, and what their annotation does not say is not needed
    jobs = await kube.list("Job", namespace, f"{children.RUN_LABEL}={earlier.run}")
    lacking = trouble or await missing(kube, namespace, needs(base, seen))
    return Seen(seen, lacking, see(earlier, jobs, [], Record(), now).newest(INSPECT.task))


async def base_model(kube: Kube, namespace: str, name: str) -> BaseModelResource | None:
    """The BaseModel of that name; one that cannot be read is as good as none."""
    manifest = await kube.get(Key(basemodel.KIND, namespace, name))
    found = parse(BaseModelResource, manifest) if manifest else None
    return None if isinstance(found, str) else found
