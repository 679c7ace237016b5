"""Routes: which version answers for each department, and what every replica keeps loaded. Intent, no addresses.

One ConfigMap per deployment holds them as JSON under ROUTES_KEY; routers and agents watch it.
"""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, NonNegativeInt, StringConstraints, model_validator

from .base import Digest, Order

ROUTES_KEY = "routes.json"
AGENT_PORT = 8080
"""The only port of an engine pod: requests, `/state`, `/readyz`, `/healthz`, `/metrics`."""
ENGINE_PORT = 8000
"""Where the engine listens, on 127.0.0.1 of its pod only."""
ROUTER_PORT = 8080
KEYS_FILE = "keys"
"""Entry of a key Secret, and its file in `<keys folder>/<department>/`: one key per line."""

SHORT_DIGEST = 8

DepartmentName = Annotated[str, StringConstraints(min_length=1, max_length=63)]
VersionName = Annotated[str, StringConstraints(pattern=r"^.+-[0-9a-f]{8}$", max_length=253)]


def version_name(adapter: str, digest: Digest) -> str:
    """What engines call an adapter: never the same name for other bytes."""
    return f"{adapter}-{digest.removeprefix('sha256:')[:SHORT_DIGEST]}"


class Authentication(StrEnum):
    """How a caller says which department it is."""

    API_KEY = "APIKey"
    NONE = "None"


class Verification(StrEnum):
    """What becomes of a version that is loaded but not proved."""

    ENFORCE = "Enforce"
    """Only what is proved answers."""
    REPORT = "Report"
    """Proofs are made and reported, and what the engine took from verified files answers all the same."""


class RoutedBase(Order):
    """The base of the deployment: adapters of another are never loaded."""

    name: str
    digest: Digest


class Route(Order):
    """Where a department's requests go."""

    version: VersionName | None = None
    """None until the department's first version is proved; its requests get 503 meanwhile."""


class RoutedAdapter(Order):
    """One member of the set that every replica keeps loaded."""

    version: VersionName
    adapter: str
    """Name of the Adapter."""
    departments: Annotated[list[DepartmentName], Field(min_length=1)]
    """Whose current, next or previous version it is: they may ask for it by name."""
    artifact: str
    """Folder inside the store."""
    digest: Digest
    manifest_digest: Digest

    @model_validator(mode="after")
    def _named_after_its_digest(self) -> Self:
        if self.version != version_name(self.adapter, self.digest):
            raise ValueError(f"version {self.version} is not {version_name(self.adapter, self.digest)}")
        return self


class Routes(Order):
    """Contents of the ConfigMap."""

    deployment: str
    generation: NonNegativeInt
    """Rises with every change, and never falls."""
    base: RoutedBase
    departments: dict[DepartmentName, Route]
    adapters: list[RoutedAdapter]
    authentication: Authentication = Authentication.API_KEY
    verification: Verification = Verification.ENFORCE

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        known = {adapter.version for adapter in self.adapters}
        if len(known) != len(self.adapters):
            raise ValueError("a version is listed twice")
        for department, route in self.departments.items():
            if route.version is not None and route.version not in known:
                raise ValueError(f"{department} is routed to {route.version}, which is not in the set")
        return self

    @property
    def routed(self) -> frozenset[str]:
        """Versions that a department's requests go to."""
        return frozenset(route.version for route in self.departments.values() if route.version is not None)

    @property
    def routed_adapters(self) -> frozenset[str]:
        """Names of the Adapters behind them."""
        return frozenset(loaded.adapter for loaded in self.adapters if loaded.version in self.routed)
