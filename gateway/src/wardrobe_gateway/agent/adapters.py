"""The adapters of this pod: what each is here, and the set of them. Pure but for the dictionary it keeps."""

from dataclasses import dataclass, field, replace
from typing import Any

from wardrobe_contracts.routes import EngineAdapterName, RoutedAdapter, Routes, Verification
from wardrobe_contracts.state import AdapterState, ProofNumbers, Reason, Timings, Verdict
from wardrobe_contracts.text import encodable

from ..clock import timestamp
from .fetch import Fetched

UNPROVED = frozenset({Verdict.NOT_APPLIED, Verdict.WRONG_ADAPTER, Verdict.DIVERGED, Verdict.INDISTINGUISHABLE})
SUSPICIOUS = frozenset({Verdict.NOT_APPLIED, Verdict.WRONG_ADAPTER, Verdict.DIVERGED})
"""Verdicts that put the engine, and so the other adapters, in doubt."""


@dataclass(frozen=True)
class LocalAdapter:
    """One adapter, as it stands on this replica."""

    routed: RoutedAdapter
    verdict: Verdict = Verdict.PENDING
    reason: Reason = Reason.WAITING
    message: str = ""
    since: str = field(default_factory=timestamp)
    fetched: Fetched | None = None
    loaded: bool = False
    """The engine has it, as far as we know."""
    numbers: ProofNumbers | None = None
    proved_at: float | None = None
    """When it was last found Applied, in seconds since 1970."""
    timings: Timings = field(default_factory=Timings)
    due: float = 0.0
    """When its next step may be taken: later after a failure, and for the next proof."""
    urgent: bool = False
    """Its proof is made again as soon as may be: it failed once, or another's failed."""
    failed: bool = False
    """Its last proof failed after one that did not. A second failure is a verdict."""
    left: float | None = None
    """When it left the set."""
    ends: int = 0
    """How often in a row the engine has ended at its load or first proof."""

    @property
    def name(self) -> EngineAdapterName:
        """As the engine knows it."""
        return self.routed.engine_name

    def to_be_judged(self, reason: Reason = Reason.WAITING, message: str = "") -> "LocalAdapter":
        """Without any verdict, to be judged as soon as may be."""
        return replace(
            self,
            verdict=Verdict.PENDING,
            reason=reason,
            message=message,
            numbers=None,
            proved_at=None,
            due=0.0,
            urgent=False,
            failed=False,
        )

    def served(self, verification: Verification) -> bool:
        """Whether requests that name it are answered."""
        reported = verification is Verification.REPORT and self.verdict in UNPROVED
        return self.loaded and (self.verdict is Verdict.APPLIED or reported)

    def state(self, verification: Verification, in_flight: int) -> AdapterState:
        """As `/state` shows it."""
        return AdapterState(
            digest=self.routed.digest,
            verdict=self.verdict,
            reason=self.reason,
            message=self.message,
            served=self.served(verification),
            since=self.since,
            proved_at=None if self.proved_at is None else timestamp(self.proved_at),
            in_flight=in_flight,
            numbers=self.numbers,
            timings=self.timings,
        )


class AdapterSet:
    """All adapters of this pod, by the name that the engine knows them by."""

    def __init__(self) -> None:
        self.by_name: dict[EngineAdapterName, LocalAdapter] = {}

    def change(self, name: EngineAdapterName, **changes: Any) -> None:
        """Change one that is still there."""
        if old := self.by_name.get(name):
            self.put(name, replace(old, **changes))

    def put(self, name: EngineAdapterName, new: LocalAdapter) -> None:
        """Replace one that is there; `since` moves when verdict or reason does."""
        old = self.by_name[name]
        since = old.since if (old.verdict, old.reason) == (new.verdict, new.reason) else timestamp()
        self.by_name[name] = replace(new, since=since, message=encodable(new.message))

    def follow(self, routes: Routes, now: float) -> None:
        """Take over a new set: adapters come, come back, change their artifact, or leave."""
        wanted = {adapter.engine_name: adapter for adapter in routes.adapters}
        for name, adapter in wanted.items():
            old = self.by_name.get(name)
            if old is None:
                self.by_name[name] = LocalAdapter(adapter)
            elif _files(old.routed) == _files(adapter):
                self.change(name, routed=adapter, left=None)
            else:  # other probes for the same bytes: fetched and proved again
                self.put(name, replace(old.to_be_judged(), routed=adapter, left=None, fetched=None))
        for name, local in self.by_name.items():
            if name not in wanted and local.left is None:
                self.change(name, left=now)

    def lose_engine(self, reason: Reason, message: str) -> None:
        """The engine went away, or came back empty: whatever was given to it is no longer known to be there."""
        for name, local in self.by_name.items():
            if local.ends and local.verdict is Verdict.LOAD_FAILED:
                continue  # it is left out: nothing was given to the engine
            if local.fetched is not None or local.loaded:
                self.put(name, replace(local.to_be_judged(reason, message), loaded=False))

    def doubt(self, name: EngineAdapterName) -> None:
        """One adapter turned out wrong: the others' proofs are made again, soon."""
        for other, local in self.by_name.items():
            if other != name and local.loaded:
                self.change(other, due=0.0, urgent=True)

    def siblings(self, name: EngineAdapterName) -> list[EngineAdapterName]:
        """Other loaded adapters of its departments."""
        departments = set(self.by_name[name].routed.departments)
        return sorted(
            other
            for other, local in self.by_name.items()
            if other != name and local.loaded and local.left is None and departments & set(local.routed.departments)
        )

    def strangers(self, name: EngineAdapterName) -> list[EngineAdapterName]:
        """Other loaded adapters, of other departments."""
        near = {name, *self.siblings(name)}
        return sorted(
            other for other, local in self.by_name.items() if other not in near and local.loaded and local.left is None
        )

    def served(self, verification: Verification) -> frozenset[EngineAdapterName]:
        """Adapters that are answered for."""
        return frozenset(name for name, local in self.by_name.items() if local.served(verification))

    @property
    def loaded(self) -> frozenset[EngineAdapterName]:
        """Adapters that the engine has, as far as we know."""
        return frozenset(name for name, local in self.by_name.items() if local.loaded)


def _files(adapter: RoutedAdapter) -> tuple[str, str]:
    """Digests, not the path: a copy stays good where the store is rearranged."""
    return adapter.digest, adapter.manifest_digest
