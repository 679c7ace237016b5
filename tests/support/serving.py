"""Engine pods and routers in tests that have no node: what they would say of themselves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from wardrobe.api import children
from wardrobe.api.meta import Manifest
from wardrobe.deployment.podstates import Answer
from wardrobe_contracts.routes import AGENT_PORT, Routes
from wardrobe_contracts.state import (
    AdapterState,
    AgentState,
    BackendState,
    EngineSets,
    EngineState,
    Reason,
    RouterState,
    Verdict,
)

from .resources import TIME


@dataclass
class Fleet:
    """`States` without HTTP: what all pods say, given the routes in force. Everything may be changed at any time."""

    routes: Callable[[], Routes | None]
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """By Adapter; the others are Applied."""
    missing_keys: list[str] = field(default_factory=list)
    engine_sets: EngineSets | None = None
    """Of every engine pod, where engines take adapters at their start only."""
    stuck_at: int | None = None
    """Generation of the routes that routers work by, where they have stopped to hear of others."""
    silent: Mapping[str, float] = field(default_factory=dict)
    """Addresses that do not answer, and for how many seconds they have not."""
    reached: list[str] = field(default_factory=list)
    """Addresses of agents that routers say answer them."""

    def agent(self) -> AgentState:
        """An engine pod's `/state`."""
        now = self.routes()
        adapters = {
            loaded.engine_name: _state(loaded.digest, self.verdicts.get(loaded.adapter, Verdict.APPLIED))
            for loaded in (now.adapters if now else [])
        }
        return AgentState(
            deployment=now.deployment if now else "",
            generation=now.generation if now else None,
            incarnation="agent",
            ready=True,
            draining=False,
            engine=EngineState(up=True, since=TIME),
            adapters=adapters,
            engine_sets=self.engine_sets,
        )

    def router(self) -> RouterState:
        """A router's `/state`."""
        now = self.routes()
        return RouterState(
            deployment=now.deployment if now else "",
            generation=self.stuck_at or (now.generation if now else None),
            incarnation="router",
            ready=True,
            draining=False,
            connected=True,
            backends=[BackendState(address=f"{address}:{AGENT_PORT}", answering=True) for address in self.reached],
            keys={},
            missing_keys=self.missing_keys,
            duplicate_keys=[],
        )

    async def ask(
        self, addresses: Sequence[str | None], port: int, model: type[Answer], generation: int | None = None
    ) -> list[Answer | None]:
        """As `wardrobe.deployment.podstates.PodStates` does."""
        state = self.agent() if model is AgentState else self.router()
        answer = state if isinstance(state, model) else None
        return [answer if address and address not in self.silent else None for address in addresses]

    def silent_seconds(self, address: str | None) -> float:
        """As `wardrobe.deployment.podstates.PodStates` does."""
        return self.silent.get(address or "", 0.0)


def _state(digest: str, verdict: Verdict) -> AdapterState:
    applied = verdict is Verdict.APPLIED
    return AdapterState(
        digest=digest,
        verdict=verdict,
        reason=Reason.PROVED if applied else Reason.ANSWERS_AS_BASE,
        served=applied,
        since=TIME,
    )


def part_of(pod: Manifest) -> str:
    """engine, router, or nothing where it serves nobody."""
    found: str = pod["metadata"]["labels"].get(children.PART_LABEL, "")
    return found
