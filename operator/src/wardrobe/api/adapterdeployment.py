"""Kind AdapterDeployment: one base, and the departments that it answers for."""

from typing import Annotated

from pydantic import Field

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import EngineType
from wardrobe_contracts.routes import Authentication, Verification

from .finetunejob import PodSettings
from .meta import Metadata, NamedReference, ObjectName, Resource, Status, Typed

KIND = "AdapterDeployment"
PLURAL = "adapterdeployments"


class EngineSpec(Typed):
    """The inference server and its pods."""

    type: EngineType = EngineType.TRANSFORMERS
    pod: PodSettings = PodSettings()


class KeysReference(Typed):
    """Where a department's keys are. The operator never reads them."""

    secret_name: ObjectName


class DepartmentSpec(Typed):
    """Which Adapter answers, and whose keys open it."""

    adapter: Annotated[str, Field(min_length=1, max_length=48)]
    keys: KeysReference | None = None
    """None exactly where authentication is None."""


class HistorySpec(Typed):
    """What is kept of the past."""

    keep_loaded: Annotated[int, Field(ge=0, le=8)] = 2
    """Previous adapters per department."""


class RouterSpec(Typed):
    """The routers and their pods."""

    replicas: Annotated[int, Field(ge=1, le=16)] = 2
    pod: PodSettings = PodSettings()


class AdapterDeploymentSpec(Typed):
    """What the platform team writes. Only the base is immutable."""

    base_model: NamedReference
    quantization: Variant
    engine: EngineSpec = EngineSpec()
    replicas: Annotated[int, Field(ge=0, le=64)] = 1
    departments: Annotated[dict[str, DepartmentSpec], Field(min_length=1, max_length=64)]
    history: HistorySpec = HistorySpec()
    verification: Verification = Verification.ENFORCE
    authentication: Authentication = Authentication.API_KEY
    router: RouterSpec = RouterSpec()

    @property
    def adapters(self) -> frozenset[str]:
        """Names of the Adapters that departments are pointed at."""
        return frozenset(department.adapter for department in self.departments.values())


class DepartmentStatus(Typed):
    """One department: what answers, what should, and what it can go back to at once."""

    adapter: str | None = None
    """None until its first adapter is proved."""
    wanted: str
    previous: list[str] = []
    """Newest first."""
    state: str


class AdapterDeploymentStatus(Status):
    """What is live. Rebuildable from children and ControllerRevisions."""

    url: str | None = None
    live: str | None = None
    routes_generation: int | None = None
    replicas: int | None = None
    ready_replicas: int | None = None
    selector: str | None = None
    departments: dict[str, DepartmentStatus] = {}


class AdapterDeploymentResource(Resource):
    """An AdapterDeployment as read."""

    metadata: Metadata
    spec: AdapterDeploymentSpec
    status: AdapterDeploymentStatus = AdapterDeploymentStatus()
