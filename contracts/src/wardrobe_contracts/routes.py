"""Routes: which adapter answers for each department, and what every replica keeps loaded. Intent, no addresses.

One ConfigMap per deployment holds them as JSON, under a key for each format that a router or agent in the cluster may
read; routers and agents watch it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, NonNegativeInt, StringConstraints, model_validator

from .base import AdapterName, Digest, Exchanged, Record
from .inspection import Size

ROUTES_KEY = "routes-1.json"
FORMAT_0_KEY = "routes.json"
"""First light's routers and agents refuse a field that they do not know: under their key stands what they know."""
AGENT_PORT = 8080
"""Where an engine pod takes requests."""
OPS_PORT = 8081
"""Where routers and agents serve `/state`, `/readyz`, `/healthz` and `/metrics`: no client can keep these busy."""
REQUESTS_PORT_NAME = "http"
OPS_PORT_NAME = "ops"
"""What the two are called in pods, Services and EndpointSlices."""
ENGINE_PORT = 8000
"""Where the engine listens, on 127.0.0.1 of its pod only."""
ROUTER_PORT = 8080
KEYS_FILE = "keys"
"""Entry of a key Secret, and its file in `<keys folder>/<department>/`: one key per line."""

SHORT_DIGEST = 8

DepartmentName = Annotated[str, StringConstraints(min_length=1, max_length=63)]
EngineAdapterName = Annotated[str, StringConstraints(pattern=r"^.+-[0-9a-f]{8}$", max_length=253)]
"""Name of an adapter in an engine: the Adapter's, and the beginning of its digest.

What parts tell each other calls it `version`, as release 0.1 did: here, in `/state`, in a header and in a verdict.
"""


def engine_adapter_name(adapter: AdapterName, digest: Digest) -> EngineAdapterName:
    """What engines call an adapter: never the same name for other bytes."""
    return f"{adapter}-{digest.removeprefix('sha256:')[:SHORT_DIGEST]}"


class Authentication(StrEnum):
    """How a caller says which department it is."""

    API_KEY = "APIKey"
    NONE = "None"


class Verification(StrEnum):
    """What becomes of an adapter that is loaded but not proved."""

    ENFORCE = "Enforce"
    """Only what is proved answers."""
    REPORT = "Report"
    """Proofs are made and reported, and what the engine took from verified files answers all the same."""


class BaseShape(Record):
    """Sizes of a base's matrices: adapters are held against them before an engine that would not look gets them."""

    model_type: str
    """As config.json has it."""
    layers: Size
    hidden_size: Size
    intermediate_size: Size
    attention_heads: Size
    key_value_heads: Size
    head_dim: Size


class RoutedBase(Record):
    """The base of the deployment: adapters of another are never loaded."""

    name: str
    digest: Digest
    shape: BaseShape | None = None
    """Of the inspection. None in routes of before engines that take adapters at their start."""


class Route(Record):
    """Where a department's requests go."""

    engine_name: Annotated[EngineAdapterName | None, Field(alias="version")] = None
    """None until the department's first adapter is proved; its requests get 503 meanwhile."""


class RoutedAdapter(Record):
    """One member of the set that every replica keeps loaded."""

    engine_name: Annotated[EngineAdapterName, Field(alias="version")]
    adapter: AdapterName
    departments: Annotated[list[DepartmentName], Field(min_length=1)]
    """Whose current, next or previous adapter it is: they may ask for it by name."""
    artifact: str
    """Folder inside the store."""
    digest: Digest
    manifest_digest: Digest

    @model_validator(mode="after")
    def _named_after_its_digest(self) -> Self:
        if self.engine_name != engine_adapter_name(self.adapter, self.digest):
            raise ValueError(f"adapter {self.engine_name} is not {engine_adapter_name(self.adapter, self.digest)}")
        return self


class Permit(Record):
    """Which engine may be started anew with which set of adapters. At most one at a time in a deployment."""

    incarnation: str
    """Of the agent beside it: a permit is not for the pod that comes after."""
    engine_set: Digest
    """The set that this agent wants, see `state.EngineSets`."""
    pod: str = ""
    """Name of the agent's pod: the permit ends with it."""


class Routes(Exchanged):
    """Contents of the ConfigMap."""

    deployment: str
    generation: NonNegativeInt
    """Rises with every change, and never falls."""
    base: RoutedBase
    departments: dict[DepartmentName, Route]
    adapters: list[RoutedAdapter]
    authentication: Authentication = Authentication.API_KEY
    verification: Verification = Verification.ENFORCE
    permit: Permit | None = None
    """None where no engine may restart, and for engines that take adapters while they run."""
    refused: list[EngineAdapterName] = []
    """Members of the set with which an engine did not start; agents that have not tried them leave them out."""
    answering_since: NonNegativeInt | None = None
    """The generation since which only FOR_AGENTS has changed, where that is not this one: a router that works by it
    answers as one that works by this."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        known = {adapter.engine_name for adapter in self.adapters}
        if len(known) != len(self.adapters):
            raise ValueError("an adapter is listed twice")
        for department, route in self.departments.items():
            if route.engine_name is not None and route.engine_name not in known:
                raise ValueError(f"{department} is routed to {route.engine_name}, which is not in the set")
        return self

    @property
    def answers_alike_since(self) -> int:
        """`answering_since`, or this generation."""
        return self.generation if self.answering_since is None else self.answering_since

    def answered_as_in(self, generation: int | None) -> bool:
        """Whether who works by the routes of that generation answers every request as who works by these."""
        return generation is not None and self.answers_alike_since <= generation <= self.generation

    @property
    def routed(self) -> frozenset[str]:
        """Adapters that a department's requests go to."""
        return frozenset(route.engine_name for route in self.departments.values() if route.engine_name is not None)

    @property
    def routed_adapters(self) -> frozenset[str]:
        """Names of the Adapters behind them."""
        return frozenset(loaded.adapter for loaded in self.adapters if loaded.engine_name in self.routed)


FOR_AGENTS = frozenset({"permit", "refused"})
"""Fields that only agents act upon."""
_SINCE_FORMAT_0: dict[str, Any] = {
    "base": {"shape"},
    **dict.fromkeys(("format", "permit", "refused", "answering_since"), True),
}


def to_config_map(routes: Routes) -> dict[str, str]:
    """The ConfigMap's data: the same routes for readers of today, and for those of format 0."""
    return {
        ROUTES_KEY: routes.model_dump_json(by_alias=True, exclude_none=True, indent=1, exclude=_empty(routes)),
        FORMAT_0_KEY: routes.model_dump_json(by_alias=True, exclude_none=True, exclude=_SINCE_FORMAT_0),
    }


def _empty(routes: Routes) -> set[str]:
    return set() if routes.refused else {"refused"}


def in_config_map(data: Mapping[str, str]) -> str | None:
    """The text of the newest routes that are read here; None where there are none."""
    return data.get(ROUTES_KEY, data.get(FORMAT_0_KEY))
