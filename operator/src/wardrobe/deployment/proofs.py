"""What replicas know of adapters: from their agents' words to one verdict for the deployment."""

from collections.abc import Sequence
from dataclasses import dataclass

from wardrobe_contracts.routes import EngineAdapterName
from wardrobe_contracts.state import AdapterState, AgentState, Reason, RouterState, Verdict

UNREACHED_SECONDS = 2.0
"""A pod that nobody has reached for so long is not waited for. Agents answer in milliseconds and are asked once a
second; the node controller needs 40 s to notice that a node is dead."""


@dataclass(frozen=True)
class Replica:
    """An engine pod. `state` is None where its agent did not answer."""

    name: str
    ready: bool
    state: AgentState | None
    unreached: bool = False
    """Whether neither the operator nor a router has reached it for UNREACHED_SECONDS."""

    @property
    def counts(self) -> bool:
        """Whether its word on an adapter is waited for."""
        return self.ready and not self.unreached


@dataclass(frozen=True)
class RouterPod:
    """A router pod. `state` is None where it did not answer."""

    name: str
    state: RouterState | None
    ready: bool = True

    @property
    def counts(self) -> bool:
        """Whether requests may come through it: the Service leads to those that are Ready, older connections to any."""
        return self.ready or self.state is not None


def unreached(address: str | None, silent_seconds: float, routers: Sequence[RouterPod]) -> bool:
    """Whether nobody reaches an engine pod: the operator has not for a while, and no router does now."""
    states = [router.state for router in routers if router.state]
    answering = {_host(backend.address) for state in states for backend in state.backends if backend.answering}
    return silent_seconds >= UNREACHED_SECONDS and address not in answering


def _host(address: str) -> str:
    """`10.0.0.7` of `10.0.0.7:8080`, `fd00::7` of `[fd00::7]:8080`."""
    return address.rpartition(":")[0].strip("[]")


@dataclass(frozen=True)
class Failure:
    """A replica's word that an adapter is not what it should be."""

    replica: str
    state: AdapterState
    restarts: bool = False
    """Whether its engine takes adapters only when it starts."""

    def __str__(self) -> str:
        words = self.state.message or self.state.reason
        mend = NEXT_STEPS.get(self.state.verdict, f"Delete pod {self.replica}, or name another adapter")
        if self.restarts and self.state.reason in NOT_TRIED_AGAIN:
            mend = NOT_TRIED_AGAIN[self.state.reason].format(replica=self.replica)
        return f"{self.state.verdict} on {self.replica} ({words}). {mend}"


NEXT_STEPS = {
    Verdict.DIGEST_MISMATCH: "Put the files that were published back into the store, or name another adapter",
    Verdict.LOAD_FAILED: "Mend what the agent says, which is tried again every 30 s, or name another adapter",
    Verdict.INDISTINGUISHABLE: "Name an adapter that was trained longer, or set spec.verification to Report",
}
"""What a person can do. Any other verdict is the engine's fault, which a new pod may not have."""

NOT_TRIED_AGAIN = {
    Reason.REFUSED_BY_ENGINE: (
        "The engine goes on without it, and is not restarted for it again: name another adapter; or, where it was the "
        "node's fault and not the adapter's, delete pod {replica}, and the one that follows tries it again"
    ),
    Reason.UNFIT: "Name an adapter that fits, or train it again",
}
"""The same of engines that take adapters only when they start."""


def proved(name: EngineAdapterName, replicas: Sequence[Replica]) -> bool:
    """Whether every replica that is ready and can be reached, and at least one, answers with this adapter.

    The others do not hold an adapter back: they get requests only for what they have proved.
    """
    counted = [replica for replica in replicas if replica.counts]
    return bool(counted) and all(_serves(replica, name) for replica in counted)


def served(name: EngineAdapterName, replicas: Sequence[Replica]) -> bool:
    """Whether any ready replica answers with this adapter."""
    return any(replica.ready and _serves(replica, name) for replica in replicas)


def awaits_restart(name: EngineAdapterName, replicas: Sequence[Replica]) -> bool:
    """Whether any agent says that its engine takes this adapter only when it starts anew, or starts with it now."""
    return any(replica.state is not None and _awaits_restart(replica.state, name) for replica in replicas)


def _awaits_restart(state: AgentState, name: EngineAdapterName) -> bool:
    found, sets = state.adapters.get(name), state.engine_sets
    starts = {Reason.AWAITING_RESTART, Reason.LOADING} if sets and sets.restarting else {Reason.AWAITING_RESTART}
    return found is not None and found.reason in starts


def _serves(replica: Replica, name: EngineAdapterName) -> bool:
    return replica.state is not None and replica.state.serves(name)


def failure(name: EngineAdapterName, replicas: Sequence[Replica]) -> Failure | None:
    """The first replica that has a verdict on the adapter, and not a good one."""
    for replica in replicas:
        if replica.state is None:
            continue
        state = replica.state.adapters.get(name)
        if state is not None and not state.served and state.verdict not in {Verdict.PENDING, Verdict.APPLIED}:
            return Failure(replica.name, state, restarts=replica.state.engine_sets is not None)
    return None
