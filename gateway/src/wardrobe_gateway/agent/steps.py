"""What to do next, from what the engine has and what it should have. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from wardrobe_contracts.base import Digest
from wardrobe_contracts.routes import EngineAdapterName, Routes
from wardrobe_contracts.state import Verdict

from .adapters import LocalAdapter
from .patience import Patience

FETCHES = 4
"""Copies at a time. A slow one leaves the others their turn."""
SIBLING_SECONDS = 10.0
"""A first proof waits so long for a copy of the same department: only its other adapters are compared in it."""


@dataclass(frozen=True)
class Fetch:
    """Copy the artifact and verify it."""

    name: EngineAdapterName


@dataclass(frozen=True)
class Load:
    """Give it to the engine."""

    name: EngineAdapterName


@dataclass(frozen=True)
class Prove:
    """Prove it, for the first time or again."""

    name: EngineAdapterName


@dataclass(frozen=True)
class Drop:
    """Take it from the engine and from the disk."""

    name: EngineAdapterName


class OwnStep:
    """A step that the strategy itself carries out, and may have decided upon."""


@dataclass(frozen=True)
class Unload(OwnStep):
    """Take from the engine what nobody wants there."""

    name: EngineAdapterName


Step = Fetch | Load | Prove | Drop | OwnStep


@dataclass(frozen=True)
class Observed:
    """What a step is chosen by, beside the adapters."""

    now: float
    engine_up: bool
    patience: Patience
    routed: frozenset[EngineAdapterName] = frozenset()
    in_flight: Mapping[EngineAdapterName, int] = field(default_factory=dict)
    fetching: Mapping[EngineAdapterName, float] = field(default_factory=dict)
    """Adapters that are being copied, and since when."""
    has: frozenset[EngineAdapterName] = frozenset()
    """What the engine has, and what it had when it was last told to drop it."""
    not_yet: frozenset[EngineAdapterName] = frozenset()
    """What the engine cannot be given as it runs now, nor be asked for."""
    routes: Routes | None = None
    permitted: Digest | None = None
    """The set that this agent may restart its engine with."""
    unload_from: Mapping[EngineAdapterName, float] = field(default_factory=dict)
    """When those may be tried again whose unload failed: one that fails keeps no other loaded."""
    own_from: float = 0.0
    """When the strategy may take a step for the engine as a whole: later after one that failed."""
    repeat_from: float = 0.0
    """When the next repetition of a proof may begin."""


def next_step(adapters: Mapping[EngineAdapterName, LocalAdapter], observed: Observed) -> Step | None:
    """What to do now; routed adapters come first, and everything is loaded before anything is proved.

    A proof is worth more with the siblings there to be mistaken for; one that the store is slow with is not waited for.
    """
    ordered = sorted(adapters, key=lambda name: (name not in observed.routed, adapters[name].due, name))
    staying = [name for name in ordered if adapters[name].left is None and adapters[name].due <= observed.now]
    missing = [name for name in staying if adapters[name].fetched is None and name not in observed.fetching]
    copying = {adapters[name].routed.manifest_digest for name in observed.fetching if name in adapters}
    steps: list[Step] = [
        Fetch(name)
        for name in missing
        if len(observed.fetching) < FETCHES and adapters[name].routed.manifest_digest not in copying  # one copy for all
    ]
    usable = [name for name in staying if observed.engine_up and name not in observed.not_yet]
    fetched = [name for name in usable if adapters[name].fetched is not None]
    if observed.engine_up:
        unwanted = sorted(observed.has - adapters.keys())
        steps += [Unload(name) for name in unwanted if observed.unload_from.get(name, 0.0) <= observed.now]
        steps += [Load(name) for name in fetched if not adapters[name].loaded]
    proofs, repetitions = _proofs(adapters, missing, fetched, observed)
    steps += proofs
    steps += [Drop(name) for name in ordered if _may_go(adapters[name], observed)]
    return next(iter([*steps, *repetitions]), None)


def _proofs(
    adapters: Mapping[EngineAdapterName, LocalAdapter],
    missing: Iterable[str],
    fetched: Iterable[str],
    observed: Observed,
) -> tuple[list[Prove], list[Prove]]:
    """First proofs that may be made, and repetitions, the urgent first."""
    loaded = [name for name in fetched if adapters[name].loaded]
    copied = [name for name, since in observed.fetching.items() if observed.now - since < SIBLING_SECONDS]
    coming = [*copied, *(missing if copied else [])]  # some wait until one of those copies is there
    awaited = {
        department
        for name in coming
        if name in adapters and adapters[name].verdict is Verdict.PENDING
        for department in adapters[name].routed.departments
    }
    pending = [name for name in loaded if adapters[name].verdict is Verdict.PENDING]
    first = [Prove(name) for name in pending if awaited.isdisjoint(adapters[name].routed.departments)]
    again = [name for name in loaded if adapters[name].verdict is not Verdict.PENDING]
    urgent = [Prove(name) for name in again if adapters[name].urgent]
    others = [Prove(name) for name in again if not adapters[name].urgent and observed.repeat_from <= observed.now]
    return first, urgent + others


def _may_go(local: LocalAdapter, observed: Observed) -> bool:
    if local.left is None:
        return False
    in_flight = observed.in_flight.get(local.name, 0)
    return not local.loaded or (in_flight == 0 and observed.now - local.left >= observed.patience.leave)
