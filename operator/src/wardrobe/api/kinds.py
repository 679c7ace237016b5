"""The kinds that Wardrobe brings, in one table."""

from dataclasses import dataclass

from . import adapter, adapterdeployment, basemodel, finetunejob
from .adapter import AdapterResource
from .adapterdeployment import AdapterDeploymentResource
from .basemodel import BaseModelResource
from .finetunejob import FineTuneJobResource
from .meta import Resource
from .reasons import ConditionType


@dataclass(frozen=True)
class Kind:
    """One kind: how the API names it, how it is read, and the condition that sums it up."""

    name: str
    plural: str
    resource: type[Resource]
    top: ConditionType


KINDS = {
    kind.name: kind
    for kind in (
        Kind(basemodel.KIND, basemodel.PLURAL, BaseModelResource, ConditionType.READY),
        Kind(finetunejob.KIND, finetunejob.PLURAL, FineTuneJobResource, ConditionType.SUCCEEDED),
        Kind(adapter.KIND, adapter.PLURAL, AdapterResource, ConditionType.READY),
        Kind(
            adapterdeployment.KIND,
            adapterdeployment.PLURAL,
            AdapterDeploymentResource,
            ConditionType.READY,
        ),
    )
}
"""By name."""
