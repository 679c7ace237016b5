"""The routes that a program works by: the last that could be used, in memory and on the pod's disk."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from wardrobe_contracts.base import first_error
from wardrobe_contracts.routes import Routes

from . import saved
from .saved import Saved
from .source import Address, Doubt

log = logging.getLogger(__name__)


class InvalidRoutesError(Exception):
    """These routes cannot be used; the message says why."""


def parse(text: str | None, deployment: str) -> Routes:
    """Routes of this deployment. Raises InvalidRoutesError."""
    if text is None:
        raise InvalidRoutesError("the routes are gone; the last ones stay in force")
    try:
        routes = Routes.model_validate_json(text)
    except ValidationError as error:
        raise InvalidRoutesError(f"the routes cannot be read: {first_error(error)}") from error
    if routes.deployment != deployment:
        raise InvalidRoutesError(f"these are the routes of {routes.deployment}, not of {deployment}")
    return routes


class RoutesInForce:
    """Takes routes and addresses as they come. `apply` is called with each that can be used, when it is in force."""

    def __init__(self, deployment: str, file: Path, apply: Callable[[Routes], None]) -> None:
        self.deployment = deployment
        self.routes: Routes | None = None
        self.problem = ""
        """Why newer routes are not in force."""
        self.connected = False
        """Whether they are being watched."""
        self.doubt = Doubt()
        self._file = file
        self._apply = apply
        self._saved = Saved()
        self._applied_at = time.monotonic()

    @property
    def generation(self) -> int | None:
        """Of the routes in force; None where there are none."""
        return self.routes.generation if self.routes else None

    @property
    def age(self) -> float:
        """Seconds since they were taken over."""
        return time.monotonic() - self._applied_at

    def restore(self) -> frozenset[Address]:
        """Begin with the routes that an earlier process of this pod kept; returns the addresses kept with them."""
        self._saved = saved.load(self._file)
        if self._saved.routes is not None:
            self.take(self._saved.routes)
        return self._saved.addresses

    def take(self, text: str | None) -> None:
        """Work by these from now on; or say why not, and go on with the last ones."""
        try:
            self.routes = parse(text, self.deployment)
        except InvalidRoutesError as error:
            self.problem = str(error)
            log.error("%s", error)
            return
        self.problem = ""
        self._applied_at = time.monotonic()
        self._apply(self.routes)
        self._keep(Saved(text, self._saved.addresses))

    def take_connected(self, connected: bool) -> None:
        """Whether they are being watched."""
        self.connected = connected

    def keep_addresses(self, addresses: frozenset[Address]) -> None:
        """Addresses for a later process of this pod."""
        self._keep(Saved(self._saved.routes, addresses))

    def hear(self, generation: str | None) -> None:
        """A generation that somebody names: where it is newer, these may have been watched in vain."""
        self.doubt.hear(generation, self.generation)

    def _keep(self, now: Saved) -> None:
        if now != self._saved:
            self._saved = now
            saved.store(self._file, now)
