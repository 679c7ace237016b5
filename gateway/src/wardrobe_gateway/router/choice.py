"""Which version a request is for, and which backend answers it. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from wardrobe_contracts.base import Digest
from wardrobe_contracts.routes import RoutedAdapter, Routes

from ..errors import Refusal

RETRY_LATER = {"Retry-After": "1"}
UNNAMED = frozenset({None, "", "tgi", "dummy"})
"""What clients send that name no model: `tgi` by TGI's examples, `dummy` by huggingface_hub."""


@dataclass(frozen=True)
class Target:
    """What a request gets by the routes of this moment."""

    department: str
    version: str
    digest: Digest


class Candidate(Protocol):
    """What a choice needs to know of a backend."""

    address: str
    serves: frozenset[str]
    in_flight: int
    last_used: int


C = TypeVar("C", bound=Candidate)


def resolve(routes: Routes, caller: str | None, model: str | None) -> Target:
    """Department or version named by `model`, for a caller who proved to be a department (None: nobody is asked).

    Raises Refusal: 403 for what is another's, 404 for what is nobody's, 503 for a department without a version yet.
    """
    name = caller if model in UNNAMED - routes.departments.keys() else model
    if name is None:
        raise Refusal(400, "model_missing", f"name one of: {_listing(routes, caller)}", param="model")
    if name in routes.departments and caller in {None, name}:
        return _routed(routes, name)
    adapter = _adapter(routes, name)
    if adapter is not None and (caller is None or caller in adapter.departments):
        return Target(caller or adapter.departments[0], adapter.version, adapter.digest)
    if adapter is not None or name in routes.departments:
        message = f"the key of {caller} does not open {name}; it opens: {_listing(routes, caller)}"
        raise Refusal(403, "model_forbidden", message, param="model")
    message = f"there is no model {name}; this key opens: {_listing(routes, caller)}"
    raise Refusal(404, "model_not_found", message, param="model")


def usable(routes: Routes, caller: str | None) -> list[str]:
    """Names that a caller may use as `model`: departments first, then loaded versions."""
    departments = [name for name in sorted(routes.departments) if caller in {None, name}]
    versions = [adapter.version for adapter in routes.adapters if caller is None or caller in adapter.departments]
    return departments + sorted(versions)


def pick(backends: Iterable[C], version: str, but: Collection[str]) -> C | None:
    """The least loaded of those that have proved the version; among equals the one that waited longest."""
    proved = [backend for backend in backends if version in backend.serves and backend.address not in but]
    return min(proved, key=lambda backend: (backend.in_flight, backend.last_used), default=None)


def _routed(routes: Routes, department: str) -> Target:
    version = routes.departments[department].version
    adapter = _adapter(routes, version) if version else None
    if adapter is None:
        message = f"no version of {department} is proved yet"
        raise Refusal(503, "no_version_yet", message, headers=RETRY_LATER)
    return Target(department, adapter.version, adapter.digest)


def _adapter(routes: Routes, version: str) -> RoutedAdapter | None:
    return next((adapter for adapter in routes.adapters if adapter.version == version), None)


def _listing(routes: Routes, caller: str | None) -> str:
    return ", ".join(usable(routes, caller))
