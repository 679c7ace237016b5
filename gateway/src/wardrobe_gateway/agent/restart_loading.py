"""The strategy for an engine that takes adapters only when it starts: another set is another process.

What must outlive this agent stands in files: the order and what runs (engine_process.py), and in a set's folder what
it holds. An agent that comes after takes up the set that runs, and restarts nothing.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wardrobe_contracts.base import Digest
from wardrobe_contracts.routes import BaseShape, EngineAdapterName, Routes
from wardrobe_contracts.state import EngineSets, Reason, Verdict
from wardrobe_contracts.text import shorten

from . import engine_set, steps
from .adapters import AdapterSet, LocalAdapter
from .copies import Copies
from .engine_health import EngineHealth
from .engine_restarts import Restarts
from .engine_set import Accept, Begin, CallOff, Confirm, Drain, GiveUp, Names, Resume
from .outcomes import Failed, Loaded
from .patience import Patience
from .set_folders import SetFolders
from .steps import Observed, OwnStep, Step, Unload
from .tgi.forms import AdapterForm, UnfitError, read_form, set_form
from .tgi.padding import WrittenSet

FIRST_SECONDS = 60.0
"""A first start waits so long for copies that are still coming: who misses it needs a restart later."""

LONGEST_MESSAGE = 1000

Standing = tuple[Verdict, Reason, str]
RESTARTING: Standing = (Verdict.PENDING, Reason.AWAITING_RESTART, "the engine is being restarted with other adapters")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Examine(OwnStep):
    """Read an adapter's copy, and see whether it fits."""

    name: EngineAdapterName


@dataclass(frozen=True)
class Write(OwnStep):
    """Write a set's folder."""

    made: WrittenSet


class RestartLoading:
    """Restarts the engine with the set that is wanted, as soon as that is permitted."""

    def __init__(
        self,
        restarts: Restarts,
        folders: SetFolders,
        health: EngineHealth,
        adapters: AdapterSet,
        copies: Copies,
        *,
        patience: Patience,
    ) -> None:
        self._restarts = restarts
        self._folders = folders
        self._health = health
        self._adapters = adapters
        self._copies = copies
        self._patience = patience
        self._routes: Routes | None = None
        self._began = time.monotonic()
        self._forms: dict[Path, AdapterForm | str] = {}
        """By the folder of an adapter's copy; a text says why it does not fit."""
        self._candidate: tuple[WrittenSet, float] | None = None
        """The set that a restart should bring, and since when."""
        self._proved_from: float | None = None
        self._judged: Names = frozenset()
        """Members of what runs that have had a verdict of this very process."""
        self._written: Digest | None = None
        self._writing: asyncio.Task[None] | None = None
        self._write_from = 0.0
        self._not_written = ""
        """Why the last set could not be written."""

    # What others ask

    def sets(self) -> EngineSets | None:
        """What runs and what is wanted: the same but where a permit is asked for, or used."""
        restarts = self._restarts
        answers = None if restarts.under_way else restarts.running(self._health.answering)
        running = answers.engine_set if answers else None
        wanted = self._wanted if restarts.needs_permit and not restarts.on_trial else None
        if restarts.under_way and (starting := restarts.starting()):
            wanted = starting.engine_set
        return EngineSets(
            running=running,
            wanted=wanted or running,
            failed=next(reversed(restarts.failed.values()), None),
            on_trial=restarts.on_trial,
            restarting=restarts.under_way,
            start_seconds=restarts.start_seconds,
        )

    def next_step(self, adapters: Mapping[EngineAdapterName, LocalAdapter], observed: Observed) -> Step | None:
        """One for the engine as a whole, or else one for an adapter."""
        self._routes = observed.routes
        step = self._own_step(adapters, observed)
        for name, local in list(adapters.items()):
            self._show(name, local)
        running = None if self._restarts.under_way else self._restarts.running(self._health.answering)
        members = self._folders.names(running)
        unread = self._unread(adapters) if observed.now >= observed.own_from else []
        news = next((Examine(name) for name in unread if name not in members), None)
        given = replace(observed, has=frozenset(self._copies.kept), not_yet=frozenset(adapters.keys() - members))
        return step or news or steps.next_step(adapters, given) or next(map(Examine, unread), None)

    def _own_step(self, adapters: Mapping[EngineAdapterName, LocalAdapter], observed: Observed) -> OwnStep | None:
        """A step of a restart, or towards one."""
        situation = self._restarts.look(observed.now, self._health.answering)
        if not self._restarts.under_way:
            self._gather(adapters, observed)
        if observed.now < observed.own_from:
            return None
        self._follow_proofs(adapters, observed.now)
        unproved = self._restarts.order.unproved if self._restarts.order else []
        situation = replace(
            situation,
            proved_from=self._proved_from,
            is_back=any(name in adapters and _is_outstanding(adapters[name]) for name in unproved),
            wanted=self._wanted,
            permitted=observed.permitted,
            in_flight=sum(observed.in_flight.values()),
        )
        return engine_set.decide(situation) or self._writing_step(observed.now)

    def _follow_proofs(self, adapters: Mapping[EngineAdapterName, LocalAdapter], now: float) -> None:
        """Since when what came up last answers, and every adapter of it that is still wanted has a verdict."""
        running = self._restarts.running(self._health.answering)
        members = {name: adapters[name] for name in self._folders.names(running) if name in adapters}
        judged = {name for name, local in members.items() if local.loaded and local.verdict is not Verdict.PENDING}
        self._judged = self._judged | judged if running else frozenset()
        if running is None or any(map(_is_outstanding, members.values())):
            self._proved_from = None
        elif self._proved_from is None:
            self._proved_from = now

    def _unproved(self) -> Names:
        """Members of what runs that nobody can prove now. One that could be, and took too long, is none of them."""
        wanted = self._adapters.by_name
        silent = self._folders.names(self._restarts.good) - self._judged
        return frozenset(name for name in silent if name not in wanted or not _is_outstanding(wanted[name]))

    def _unread(self, adapters: Mapping[EngineAdapterName, LocalAdapter]) -> list[EngineAdapterName]:
        """Copies that were not examined yet."""
        if self._shape is None:
            return []
        staying = {name: local for name, local in adapters.items() if local.left is None}
        return [name for name, local in staying.items() if local.fetched is not None and self._form(local) is None]

    def _writing_step(self, now: float) -> Write | None:
        busy = self._writing is not None and not self._writing.done()
        if self._candidate is None or busy or now < self._write_from or not self._is_settled:
            return None
        return Write(self._candidate[0]) if self._candidate[0].digest != self._written else None

    # Which set

    def _gather(self, adapters: Mapping[EngineAdapterName, LocalAdapter], observed: Observed) -> None:
        """Follow the set that a restart should bring. While it changes, it is not settled."""
        made = self._plan(adapters, observed)
        if made is None:
            self._candidate = None
        elif self._candidate is None or self._candidate[0] != made or self._is_incomplete(adapters, observed.now):
            self._candidate = (made, observed.now)

    def _plan(self, adapters: Mapping[EngineAdapterName, LocalAdapter], observed: Observed) -> WrittenSet | None:
        """None where what runs has all, or where it is not known yet what of it can stay."""
        running = self._folders.names(self._restarts.good)
        if any(name in adapters and self._is_coming(adapters[name]) for name in running):
            return None
        fitting = [name for name in adapters if self._may_join(name, adapters[name], running)]
        fitting.sort(key=lambda name: (name not in observed.routed, name))
        members = engine_set.choose(fitting, running, self._restarts.failed.keys())
        if members <= running:
            return None
        forms = [form for name in members if isinstance(form := self._form(adapters[name]), AdapterForm)]
        digests = {name: adapters[name].routed.digest for name in members}
        return WrittenSet(members=digests, form=set_form(forms, self._folders.shards))

    def _may_join(self, name: EngineAdapterName, local: LocalAdapter, running: Names) -> bool:
        """Whether it fits. What another replica's engine did not start with is left out, unless it was tried here."""
        tried = name in running or any(name in members for members in self._restarts.failed)
        refused = self._routes is not None and name in self._routes.refused and not tried
        return local.left is None and isinstance(self._form(local), AdapterForm) and not refused

    def _is_incomplete(self, adapters: Mapping[EngineAdapterName, LocalAdapter], now: float) -> bool:
        """Whether a first start should wait for a copy."""
        if self._restarts.good is not None or now - self._began >= FIRST_SECONDS:
            return False
        return any(map(self._is_coming, adapters.values()))

    def _is_coming(self, local: LocalAdapter) -> bool:
        """Whether its copy is on its way, or not examined yet. One that could not be copied is not waited for."""
        is_coming = local.fetched is not None or local.verdict in (Verdict.PENDING, Verdict.APPLIED)
        return local.left is None and is_coming and self._form(local) is None

    def _form(self, local: LocalAdapter) -> AdapterForm | str | None:
        """Of a copy that was examined."""
        return self._forms.get(local.fetched.folder) if local.fetched is not None else None

    @property
    def _shape(self) -> BaseShape | None:
        return self._routes.base.shape if self._routes else None

    @property
    def _is_settled(self) -> bool:
        return self._candidate is not None and time.monotonic() - self._candidate[1] >= self._patience.gather

    @property
    def _wanted(self) -> Digest | None:
        """What a restart should bring, where that is settled and written; nothing in a pod that is on its way out."""
        if self._restarts.is_leaving:
            return None
        digest = self._candidate[0].digest if self._candidate else None
        return digest if self._is_settled and digest == self._written else None

    # What is done

    async def load(self, adapter: LocalAdapter) -> Loaded | Failed:
        """The engine was started with it, as `next_step` has seen."""
        return Loaded()

    async def carry_out(self, step: OwnStep) -> None:
        """Take a step for the engine as a whole. Raises OSError where an order cannot be written."""
        match step:
            case Unload(name):
                self._copies.release(name)  # the engine has read the copies in its set's folder
            case Examine(name):
                await self._examine(name)
            case Write(made):
                self._written = None  # its folder may go
                self._writing = asyncio.create_task(self._write(made))
            case _:
                self._restart(step)

    def _restart(self, step: OwnStep) -> None:
        match step:
            case Drain():
                self._restarts.drain()
                self._adapters.lose_engine(*RESTARTING[1:])
                return
            case CallOff():
                self._restarts.call_off()
            case Confirm():
                self._restarts.confirm(self._unproved())
                return
            case Resume():
                self._restarts.resume()
                return
            case Begin():
                assert self._candidate is not None  # noqa: S101  it is wanted
                self._restarts.begin(self._candidate[0])
            case Accept():
                self._restarts.accept()
            case GiveUp(why):
                self._restarts.give_up(why)
        self._candidate, self._judged = None, frozenset()  # what runs is another now

    async def _examine(self, name: EngineAdapterName) -> None:
        local, shape = self._adapters.by_name[name], self._shape
        assert local.fetched is not None and shape is not None  # noqa: S101, PT018  decided by next_step
        try:
            form = await asyncio.to_thread(read_form, local.fetched.folder, shape, self._folders.shards)
            self._forms[local.fetched.folder] = form
        except UnfitError as error:
            why = shorten(str(error), LONGEST_MESSAGE)
            log.warning("%s does not fit: %s", name, why)
            self._forms[local.fetched.folder] = why
        except OSError as error:
            log.warning("%s: its copy cannot be read, and is made again: %s", name, error)
            self._adapters.change(name, fetched=None, due=time.monotonic() + self._patience.retry)
        except Exception as error:  # its files are the publisher's: nothing in them may end this process
            log.exception("%s cannot be examined", name)
            text = f"{type(error).__name__}: {error}: its files cannot be examined. Publish the adapter again"
            self._forms[local.fetched.folder] = shorten(text, LONGEST_MESSAGE)

    async def _write(self, made: WrittenSet) -> None:
        """Beside everything else: it may be tens of GB."""
        copies = {name: local.fetched.folder for name, local in self._adapters.by_name.items() if local.fetched}
        order = self._restarts.order
        needed = [start.engine_set for start in (order.start, order.fallback) if start] if order else []
        assert self._shape is not None  # noqa: S101  decided by next_step
        try:
            await asyncio.to_thread(self._folders.write, made, copies, self._shape, needed)
            self._written, self._not_written = made.digest, ""
        except Exception as error:
            log.exception("the set %s cannot be written", made.digest)
            why = f"the engine's copies cannot be written, which is tried again: {type(error).__name__}: {error}"
            self._not_written = shorten(why, LONGEST_MESSAGE)
            self._write_from = time.monotonic() + self._patience.retry

    # What is said

    def _show(self, name: EngineAdapterName, local: LocalAdapter) -> None:
        """What keeps an adapter from being loaded, as its verdict."""
        if local.left is not None or local.fetched is None or local.loaded:
            return
        standing = self._standing(name, local)
        if standing is not None and standing != (local.verdict, local.reason, local.message):
            verdict, reason, message = standing
            self._adapters.change(name, verdict=verdict, reason=reason, message=message)

    def _standing(self, name: EngineAdapterName, local: LocalAdapter) -> Standing | None:
        """None where the engine's health says it, or the next step does."""
        restarts, form = self._restarts, self._form(local)
        if isinstance(form, str):
            return Verdict.LOAD_FAILED, Reason.UNFIT, form
        if name in self._folders.names(restarts.good):
            return RESTARTING if restarts.under_way else None
        if name in self._folders.names(restarts.starting()):
            return Verdict.PENDING, Reason.LOADING, "the engine starts with it"
        if name in restarts.blamed:
            return Verdict.LOAD_FAILED, Reason.REFUSED_BY_ENGINE, restarts.blamed[name]
        return Verdict.PENDING, Reason.AWAITING_RESTART, self._why_it_waits(name)

    def _why_it_waits(self, name: EngineAdapterName) -> str:
        if self._routes is not None and self._shape is None:
            return "the routes do not say the base's shape, which its files are held against: upgrade the operator"
        if self._routes is not None and name in self._routes.refused:
            return "another replica's engine did not start with it, and this one goes on without"
        return self._not_written if self._candidate is not None else ""


def _is_outstanding(local: LocalAdapter) -> bool:
    """Whether a first verdict on it is to come."""
    return local.left is None and local.verdict is Verdict.PENDING
