"""Kind AdapterDeployment: one base, and the departments that it answers for."""

from enum import StrEnum

from wardrobe_contracts.base import Variant
from wardrobe_contracts.routes import Authentication, Verification

from .finetunejob import PodSettings
from .meta import Metadata, NamedReference, Resource, Status, Typed

KIND = "AdapterDeployment"
PLURAL = "adapterdeployments"


class EngineType(StrEnum):
    """Which inference server."""

    TRANSFORMERS = "Transformers"


class EngineSpec(Typed):
    """The inference server and its pods."""

    type: EngineType = EngineType.TRANSFORMERS
    pod: PodSettings = PodSettings()


class KeysReference(Typed):
    """Where a department's keys are. The operator never reads them."""

    secret_name: str


class DepartmentSpec(Typed):
    """Which Adapter answers, and whose keys open it."""

    adapter: str
    keys: KeysReference | None = None
    """None exactly where authentication is None."""


class HistorySpec(Typed):
    """What is kept of the past."""

    keep_loaded: int = 2
    """Previous versions per department."""


class RouterSpec(Typed):
    """The routers and their pods."""

    replicas: int = 2
    pod: PodSettings = PodSettings()


class AdapterDeploymentSpec(Typed):
    """What the platform team writes. Only the base is immutable."""

    base_model: NamedReference
    quantization: Variant
    engine: EngineSpec = EngineSpec()
    replicas: int = 1
    departments: dict[str, DepartmentSpec]
    history: HistorySpec = HistorySpec()
    verification: Verification = Verification.ENFORCE
    authentication: Authentication = Authentication.API_KEY
    router: RouterSpec = RouterSpec()


class DepartmentStatus(Typed):
    """One department: what answers, what should, and what it can go back to at once."""

    adapter: str | None = None
    """None until its first version is proved."""
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
