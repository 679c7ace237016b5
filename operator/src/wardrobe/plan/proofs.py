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
        return f"{self.state.verdict} on {self.replica}: {self.state.message or self.state.reason}"


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
