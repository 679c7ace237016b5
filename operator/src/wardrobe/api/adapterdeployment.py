"""Kind AdapterDeployment: one base, and the departments that it answers for."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import EngineType
from wardrobe_contracts.routes import Authentication, Verification

from .finetunejob import PodSettings
from .meta import Metadata, NamedReference, ObjectName, Resource, Sha256, Status, Typed

KIND = "AdapterDeployment"
PLURAL = "adapterdeployments"


class EngineSpec(Typed):
    """The inference server and its pods."""

    type: EngineType | None = None
    gpus: Annotated[int, Field(ge=0, le=16)] = 0
    """Of one pod."""
    context_length: Annotated[int, Field(ge=16, le=1048576)] | None = None
    """Tokens of one request, prompt and answer; None is as many as the base was made for."""
    max_concurrent_requests: Annotated[int, Field(ge=8, le=1024)] | None = None
    """That the engine works on together, proofs among them; None is as many as its facts say."""
    adapter_memory: Annotated[str, Field(max_length=8, pattern=r"^[1-9][0-9]{0,5}(Mi|Gi)$")] = "4Gi"
    """What adapters may take in one engine together."""
    pod: PodSettings = PodSettings()

    @property
    def adapter_memory_bytes(self) -> int:
        """The same as a number."""
        return int(self.adapter_memory[:-2]) * {"Mi": 2**20, "Gi": 2**30}[self.adapter_memory[-2:]]

    @property
    def effective_type(self) -> EngineType:
        """As written; without, TGI where there are GPUs for it, which it needs for adapters."""
        return self.type or (EngineType.TGI if self.gpus else EngineType.TRANSFORMERS)


class KeysReference(Typed):
    """Where a department's keys are. The operator never reads them."""

    secret_name: ObjectName


class DepartmentSpec(Typed):
    """Which Adapter answers, and whose keys open it."""

    adapter: Annotated[str, Field(min_length=1, max_length=48)]
    accept_rejected: Sha256 | None = None
    """Of an Adapter that its gate rejected, and that is wanted all the same."""
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
    warm: list[str] = []
    """Those beside `adapter` that a ready replica answers with: to go to one of them restarts nothing."""
    state: str


class NewAdapters(StrEnum):
    """What it takes to load an adapter that is not loaded yet."""

    RESTART_ENGINES = "RestartEngines"
    """One engine after another is started anew."""
    LOAD_WHILE_SERVING = "LoadWhileServing"


class AdapterDeploymentStatus(Status):
    """What is live. Rebuildable from children and ControllerRevisions."""

    url: str | None = None
    live: str | None = None
    warm: str | None = None
    new_adapters: NewAdapters | None = None
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
