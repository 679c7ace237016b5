"""What replicas know of versions: from their agents' words to one verdict for the deployment."""

from collections.abc import Sequence
from dataclasses import dataclass

from wardrobe_contracts.state import AgentState, RouterState, Verdict, VersionState


@dataclass(frozen=True)
class Replica:
    """An engine pod. `state` is None where its agent did not answer."""

    name: str
    ready: bool
    state: AgentState | None


@dataclass(frozen=True)
class RouterPod:
    """A router pod. `state` is None where it did not answer."""

    name: str
    state: RouterState | None


@dataclass(frozen=True)
class Failure:
    """A replica's word that a version is not what it should be."""

    replica: str
    state: VersionState

    def __str__(self) -> str:
        said = self.state.message or self.state.reason
        mend = NEXT_STEPS.get(self.state.verdict, f"Delete pod {self.replica}, or name another version")
        return f"{self.state.verdict} on {self.replica} ({said}). {mend}"


NEXT_STEPS = {
    Verdict.DIGEST_MISMATCH: "Put the files that were published back into the store, or name another version",
    Verdict.LOAD_FAILED: "Mend what the agent says, which is tried again every 30 s, or name another version",
    Verdict.INDISTINGUISHABLE: "Name a version that was trained longer, or set spec.verification to Report",
}
"""What a person can do. Any other verdict is the engine's fault, which a new pod may not have."""


def proved(version: str, replicas: Sequence[Replica]) -> bool:
    """Whether every ready replica, and at least one, answers with this version.

    Replicas that are not ready do not hold a version back: they get requests only for what they have proved.
    """
    ready = [replica for replica in replicas if replica.ready]
    return bool(ready) and all(replica.state is not None and replica.state.serves(version) for replica in ready)


def failure(version: str, replicas: Sequence[Replica]) -> Failure | None:
    """The first replica that has a verdict on the version, and not a good one."""
    for replica in replicas:
        state = replica.state.versions.get(version) if replica.state else None
        if state is not None and not state.served and state.verdict not in {Verdict.PENDING, Verdict.APPLIED}:
            return Failure(replica.name, state)
    return None
