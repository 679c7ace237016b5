"""Which adapter a request is for, and which backend answers it. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from wardrobe_contracts.base import Digest
from wardrobe_contracts.routes import EngineAdapterName, RoutedAdapter, Routes

from ..errors import RETRY_LATER, ApiError

UNNAMED = frozenset({None, "", "tgi", "dummy"})
"""What clients send that name no model: `tgi` by TGI's examples, `dummy` by huggingface_hub."""


@dataclass(frozen=True)
class Target:
    """What a request gets by the routes of this moment."""

    department: str
    adapter: EngineAdapterName
    digest: Digest


class Candidate(Protocol):
    """What a choice needs to know of a backend."""

    address: str
    serves: frozenset[str]
    in_flight: int
    last_used: int
    aside_until: float
    late: bool


C = TypeVar("C", bound=Candidate)


def resolve(routes: Routes, caller: str | None, model: str | None) -> Target:
    """Department or adapter named by `model`, for a caller who proved to be a department (None: nobody is asked).

    Raises ApiError: 403 for what is another's, 404 for what is nobody's, 503 for a department without an adapter yet.
    """
    name = caller if model in UNNAMED - routes.departments.keys() else model
    if name is None:
        raise ApiError(400, "model_missing", f"name one of: {_listing(routes, caller)}", param="model")
    if name in routes.departments and caller in {None, name}:
        return _routed(routes, name)
    adapter = _adapter(routes, name)
    if adapter is not None and (caller is None or caller in adapter.departments):
        return Target(caller or adapter.departments[0], adapter.engine_name, adapter.digest)
    if adapter is not None or name in routes.departments:
        message = f"the key of {caller} does not open {name}; it opens: {_listing(routes, caller)}"
        raise ApiError(403, "model_forbidden", message, param="model")
    message = f"there is no model {name}; this key opens: {_listing(routes, caller)}"
    raise ApiError(404, "model_not_found", message, param="model")


def usable(routes: Routes, caller: str | None) -> list[str]:
    """Names that a caller may use as `model`: departments first, then loaded adapters."""
    departments = [name for name in sorted(routes.departments) if caller in {None, name}]
    adapters = [adapter.engine_name for adapter in routes.adapters if caller is None or caller in adapter.departments]
    return departments + sorted(adapters)


def pick(backends: Iterable[C], adapter: EngineAdapterName, but: Collection[str], now: float) -> C | None:
    """The least loaded of those that have proved the adapter; among equals the one that waited longest.

    One whose agent's word is late, or that is set aside, comes after all others, and is taken where there is no other.
    """
    proved = [backend for backend in backends if adapter in backend.serves and backend.address not in but]
    return min(proved, key=lambda one: (one.late, one.aside_until > now, one.in_flight, one.last_used), default=None)


def _routed(routes: Routes, department: str) -> Target:
    name = routes.departments[department].engine_name
    adapter = _adapter(routes, name) if name else None
    if adapter is None:
        message = f"no adapter of {department} is proved yet"
        raise ApiError(503, "no_version_yet", message, headers=RETRY_LATER)
    return Target(department, adapter.engine_name, adapter.digest)


def _adapter(routes: Routes, name: EngineAdapterName) -> RoutedAdapter | None:
    return next((adapter for adapter in routes.adapters if adapter.engine_name == name), None)


def _listing(routes: Routes, caller: str | None) -> str:
    return ", ".join(usable(routes, caller))
