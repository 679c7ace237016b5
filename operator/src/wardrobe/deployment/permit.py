"""Which engine may start anew: one at a time, and none whose going leaves a department unanswered.

Engines that take adapters only at their start are stopped for every new set, so that somebody has to see to it that the
others answer meanwhile. The routes carry the permit, and nothing else is kept: what agents say of their sets decides
whether it stands, and who is next.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from wardrobe_contracts.base import Digest
from wardrobe_contracts.routes import Permit, Routes
from wardrobe_contracts.state import EngineSets, Reason, Verdict

from .proofs import Replica


@dataclass(frozen=True)
class Turn:
    """Whose engine starts anew, or will."""

    permit: Permit
    given: bool
    """Whether the routes in force have it."""
    gap: bool
    """Whether nobody answers meanwhile."""
    number: int
    """Among the engines that get what they want, counted from 1: those that have it come before."""
    of: int
    """Engines in all."""
    seconds: float | None
    """What its last start took, if that is known."""
    silent: bool
    """Whether its agent does not answer."""

    @property
    def order(self) -> str:
        """`1 of 2`."""
        return f"{self.number} of {self.of}"


@dataclass(frozen=True)
class Postponed:
    """Engines want another set, and none can be spared now."""

    message: str
    soon: bool = False
    """Whether that may change within seconds without anything that tells of it, as when a pod answers again."""


def next_turn(
    routes: Routes | None, replicas: Sequence[Replica], wanted_replicas: int, *, rolling: bool = False
) -> Turn | Postponed | None:
    """The permit that stands, or else the next; None where every engine runs what it wants or cannot.

    `rolling` is whether pods are being replaced. Of several engines, the one that held the last permit goes on first,
    as it may have been stopped already; then the one by which the fewest routed adapters are served: a set that does
    not come up is best tried where least is lost.
    """
    standing = routes.permit if routes else None
    holder = next((replica for replica in replicas if standing and replica.name == standing.pod), None)
    routed = routes.routed if routes else frozenset()
    alone = wanted_replicas <= 1 and len(replicas) == 1
    if standing and holder and _stands(standing, holder):
        if not alone and _can_wait(holder) and (lost := _left_alone(holder, routed, replicas)):
            return _held({holder.name: lost}, wanted_replicas)
        return _turn(standing, holder, replicas, given=True, gap=not _others(holder, replicas))
    failed = _failed(replicas)
    wishes = {replica.name: wish for replica in replicas if (wish := _wish(replica, failed))}
    if not wishes:
        return None
    if reason := _nobody_yet(routes, replicas, rolling=rolling):
        return reason
    left = {replica.name: _left_alone(replica, routed, replicas) for replica in replicas if replica.name in wishes}
    free = [replica for replica in replicas if replica.name in wishes and (alone or not left[replica.name])]
    if not free:
        return _held(left, wanted_replicas)
    chosen = min(free, key=lambda replica: (replica is not holder, len(_served(replica, routed)), replica.name))
    return _turn(wishes[chosen.name], chosen, replicas, given=False, gap=bool(left[chosen.name]))


def _nobody_yet(routes: Routes | None, replicas: Sequence[Replica], *, rolling: bool) -> Postponed | None:
    """Why no permit is given to any engine now.

    An agent that has not read that a permit was taken back may still stop its engine by it. What one engine came up
    with may end it at a request: nothing is tried on another before that is known.
    """
    if rolling:
        return Postponed("its pods are being replaced; those that follow start with the newest set")
    counting = [replica for replica in replicas if replica.counts]
    if silent := [replica.name for replica in counting if replica.state is None]:
        message = (
            f"engine {silent[0]} has just stopped to answer, and is waited for some seconds; delete the pod if it is "
            "gone"
        )
        return Postponed(message, soon=True)
    if behind := [replica.name for replica in counting if routes and _generation(replica) < routes.generation]:
        return Postponed(f"engine {behind[0]} has yet to read routes {routes.generation if routes else 0}", soon=True)
    if tried := [replica.name for replica in replicas if (sets := _sets(replica)) and sets.on_trial]:
        return Postponed(f"engine {tried[0]} has yet to prove what it was started with", soon=True)
    return None


def _generation(replica: Replica) -> int:
    return (replica.state.generation if replica.state else None) or 0


def left_out(members: AbstractSet[str], current: Routes | None, replicas: Sequence[Replica]) -> list[str]:
    """Members of the set with which an engine of this kind did not start.

    While a pod says nothing, what it may have said stands.
    """
    reported = {name for replica in replicas if _sets(replica) for name in _refused_by(replica)}
    before = current.refused if current and any(replica.state is None for replica in replicas) else []
    return sorted(members & (reported | set(before)))


def _refused_by(replica: Replica) -> set[str]:
    states = replica.state.adapters if replica.state else {}
    reasons = {name: (state.verdict, state.reason) for name, state in states.items()}
    return {name for name, why in reasons.items() if why == (Verdict.LOAD_FAILED, Reason.REFUSED_BY_ENGINE)}


def _stands(permit: Permit, holder: Replica) -> bool:
    """Whether its engine may still be stopped by this permit, or is: while the agent says nothing it may be.

    An agent that wants another set by now has kept to that for some seconds: it has long read what it was permitted,
    and will not come back to it. One that is itself another by now may have found the engine stopped.
    """
    if holder.state is None or _restarts(holder):
        return True
    sets = holder.state.engine_sets
    if sets is None or holder.state.incarnation != permit.incarnation:
        return False
    return sets.wanted == permit.engine_set and permit.engine_set not in {sets.running, sets.failed}


def _can_wait(holder: Replica) -> bool:
    """Whether its engine still answers: then a permit can be taken back, mostly before it is made use of."""
    return holder.state is not None and not _restarts(holder)


def _sets(replica: Replica) -> EngineSets | None:
    return replica.state.engine_sets if replica.state else None


def _failed(replicas: Sequence[Replica]) -> frozenset[Digest]:
    """Sets that did not come up somewhere: they are tried nowhere else."""
    return frozenset(sets.failed for replica in replicas if (sets := _sets(replica)) and sets.failed)


def _wish(replica: Replica, failed: frozenset[Digest]) -> Permit | None:
    """What its agent asks for, if it does."""
    sets = _sets(replica)
    if replica.state is None or sets is None or sets.restarting or sets.wanted is None:
        return None
    if sets.wanted == sets.running or sets.wanted in failed:
        return None
    return Permit(incarnation=replica.state.incarnation, engine_set=sets.wanted, pod=replica.name)


def _served(replica: Replica, routed: frozenset[str]) -> set[str]:
    return {name for name in routed if replica.state and replica.state.serves(name)}


def _left_alone(replica: Replica, routed: frozenset[str], replicas: Sequence[Replica]) -> set[str]:
    """Routed adapters that no other engine answers with, which requests can be sent to."""
    return _served(replica, routed).difference(*(_served(other, routed) for other in _others(replica, replicas)))


def _others(replica: Replica, replicas: Sequence[Replica]) -> list[Replica]:
    return [other for other in replicas if other is not replica and other.counts and not _restarts(other)]


def _restarts(replica: Replica) -> bool:
    sets = _sets(replica)
    return sets is not None and sets.restarting


def _held(left: dict[str, set[str]], wanted_replicas: int) -> Postponed:
    pod, names = min(left.items())
    if wanted_replicas <= 1:
        then = "until the pod that follows it answers, which is waited for"
    else:
        then = (
            "until another replica answers, too. With spec.replicas 1 it restarts without one, and requests fail "
            "meanwhile"
        )
    only = f"engine {pod} would restart, and is the only one that answers with {', '.join(sorted(names))}"
    return Postponed(f"{only}: it goes on {then}")


def _turn(permit: Permit, holder: Replica, replicas: Sequence[Replica], *, given: bool, gap: bool) -> Turn:
    with_sets = {replica.name: sets for replica in replicas if (sets := _sets(replica))}
    done = [name for name, sets in with_sets.items() if name != holder.name and sets.wanted == sets.running]
    sets = with_sets.get(holder.name)
    of = len({*with_sets, holder.name})
    return Turn(permit, given, gap, len(done) + 1, of, sets.start_seconds if sets else None, holder.state is None)
