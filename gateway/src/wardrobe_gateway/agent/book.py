"""What the agent knows of each version, and what it does next. Pure but for the dictionary it keeps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wardrobe_contracts.routes import RoutedAdapter, Routes, Verification
from wardrobe_contracts.state import ProofNumbers, Reason, Timings, Verdict, VersionState

from ..lifecycle import timestamp
from .fetch import Fetched

LEAVE_SECONDS = 10.0
"""A version that left the set is served so long: a router may hear of it later than this agent."""
UNPROVED = frozenset({Verdict.NOT_APPLIED, Verdict.WRONG_VERSION, Verdict.DIVERGED, Verdict.INDISTINGUISHABLE})
SUSPICIOUS = frozenset({Verdict.NOT_APPLIED, Verdict.WRONG_VERSION, Verdict.DIVERGED})
"""Verdicts that put the engine, and so the other versions, in doubt."""


PENDING: dict[str, Any] = {
    "verdict": Verdict.PENDING,
    "reason": Reason.WAITING,
    "message": "",
    "numbers": None,
    "due": 0.0,
}
"""Changes of an entry that must be judged anew, as soon as may be."""


@dataclass(frozen=True)
class Entry:
    """One version."""

    adapter: RoutedAdapter
    verdict: Verdict = Verdict.PENDING
    reason: Reason = Reason.WAITING
    message: str = ""
    since: str = field(default_factory=timestamp)
    fetched: Fetched | None = None
    loaded: bool = False
    """The engine has it, as far as we know."""
    numbers: ProofNumbers | None = None
    timings: Timings = field(default_factory=Timings)
    due: float = 0.0
    """When its next step may be taken: later after a failure, and for the next proof."""
    left: float | None = None
    """When it left the set."""

    def served(self, verification: Verification) -> bool:
        """Whether requests that name it are answered."""
        reported = verification is Verification.REPORT and self.verdict in UNPROVED
        return self.loaded and (self.verdict is Verdict.APPLIED or reported)

    def state(self, verification: Verification, in_flight: int) -> VersionState:
        """As `/state` shows it."""
        return VersionState(
            digest=self.adapter.digest,
            verdict=self.verdict,
            reason=self.reason,
            message=self.message,
            served=self.served(verification),
            since=self.since,
            in_flight=in_flight,
            numbers=self.numbers,
            timings=self.timings,
        )


@dataclass(frozen=True)
class Fetch:
    """Copy the artifact and verify it."""

    version: str


@dataclass(frozen=True)
class Load:
    """Give it to the engine."""

    version: str


@dataclass(frozen=True)
class Prove:
    """Prove it, for the first time or again."""

    version: str


@dataclass(frozen=True)
class Drop:
    """Take it from the engine and from the disk."""

    version: str


Step = Fetch | Load | Prove | Drop


class Book:
    """All versions by name."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def change(self, version: str, **changes: Any) -> None:
        """Change an entry that is still there; `since` moves when verdict or reason does."""
        if old := self.entries.get(version):
            new = replace(old, **changes)
            same = (old.verdict, old.reason) == (new.verdict, new.reason)
            self.entries[version] = new if same else replace(new, since=timestamp())

    def follow(self, routes: Routes, now: float) -> None:
        """Take over a new set: versions come, come back, change their artifact, or leave."""
        wanted = {adapter.version: adapter for adapter in routes.adapters}
        for version, adapter in wanted.items():
            old = self.entries.get(version)
            if old is None:
                self.entries[version] = Entry(adapter)
            elif _files(old.adapter) == _files(adapter):
                self.change(version, adapter=adapter, left=None)
            else:  # other probes for the same bytes: fetched and proved again
                self.change(version, adapter=adapter, left=None, fetched=None, **PENDING)
        for version, entry in self.entries.items():
            if version not in wanted and entry.left is None:
                self.change(version, left=now)

    def lose_engine(self, reason: Reason, message: str) -> None:
        """The engine went away, or came back empty: whatever was given to it is no longer known to be there."""
        for version, entry in self.entries.items():
            if entry.fetched is not None:
                self.change(version, **{**PENDING, "reason": reason, "message": message}, loaded=False)

    def doubt(self, version: str) -> None:
        """One version turned out wrong: the others' proofs are made again, soon."""
        for other, entry in self.entries.items():
            if other != version and entry.loaded:
                self.change(other, due=0.0)

    def siblings(self, version: str) -> list[str]:
        """Other loaded versions of its departments."""
        departments = set(self.entries[version].adapter.departments)
        return sorted(
            other
            for other, entry in self.entries.items()
            if other != version and entry.loaded and entry.left is None and departments & set(entry.adapter.departments)
        )

    def served(self, verification: Verification) -> frozenset[str]:
        """Versions that are answered for."""
        return frozenset(version for version, entry in self.entries.items() if entry.served(verification))


def _files(adapter: RoutedAdapter) -> tuple[str, str]:
    """Digests, not the path: a copy stays good where the store is rearranged."""
    return adapter.digest, adapter.manifest_digest


def next_step(
    entries: Mapping[str, Entry], routed: frozenset[str], in_flight: Mapping[str, int], now: float, *, engine_up: bool
) -> Step | None:
    """What to do now; routed versions come first, and everything is loaded before anything is proved.

    A proof is worth more with the siblings there to be mistaken for.
    """
    ordered = sorted(entries, key=lambda version: (version not in routed, version))
    staying = [version for version in ordered if entries[version].left is None and entries[version].due <= now]
    steps: list[Step] = [Fetch(version) for version in staying if entries[version].fetched is None]
    if engine_up:
        fetched = [version for version in staying if entries[version].fetched is not None]
        steps += [Load(version) for version in fetched if not entries[version].loaded]
        steps += [Prove(version) for version in fetched if entries[version].loaded]
    steps += [Drop(version) for version in ordered if _may_go(entries[version], in_flight.get(version, 0), now)]
    return steps[0] if steps else None


def _may_go(entry: Entry, in_flight: int, now: float) -> bool:
    if entry.left is None:
        return False
    return not entry.loaded or (in_flight == 0 and now - entry.left >= LEAVE_SECONDS)


def has_opened(first: Iterable[str], entries: Mapping[str, Entry], served: frozenset[str]) -> bool:
    """Whether this pod may become Ready: all of its first set are judged, and one is served."""
    judged = all(entries[version].verdict is not Verdict.PENDING for version in first if version in entries)
    return judged and bool(served)


def is_ready(served: frozenset[str], routed: frozenset[str], *, opened: bool, engine_up: bool, draining: bool) -> bool:
    """Readiness: lost when no routed version is served, or the engine is down. Additions never take it away."""
    answers = bool(served & routed) if routed else bool(served)
    return opened and engine_up and not draining and answers
