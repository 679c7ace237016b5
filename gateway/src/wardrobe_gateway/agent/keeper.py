"""Keeps the engine at what the routes ask for: one step at a time, while a second task watches the engine."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wardrobe_contracts.base import Variant
from wardrobe_contracts.routes import Routes, Verification
from wardrobe_contracts.state import EngineState, Reason, Timings, Verdict

from ..engines import Engine, EngineBusyError, EngineDownError, EngineRefusedError
from ..lifecycle import timestamp, wait
from . import book as pages
from .book import Book, Drop, Entry, Fetch, Load, Prove, Step
from .fetch import FetchError, Store, fetch, forget
from .probing import prove

RETRY_SECONDS = 30.0
"""After a verdict that somebody may mend: in the store, or by restarting the engine."""
BUSY_SECONDS = 1.0
CHECK_SECONDS = 0.5
FAILED_CHECKS = 2
"""So many checks in a row must fail before the engine counts as down: one slow answer takes no replica away."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What the agent is told at its start."""

    deployment: str
    store: Path
    cache: Path
    variant: Variant
    """What this pod's engine serves: not another's, while a deployment changes from one to the other."""
    reprove_seconds: float = 300.0
    """How often what is served is proved again."""


class Keeper:
    """The versions of this pod. `apply` gives it new routes; `watch_engine` and `work` run for ever."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine = engine
        self.settings = settings
        self.book = Book()
        self.routes: Routes | None = None
        self.engine_state = EngineState(up=False, since=timestamp(), message="not seen yet")
        self.opened = False
        self.in_flight: Counter[str] = Counter()
        self._first: frozenset[str] = frozenset()
        self._wake = asyncio.Event()
        self._check = asyncio.Event()

    # What others ask

    @property
    def verification(self) -> Verification:
        """What the routes demand."""
        return self.routes.verification if self.routes else Verification.ENFORCE

    @property
    def served(self) -> frozenset[str]:
        """Versions that are answered for."""
        return self.book.served(self.verification) if self.engine_state.up else frozenset()

    def ready(self, *, draining: bool) -> bool:
        """Whether this pod is Ready."""
        routed = self.routes.routed if self.routes else frozenset()
        return pages.is_ready(
            self.served, routed, opened=self.opened, engine_up=self.engine_state.up, draining=draining
        )

    @contextlib.contextmanager
    def request(self, version: str) -> Iterator[None]:
        """Around a request: its version is not unloaded under it."""
        self.in_flight[version] += 1
        try:
            yield
        finally:
            self.in_flight[version] -= 1

    def suspect_engine(self) -> None:
        """A request found the engine away: look now, not at the next check."""
        self._check.set()

    # What makes it change

    def apply(self, routes: Routes) -> None:
        """Take over new routes."""
        if self.routes is None:
            self._first = frozenset(adapter.version for adapter in routes.adapters)
        self.routes = routes
        self.book.follow(routes, time.monotonic())
        self._changed()

    async def watch_engine(self) -> None:
        """Follow the engine's life."""
        failed = 0
        while True:
            try:
                await self._look()
                failed = 0
            except (EngineDownError, EngineBusyError, EngineRefusedError) as error:
                failed += 1
                if failed >= FAILED_CHECKS:
                    self._engine_lost(str(error))
            self._check.clear()
            await wait(self._check, CHECK_SECONDS)

    async def work(self) -> None:
        """Take one step after the other, for ever."""
        while True:
            self._wake.clear()
            step = self._next()
            if step is not None:
                await self._do(step)
                self._changed()
            else:
                await wait(self._wake, CHECK_SECONDS)

    def _next(self) -> Step | None:
        if self.routes is None:
            return None
        return pages.next_step(
            self.book.entries, self.routes.routed, self.in_flight, time.monotonic(), engine_up=self.engine_state.up
        )

    def _changed(self) -> None:
        if not self.opened and self.routes is not None:
            self.opened = pages.has_opened(self._first, self.book.entries, self.served)
        self._wake.set()

    # The engine

    async def _look(self) -> None:
        """One check. Versions that it should have and has not mean that it was started anew."""
        await self.engine.check()
        before = self._loaded()
        missing = before - await self.engine.loaded()
        if not self.engine_state.up:
            self._engine_came()
        elif missing & self._loaded():
            log.warning("the engine has lost %s", ", ".join(sorted(missing)))
            self.book.lose_engine(Reason.ENGINE_DOWN, "the engine was started anew")
            self._engine_came()

    def _loaded(self) -> frozenset[str]:
        return frozenset(version for version, entry in self.book.entries.items() if entry.loaded)

    def _engine_came(self) -> None:
        starts = self.engine_state.starts + 1
        log.info("engine is up, seen for the time %d", starts)
        self.engine_state = EngineState(up=True, since=timestamp(), starts=starts)
        self._changed()

    def _engine_lost(self, message: str) -> None:
        if self.engine_state.up:
            log.error("engine is down: %s", message)
            self.book.lose_engine(Reason.ENGINE_DOWN, message)
            self.engine_state = EngineState(
                up=False, since=timestamp(), starts=self.engine_state.starts, message=message
            )
        else:
            self.engine_state = self.engine_state.model_copy(update={"message": message})
        self._changed()

    # Steps

    async def _do(self, step: Step) -> None:
        entry, starts = self.book.entries[step.version], self.engine_state.starts
        began = time.monotonic()
        try:
            changes = await self._outcome(step, entry)
        except (EngineBusyError, EngineDownError) as error:
            self.suspect_engine()
            changes = {"due": time.monotonic() + BUSY_SECONDS}
            if entry.verdict is Verdict.PENDING:
                changes["message"] = str(error)
        if isinstance(step, Drop):
            return
        if starts != self.engine_state.starts and not isinstance(step, Fetch):
            return  # it concerned an engine that is no more
        self._note(step, entry, changes, time.monotonic() - began)

    async def _outcome(self, step: Step, entry: Entry) -> dict[str, Any]:
        """Carry out a step; returns what changes in its entry."""
        match step:
            case Fetch():
                return await self._fetch(entry)
            case Load():
                return await self._load(entry)
            case Prove():
                return await self._prove(entry)
            case Drop():
                return await self._drop(step.version, entry)

    def _note(self, step: Step, old: Entry, changes: dict[str, Any], seconds: float) -> None:
        """Write down a step's outcome, and what it means for the others."""
        name = type(step).__name__.lower()
        known = self.book.entries.get(step.version)
        if known is None or known.adapter != old.adapter:
            return  # the routes moved on meanwhile
        timings = Timings(**{**known.timings.model_dump(), name: round(seconds, 4)})
        self.book.change(step.version, timings=timings, **changes)
        verdict = changes.get("verdict")
        if verdict is not None and verdict != old.verdict:
            log.info("%s: %s %s %s", step.version, verdict, changes["reason"], changes.get("message", ""))
            if verdict in pages.SUSPICIOUS:
                self.book.doubt(step.version)

    async def _fetch(self, entry: Entry) -> dict[str, Any]:
        assert self.routes is not None  # noqa: S101  there are no entries before
        self._show(entry, Reason.FETCHING)
        store = Store(self.settings.store, self.settings.cache, self.routes.base.digest, self.settings.variant)
        try:
            fetched = await asyncio.to_thread(fetch, store, entry.adapter)
        except FetchError as error:
            due = time.monotonic() + RETRY_SECONDS
            return {"verdict": error.verdict, "reason": error.reason, "message": error.message, "due": due}
        return {"fetched": fetched, **pages.PENDING}

    async def _load(self, entry: Entry) -> dict[str, Any]:
        assert entry.fetched is not None  # noqa: S101  decided by next_step
        self._show(entry, Reason.LOADING)
        try:
            await self.engine.load(entry.adapter.version, entry.fetched.folder)
        except EngineRefusedError as error:
            due = time.monotonic() + RETRY_SECONDS
            refused = {"verdict": Verdict.LOAD_FAILED, "reason": Reason.REFUSED_BY_ENGINE}
            return {**refused, "message": str(error), "due": due}
        return {"loaded": True, **pages.PENDING}

    async def _prove(self, entry: Entry) -> dict[str, Any]:
        assert entry.fetched is not None  # noqa: S101
        self._show(entry, Reason.PROVING)
        version = entry.adapter.version
        others = self.book.siblings(version)
        try:
            found = await prove(self.engine, version, entry.fetched.probes, self.settings.variant, others)
        except EngineRefusedError as error:
            due = time.monotonic() + RETRY_SECONDS
            return {"verdict": Verdict.DIVERGED, "reason": Reason.PROOF_FAILED, "message": str(error), "due": due}
        again = self.settings.reprove_seconds if found.verdict is Verdict.APPLIED else RETRY_SECONDS
        changes = {"verdict": found.verdict, "reason": found.reason, "message": found.message}
        return {**changes, "numbers": found.numbers, "due": time.monotonic() + again}

    async def _drop(self, version: str, entry: Entry) -> dict[str, Any]:
        """Forget it before the engine is told, so that nobody is sent to it in between."""
        del self.book.entries[version]
        log.info("%s: dropped", version)
        if entry.loaded:
            try:
                await self.engine.unload(version)
            except (EngineDownError, EngineBusyError, EngineRefusedError) as error:
                log.warning("%s: not unloaded: %s", version, error)
                return {}  # its files stay, since the engine may still read them
        keep = frozenset(other.fetched.folder for other in self.book.entries.values() if other.fetched)
        await asyncio.to_thread(forget, self.settings.cache, keep)
        return {}

    def _show(self, entry: Entry, reason: Reason) -> None:
        """Say what is being done, where there is no verdict to show yet."""
        if entry.verdict is Verdict.PENDING:
            self.book.change(entry.adapter.version, reason=reason, message="")
