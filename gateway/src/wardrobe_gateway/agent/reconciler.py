"""Brings this pod to what the routes ask for, one step at a time. Copies and a watch of the engine go on beside it."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from wardrobe_contracts.routes import EngineAdapterName, Routes, Verification
from wardrobe_contracts.state import EngineSets, Reason, Timings, Verdict

from ..clock import wait
from ..engines import Engine, EngineBusyError, EngineDownError, loads_at_run_time
from ..process.drain import Drain
from . import adapters, outcomes, readiness
from .adapters import AdapterSet, LocalAdapter
from .copies import Copies
from .engine_health import CHECK_SECONDS, EngineHealth
from .engine_process import EngineProcess, words
from .engine_restarts import Restarts
from .outcomes import Busy, Failed, Outcome
from .probing import UNFORESEEN, Replica, prove_in_time
from .proof import Judgement
from .restart_loading import RestartLoading
from .runtime_loading import RuntimeLoading
from .set_folders import SetFolders
from .settings import Settings
from .steps import Drop, Fetch, Load, Observed, OwnStep, Prove, Step
from .strategy import Strategy

log = logging.getLogger(__name__)

UNFORESEEN_IN: dict[type[Step], tuple[Verdict, Reason]] = {
    Fetch: (Verdict.LOAD_FAILED, Reason.STORE_FAILED),
    Load: (Verdict.LOAD_FAILED, Reason.REFUSED_BY_ENGINE),
    Prove: UNFORESEEN,
}
"""The verdict on an adapter whose step failed in a way that nobody foresaw."""


@dataclass(frozen=True)
class Risk:
    """An adapter that a process of the engine meets for the first time."""

    name: EngineAdapterName
    incarnation: str


class Reconciler:
    """The adapters of this pod. `apply` gives it new routes; `watch_engine` and `work` run for ever."""

    def __init__(self, engine: Engine, settings: Settings, drain: Drain) -> None:
        self.engine = engine
        self.settings = settings
        self._patience = patience = settings.patience
        self.incarnation = str(uuid.uuid4())
        """Another for each start of the agent."""
        self.adapters = AdapterSet()
        process = EngineProcess(settings.control)
        self.health = EngineHealth(engine, self.adapters, process, patience)
        self.routes: Routes | None = None
        self.opened = False
        self.in_flight: Counter[EngineAdapterName] = Counter()
        self._copies = Copies(settings)
        folders = SetFolders(settings.sets, settings.shards)
        self.restarts = Restarts(process, folders, drain, patience)
        self._strategy: Strategy = (
            RuntimeLoading(engine, self.health, self._copies, patience)
            if loads_at_run_time(engine)
            else RestartLoading(self.restarts, folders, self.health, self.adapters, self._copies, patience=patience)
        )
        self._tolerance = engine.facts.tolerance(settings.variant, settings.precision)
        self._first: frozenset[str] = frozenset()
        self._process = process
        self._risk: Risk | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._repeat_from = 0.0
        self._own_from = 0.0
        self._wake = asyncio.Event()

    # What others ask

    @property
    def engine_sets(self) -> EngineSets | None:
        """Of an engine that takes adapters when it starts."""
        return self._strategy.sets()

    @property
    def verification(self) -> Verification:
        """What the routes demand."""
        return self.routes.verification if self.routes else Verification.ENFORCE

    @property
    def served(self) -> frozenset[str]:
        """Adapters that are answered for."""
        return self.adapters.served(self.verification) if self.health.state.up else frozenset()

    def ready(self, *, draining: bool) -> bool:
        """Whether this pod is Ready."""
        routed = self.routes.routed if self.routes else frozenset()
        engine_up = self.health.state.up
        return readiness.is_ready(self.served, routed, opened=self.opened, engine_up=engine_up, draining=draining)

    @contextlib.contextmanager
    def request(self, name: EngineAdapterName) -> Iterator[None]:
        """Around a request: its adapter is not unloaded under it."""
        self.in_flight[name] += 1
        try:
            yield
        finally:
            self.in_flight[name] -= 1

    # What makes it change

    def apply(self, routes: Routes) -> None:
        """Take over new routes."""
        if self.routes is None:
            self._first = frozenset(adapter.engine_name for adapter in routes.adapters)
        self.routes = routes
        self.adapters.follow(routes, time.monotonic())
        self.changed()

    async def watch_engine(self) -> None:
        """Follow the engine's life."""
        await self.health.watch(self.changed)

    async def work(self) -> None:
        """Take one step after the other, for ever. Copies go on beside them."""
        try:
            while True:
                self._wake.clear()
                step = self._next()
                if isinstance(step, Fetch):
                    self._begin(step)
                elif step is not None:
                    await self._do(step)
                    self.changed()
                elif self._copies.untidy and self.routes is not None:
                    await self._copies.tidy(local.routed for local in self.adapters.by_name.values())
                else:
                    await wait(self._wake, CHECK_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()

    def changed(self) -> None:
        """Something is not as it was: there may be a next step."""
        if not self.opened and self.routes is not None:
            self.opened = readiness.has_opened(self._first, self.adapters.by_name, self.served)
        self._wake.set()

    # Steps

    def _next(self) -> Step | None:
        if self.routes is None:
            return None
        self._follow_risk()
        permit = self.routes.permit
        observed = Observed(
            time.monotonic(),
            self.health.state.up,
            self._patience,
            routed=self.routes.routed,
            in_flight=self.in_flight,
            fetching=self._copies.under_way,
            repeat_from=self._repeat_from,
            own_from=self._own_from,
            routes=self.routes,
            permitted=permit.engine_set if permit and permit.incarnation == self.incarnation else None,
        )
        return self._strategy.next_step(self.adapters.by_name, observed)

    def _begin(self, step: Fetch) -> None:
        """Copy beside everything else."""

        async def copy() -> None:
            try:
                await self._do(step)
            finally:
                self._copies.end(step.name)
                self.changed()

        self._copies.begin(step.name)
        task = asyncio.create_task(copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, step: Step) -> None:
        """Carry out a step. Whatever goes wrong is that adapter's affair, and the others go on."""
        if isinstance(step, OwnStep):
            return await self._carry_out(step)
        local, starts = self.adapters.by_name.get(step.name), self.health.state.starts
        if local is None:
            return None  # it left before its copy began
        if isinstance(step, Drop):
            return self._drop(local)
        began = time.monotonic()
        if not isinstance(step, Fetch) and local.verdict is not Verdict.APPLIED:
            self._take_risk(local.name)
        outcome = await self._outcome(step, local)
        if not isinstance(step, Fetch) and outcomes.is_answer(outcome):
            self._survive_risk()
        if starts != self.health.state.starts and not isinstance(step, Fetch):
            return None  # it concerned an engine that is no more
        return self._note(step, local, outcome, time.monotonic() - began)

    def _take_risk(self, name: EngineAdapterName) -> None:
        """The engine is about to meet an adapter. Where it has just failed another, that one is what it may end by."""
        process = self.health.answering
        if loads_at_run_time(self.engine) and self._risk is None and process and process.incarnation:
            self._risk = Risk(name, process.incarnation)

    def _survive_risk(self) -> None:
        """The engine has answered, whichever process that was."""
        state = self._process.state()
        if self._risk is not None and state is not None and state.incarnation == self._risk.incarnation:
            self._risk = None

    def _follow_risk(self) -> None:
        """Where another process answers now: the adapter that the one before had just met may have ended it."""
        risk, process = self._risk, self.health.answering
        if risk is None or process is None or process.incarnation == risk.incarnation:
            return
        self._risk = None
        state, local = self._process.state(), self.adapters.by_name.get(risk.name)
        if local is not None:
            last_words = words(state.ended) if state and state.ended else "nothing is known of its end"
            ended = outcomes.after_end(local, last_words, time.monotonic(), self._patience)
            log.warning("%s: the engine has ended at it, %d in a row: %s", risk.name, ended.ends, last_words)
            self.adapters.put(risk.name, ended)

    async def _carry_out(self, step: OwnStep) -> None:
        """A step for the engine as a whole. One that fails, as on a full disk, is taken again after a pause."""
        try:
            await self._strategy.carry_out(step)
        except Exception:
            log.exception("%s failed", type(step).__name__)
            self._own_from = time.monotonic() + self._patience.own_retry

    async def _outcome(self, step: Fetch | Load | Prove, local: LocalAdapter) -> Outcome:
        """Carry out a step; returns what came of it, whatever that is."""
        try:
            match step:
                case Fetch():
                    self._show(local, Reason.FETCHING)
                    return await self._fetch(local)
                case Load():
                    self._show(local, Reason.LOADING)
                    outcome: Outcome = await self._strategy.load(local)
                case Prove():
                    self._show(local, Reason.PROVING)
                    near, far = self.adapters.siblings(step.name), self.adapters.strangers(step.name)
                    replica = Replica(self.settings.variant, self._tolerance, near, far)
                    outcome = await prove_in_time(self.engine, local, replica, self._patience.proof)
            if isinstance(outcome, Judgement) and outcomes.is_answer(outcome):
                self.health.progressed()
            return outcome
        except (EngineBusyError, EngineDownError) as error:
            self.health.suspect()
            return Busy(str(error))
        except Exception as error:
            log.exception("%s: %s failed", step.name, type(step).__name__)
            return Failed(*UNFORESEEN_IN[type(step)], f"{type(error).__name__}: {error}"[:500])

    async def _fetch(self, local: LocalAdapter) -> Outcome:
        assert self.routes is not None  # noqa: S101  there are no adapters before
        return await self._copies.fetch(local.routed, self.routes.base.digest)

    def _note(self, step: Fetch | Load | Prove, old: LocalAdapter, outcome: Outcome, seconds: float) -> None:
        """Write down a step's outcome, and what it means for the others."""
        name, known, now = step.name, self.adapters.by_name.get(step.name), time.monotonic()
        if known is None or known.routed != old.routed:
            return  # the routes moved on meanwhile
        if isinstance(step, Prove) and old.verdict is not Verdict.PENDING and not old.urgent:
            self._repeat_from = now + outcomes.rest_after(seconds)
        new = outcomes.after(known, outcome, now, seconds, self._patience)
        if isinstance(outcome, Judgement) and outcome.verdict is Verdict.APPLIED:
            new = replace(new, proved_at=time.time())
        timing = {type(step).__name__.lower(): round(seconds, 4)}
        self.adapters.put(name, replace(new, timings=Timings(**{**known.timings.model_dump(), **timing})))
        if new.failed and not known.failed:
            log.warning("%s: to be proved again: %s", name, outcome)
        if new.verdict != old.verdict:
            log.info("%s: %s %s %s", name, new.verdict, new.reason, new.message)
            if new.verdict in adapters.SUSPICIOUS:
                self.adapters.doubt(name)

    def _drop(self, local: LocalAdapter) -> None:
        """Forget it before the engine is told, so that nobody is sent to it in between."""
        del self.adapters.by_name[local.name]
        log.info("%s: dropped", local.name)
        if local.fetched is not None:
            self._copies.kept[local.name] = local.fetched.folder

    def _show(self, local: LocalAdapter, reason: Reason) -> None:
        """Say what is being done, where there is no verdict to show yet."""
        if local.verdict is Verdict.PENDING:
            self.adapters.change(local.name, reason=reason, message="")
