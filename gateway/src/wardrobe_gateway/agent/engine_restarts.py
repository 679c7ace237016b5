"""The engine's process as it is ordered, and what came of each order. Which set it should have is decided elsewhere."""

import logging
import time
from collections import Counter

from wardrobe_contracts.base import Digest
from wardrobe_contracts.engine_process import Ended, ProcessOrder, ProcessState, Start
from wardrobe_contracts.routes import EngineAdapterName

from ..process.drain import Drain
from .engine_process import EngineProcess
from .engine_set import Names, Situation, needs_permit
from .patience import Patience
from .set_folders import SetFolders
from .tgi.padding import WrittenSet

log = logging.getLogger(__name__)


class Restarts:
    """Orders, and sets that did not come up. It begins with what an earlier agent of this pod ordered."""

    def __init__(self, process: EngineProcess, folders: SetFolders, drain: Drain, patience: Patience) -> None:
        self.order = process.order()
        self.under_way = self.order is not None and not self.order.accepted and self.order.fallback is not None
        """Whether requests are turned away for a restart: from the drain on, until a set answers that has come up."""
        self.drained_from: float | None = None
        self.given_up = False
        """Whether what is ordered did not come up."""
        self.failed: dict[Names, Digest] = {}
        """Sets that did not come up, the last one last."""
        self.blamed: dict[EngineAdapterName, str] = {}
        """Adapters that were new in one of them, and how it ended."""
        self.start_seconds: float | None = None
        self.outcomes: Counter[str] = Counter()
        self._process = process
        self._folders = folders
        self._drain = drain
        self._patience = patience
        self._ordered_at = time.monotonic()
        self._ends: set[str | None] = set()
        """Processes that have ended by themselves since the order was accepted, while it is on trial."""

    @property
    def is_leaving(self) -> bool:
        """Whether this pod is on its way out, so that nothing is begun in it any more."""
        return self._drain.draining

    @property
    def on_trial(self) -> bool:
        """Whether what came up last has yet to be proved."""
        return self.order is not None and self.order.accepted and not self.order.proved

    @property
    def good(self) -> Start | None:
        """What came up last."""
        if self.order is None:
            return None
        return self.order.start if self.order.accepted else self.order.fallback

    @property
    def needs_permit(self) -> bool:
        """Whether another start would take answers away."""
        return needs_permit(self.order)

    def running(self, answering: ProcessState | None) -> Start | None:
        """What came up last, where it is what answers."""
        good = self.good
        return good if good and answering and answering.engine_set == good.engine_set else None

    def starting(self) -> Start | None:
        """What is ordered and may still come up."""
        return self.order.start if self.order and not self.order.accepted and not self.given_up else None

    def look(self, now: float, answering: ProcessState | None) -> Situation:
        """How things stand; what is proved, wanted and permitted is left open."""
        accepted = self.order is not None and self.order.accepted
        late = now - self._ordered_at >= self._patience.start  # then the engine is simply down
        if self.drained_from is None and accepted and (late or self.running(answering)):
            self.under_way = False
        if self.good is None and self.failed and now - self._ordered_at >= self._patience.forget:
            self.failed, self.blamed = {}, {}
        process = self._process.state()
        if process is not None and process.ended is not None:
            self._count(process.ended)
        return Situation(
            now=now,
            patience=self._patience,
            order=self.order,
            ordered_at=self._ordered_at,
            process=process,
            answering=answering.engine_set if answering else None,
            given_up=self.given_up,
            ends=len(self._ends),
            drained_from=self.drained_from,
        )

    def _count(self, ended: Ended) -> None:
        """An end, where it is one of the set on trial since it was accepted."""
        order = self.order
        if order is None or not self.on_trial or ended.engine_set != order.start.engine_set:
            return
        if ended.incarnation != order.ended_before:
            self._ends.add(ended.incarnation)

    def drain(self) -> None:
        """Requests are turned away from now on."""
        log.info("requests are turned away: the engine is about to be restarted with another set")
        self.under_way, self.drained_from = True, time.monotonic()

    def call_off(self) -> None:
        """Requests are taken again."""
        log.info("the engine is not restarted: this pod is on its way out")
        self.under_way, self.drained_from = False, None

    def begin(self, made: WrittenSet) -> None:
        """Order a set that is written. Raises OSError."""
        self._give(ProcessOrder(start=self._folders.start(made), fallback=self.good))
        self._ends = set()

    def accept(self) -> None:
        """What is ordered has come up. Raises OSError."""
        assert self.order is not None  # noqa: S101  decided by `decide`
        start, members = self.order.start, self._folders.names(self.order.start)
        seconds = time.monotonic() - self._ordered_at
        self._give(self.order.model_copy(update={"accepted": True}))
        self._ends = set()
        log.info("the engine has come up with the set %s", start.engine_set)
        self.outcomes["started"] += 1
        self.start_seconds = round(seconds, 3)
        self.blamed = {name: why for name, why in self.blamed.items() if name not in members}
        self.failed.pop(members, None)

    def confirm(self, unproved: Names) -> None:
        """All of what runs was proved, but these: from now on its end is as any engine's. Raises OSError."""
        assert self.order is not None  # noqa: S101  decided by `decide`
        before = self.order.fallback if unproved else None
        self._give(
            ProcessOrder(start=self.order.start, fallback=before, accepted=True, proved=True, unproved=sorted(unproved))
        )

    def resume(self) -> None:
        """One of those is back: what runs is on trial again. Raises OSError."""
        assert self.order is not None  # noqa: S101  decided by `decide`
        log.info("the set %s is on trial again", self.order.start.engine_set)
        self._give(self.order.model_copy(update={"proved": False, "unproved": []}))
        self._ends = set()

    def give_up(self, why: str) -> None:
        """What is ordered does not come up: go back. Those that were new in it are blamed, until one of them comes up.

        Raises OSError.
        """
        assert self.order is not None  # noqa: S101  decided by `decide`
        start, good = self.order.start, self.order.fallback
        assert start.engine_set is not None  # noqa: S101  an order of an agent's
        if good is not None:
            self._give(ProcessOrder(start=good, accepted=True, proved=True))
        else:
            if self.order.accepted:  # no longer: so that its next end is not the container's, and no permit is needed
                self._give(ProcessOrder(start=start))
            self.given_up = True
        log.error("the engine does not come up with the set %s: %s", start.engine_set, why)
        self.outcomes["failed"] += 1
        members = self._folders.names(start)
        self.failed[members] = start.engine_set
        self.blamed |= dict.fromkeys(members - self._folders.names(good), why)

    def _give(self, order: ProcessOrder) -> None:
        state = self._process.state()
        ended = state.ended.incarnation if state and state.ended else None
        order = order.model_copy(update={"ended_before": ended})
        self._process.give(order)
        self.order, self._ordered_at, self.given_up, self.drained_from = order, time.monotonic(), False, None
