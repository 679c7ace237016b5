"""Which engine may start anew, decided without a cluster; and agents that follow it, dealt by a hand of hypothesis."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import results
from support.gauntlet import TIMES
from support.resources import TIME

from wardrobe.deployment import proofs
from wardrobe.deployment.permit import Postponed, Turn, left_out, next_turn
from wardrobe.deployment.proofs import Replica
from wardrobe_contracts.routes import Permit, Route, RoutedAdapter, RoutedBase, Routes, engine_adapter_name
from wardrobe_contracts.state import AdapterState, AgentState, EngineSets, EngineState, Reason, Verdict

A, B, C = (results.digest(letter) for letter in "abc")
V1 = engine_adapter_name("cardiology-v1", A)


def routes(permit: Permit | None = None, *, routed: bool = True, generation: int = 4) -> Routes:
    member = RoutedAdapter(
        engine_name=V1,
        adapter="cardiology-v1",
        departments=["cardiology"],
        artifact="x",
        digest=A,
        manifest_digest=A,
    )
    return Routes(
        deployment="tantanila",
        generation=generation,
        base=RoutedBase(name="base", digest=A),
        departments={"cardiology": Route(engine_name=V1 if routed else None)},
        adapters=[member],
        permit=permit,
    )


def engine(
    name: str,
    running: str | None = A,
    wanted: str | None = B,
    *,
    failed: str | None = None,
    restarting: bool = False,
    on_trial: bool = False,
    serves: bool = True,
    ready: bool = True,
    incarnation: str | None = None,
    generation: int = 4,
) -> Replica:
    """A pod whose engine takes adapters at its start only."""
    sets = EngineSets(
        running=running, wanted=wanted, failed=failed, restarting=restarting, on_trial=on_trial, start_seconds=21.4
    )
    served = AdapterState(digest=A, verdict=Verdict.APPLIED, reason=Reason.PROVED, served=serves, since=TIME)
    state = AgentState(
        deployment="tantanila",
        generation=generation,
        incarnation=incarnation or f"agent of {name}",
        ready=ready,
        draining=False,
        engine=EngineState(up=running is not None, since=TIME),
        adapters={V1: served},
        engine_sets=sets,
    )
    return Replica(name, ready=ready, state=state)


def at_run_time(name: str) -> Replica:
    """A pod whose engine takes adapters while it runs."""
    found = engine(name)
    assert found.state
    return replace(found, state=found.state.model_copy(update={"engine_sets": None}))


def silent(name: str) -> Replica:
    return Replica(name, ready=True, state=None)


def lost(name: str) -> Replica:
    """A pod that nobody reaches for long, or that has never been ready."""
    return Replica(name, ready=False, state=None, unreached=True)


def permit(name: str, engine_set: str = B) -> Permit:
    return Permit(incarnation=f"agent of {name}", engine_set=engine_set, pod=name)


def renewed(name: str, running: str | None = A, *, restarting: bool = False) -> Replica:
    """A pod whose agent is another than before."""
    return engine(name, running, restarting=restarting, incarnation=f"new agent of {name}")


def renewed_permit(name: str) -> Permit:
    return Permit(incarnation=f"new agent of {name}", engine_set=B, pod=name)


DONE = engine("x", B, B)
UP_TO_DATE = engine("y", A, A)
TRIED = engine("y", B, B, on_trial=True)
GONE = permit("gone")

NEXT: list[tuple[str, Permit | None, list[Replica], Permit | None]] = [
    ("nothing is wanted", None, [engine("x", A, A), UP_TO_DATE], None),
    ("engines that load at run time", None, [at_run_time("x"), UP_TO_DATE], None),
    ("the first of two", None, [engine("x"), engine("y")], permit("x")),
    ("the one that wants something", None, [engine("y", A, A), engine("x")], permit("x")),
    ("the one that serves less", None, [engine("x"), engine("y"), engine("z", serves=False)], permit("z")),
    ("a set that failed elsewhere", None, [engine("x"), engine("y", A, B, failed=B)], None),
    ("another set failed elsewhere", None, [engine("x"), engine("y", A, A, failed=C)], permit("x")),
    ("an engine that starts by itself", None, [engine("x", None, B, restarting=True, serves=False), UP_TO_DATE], None),
    ("an engine that is down", None, [engine("x", None, B, serves=False), UP_TO_DATE], permit("x")),
    ("it has not begun", permit("x"), [engine("x"), engine("y")], permit("x")),
    ("it says nothing", permit("x"), [silent("x"), engine("y")], permit("x")),
    ("it restarts", permit("x"), [engine("x", None, B, restarting=True), engine("y")], permit("x")),
    ("it wants more, and restarts", permit("x"), [engine("x", None, C, restarting=True), engine("y")], permit("x")),
    ("its agent is another, and it restarts", permit("x"), [renewed("x", None, restarting=True)], permit("x")),
    ("it is on trial", permit("x"), [engine("x", B, B, on_trial=True), engine("y")], None),
    ("it has ended on trial", permit("x"), [engine("x", None, None, on_trial=True), engine("y")], None),
    ("another is on trial, which no permit brought there", None, [engine("x", B, B, on_trial=True), engine("y")], None),
    ("it restarts, and another is on trial", permit("x"), [engine("x", None, restarting=True), TRIED], permit("x")),
    ("it is done", permit("x"), [DONE, engine("y")], permit("y")),
    ("all are done", permit("x"), [DONE, engine("y", B, B)], None),
    ("it failed", permit("x"), [engine("x", A, B, failed=B), engine("y")], None),
    ("it failed and wants another", permit("x"), [engine("x", A, C, failed=B), engine("y")], permit("x", C)),
    ("it failed elsewhere meanwhile", permit("x"), [engine("x"), engine("y", A, B, failed=B)], permit("x")),
    ("it wants another set", permit("y"), [engine("x"), engine("y", A, C)], permit("y", C)),
    ("it wants no other any more", permit("y"), [engine("x"), UP_TO_DATE], permit("x")),
    ("its agent is another", permit("y"), [engine("x", A, A), renewed("y")], renewed_permit("y")),
    ("its pod is gone", GONE, [engine("x"), engine("y")], permit("x")),
    ("it is to be given, and a ready pod has just fallen silent", None, [engine("x"), engine("y"), silent("z")], None),
    ("its pod is gone, another says nothing", GONE, [engine("x"), engine("y"), lost("z")], permit("x")),
    ("it has not begun, and the other is gone", permit("x"), [engine("x"), lost("y")], None),
    ("it has not begun, and answers nothing", permit("x"), [engine("x", serves=False), lost("y")], permit("x")),
    ("it restarts, and the other is gone", permit("x"), [engine("x", None, restarting=True), lost("y")], permit("x")),
    ("it says nothing, and the other is gone", permit("x"), [silent("x"), lost("y")], permit("x")),
    ("another has not read the newest routes", None, [engine("x"), engine("y", generation=3)], None),
    ("it loads at run time now", permit("x"), [at_run_time("x"), engine("y")], permit("y")),
]  # fmt: skip


@pytest.mark.parametrize(("standing", "replicas", "expected"), [row[1:] for row in NEXT], ids=[row[0] for row in NEXT])
def test_the_next_permit(standing: Permit | None, replicas: list[Replica], expected: Permit | None) -> None:
    turn = next_turn(routes(standing), replicas, 2)
    assert (turn.permit if isinstance(turn, Turn) else None) == expected


SPARE: list[tuple[str, list[Replica], int, str | None]] = [
    ("another answers", [engine("x"), UP_TO_DATE], 2, "x"),
    ("another is not ready", [engine("x"), engine("y", A, A, ready=False)], 2, None),
    ("another does not serve it", [engine("x"), engine("y", A, A, serves=False)], 2, None),
    ("another cannot be reached", [engine("x"), Replica("y", ready=True, state=None, unreached=True)], 2, None),
    ("another restarts by itself", [engine("x"), engine("y", None, A, restarting=True)], 2, None),
    ("a third answers", [engine("x"), engine("y", A, A, ready=False), engine("z", A, A)], 3, "x"),
    ("it serves nothing itself", [engine("x", serves=False), engine("y", A, A, ready=False)], 2, "x"),
    ("its fellow is not there yet", [engine("x")], 2, None),
    ("it is the only one", [engine("x")], 1, "x"),
    ("the one after it is on its way", [engine("x"), lost("y")], 1, None),
]


@pytest.mark.parametrize(("replicas", "wanted", "expected"), [row[1:] for row in SPARE], ids=[row[0] for row in SPARE])
def test_no_engine_is_stopped_that_alone_answers_unless_there_is_to_be_but_one(
    replicas: list[Replica], wanted: int, expected: str | None
) -> None:
    turn = next_turn(routes(), replicas, wanted)
    assert (turn.permit.pod if isinstance(turn, Turn) else None) == expected
    if expected is None:
        assert isinstance(turn, Postponed)
        assert f"engine x would restart, and is the only one that answers with {V1}" in turn.message


def test_the_only_one_keeps_its_permit() -> None:
    turn = next_turn(routes(permit("x")), [engine("x")], 1)
    assert isinstance(turn, Turn)
    assert (turn.given, turn.gap) == (True, True)


def test_none_restarts_while_pods_are_replaced_but_the_one_that_may_already() -> None:
    postponed = next_turn(routes(), [engine("x"), engine("y")], 2, rolling=True)
    assert isinstance(postponed, Postponed)
    assert postponed.message == "its pods are being replaced; those that follow start with the newest set"
    assert not postponed.soon
    turn = next_turn(routes(permit("x")), [engine("x"), engine("y")], 2, rolling=True)
    assert isinstance(turn, Turn)
    assert next_turn(routes(), [UP_TO_DATE], 2, rolling=True) is None


def test_one_that_is_to_be_alone_waits_for_the_pod_that_follows_it() -> None:
    postponed = next_turn(routes(), [engine("x"), lost("y")], 1)
    assert isinstance(postponed, Postponed)
    assert postponed.message.endswith("it goes on until the pod that follows it answers, which is waited for")


def test_who_is_asked_first_and_why_it_is_waited_for() -> None:
    postponed = next_turn(routes(), [engine("x"), silent("z")], 2)
    assert isinstance(postponed, Postponed)
    assert postponed.soon
    assert postponed.message.startswith("engine z has just stopped to answer")
    assert postponed.message.endswith("delete the pod if it is gone")


def test_an_engine_that_is_tried_is_waited_for_and_is_no_gap_itself() -> None:
    postponed = next_turn(routes(), [engine("x", B, B, on_trial=True), engine("z")], 2)
    assert postponed == Postponed("engine x has yet to prove what it was started with", soon=True)
    assert next_turn(routes(permit("x")), [engine("x", B, B, on_trial=True)], 1) is None, "it answers"


def test_before_anything_is_routed_any_engine_can_be_spared() -> None:
    turn = next_turn(routes(routed=False), [engine("x"), lost("y")], 2)
    assert isinstance(turn, Turn)
    assert not turn.gap


def test_it_is_told_how_many_have_what_they_want_and_how_long_it_takes() -> None:
    turn = next_turn(routes(permit("x")), [engine("x", None, B, restarting=True), engine("y"), engine("z", B, B)], 3)
    assert isinstance(turn, Turn)
    assert (turn.order, turn.given, turn.gap, turn.seconds) == ("2 of 3", True, False, 21.4)
    alone = next_turn(routes(), [engine("x")], 1)
    assert isinstance(alone, Turn)
    assert (alone.order, alone.given, alone.gap) == ("1 of 1", False, True)


def doubting(name: str, reason: Reason = Reason.REFUSED_BY_ENGINE, **more: Any) -> Replica:
    """A pod whose engine did not start with cardiology-v1."""
    found = engine(name, **more)
    assert found.state
    failed = found.state.adapters[V1].model_copy(update={"verdict": Verdict.LOAD_FAILED, "reason": reason})
    return replace(found, state=found.state.model_copy(update={"adapters": {V1: failed}}))


REFUSED: list[tuple[str, list[Replica], list[str], list[str]]] = [
    ("nobody refuses it", [engine("x")], [], []),
    ("one does", [engine("x"), doubting("y")], [], [V1]),
    ("its files do not fit, which each agent finds alone", [doubting("y", Reason.UNFIT)], [], []),
    ("the one that does says nothing", [engine("x"), silent("y")], [V1], [V1]),
    ("the one that did is gone", [engine("x")], [V1], []),
    ("it is no member any more", [doubting("y")], ["cardiology-v0-00000000"], [V1]),
]


@pytest.mark.parametrize(
    ("replicas", "before", "expected"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_an_engine_did_not_start_with_is_told_to_the_others(
    replicas: list[Replica], before: list[str], expected: list[str]
) -> None:
    assert left_out({V1}, routes().model_copy(update={"refused": before}), replicas) == expected


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason.REFUSED_BY_ENGINE, "is not restarted for it again: name another adapter"),
        (Reason.UNFIT, "Name an adapter that fits"),
        (Reason.STORE_FAILED, "which is tried again every 30 s"),
    ],
)
def test_what_is_not_tried_again_is_not_waited_for(reason: Reason, expected: str) -> None:
    assert expected in str(proofs.failure(V1, [doubting("x", reason, serves=False)]))


@dataclass
class Pod:
    """An agent that keeps to what is agreed: it stops its engine only by a permit for what it wants."""

    name: str
    running: str
    wanted: str
    incarnation: int = 0
    failed: str | None = None
    starting: str | None = None
    silent: bool = False
    unreached: bool = False
    generation: int = 0
    """Of the routes that it has read."""

    def replica(self) -> Replica:
        """As the operator sees it."""
        if self.silent:
            return Replica(self.name, ready=not self.unreached, state=None, unreached=self.unreached)
        running, restarting = (None, True) if self.starting else (self.running, False)
        mark = f"{self.name} {self.incarnation}"
        seen = engine(self.name, running, self.wanted, failed=self.failed, restarting=restarting, incarnation=mark)
        assert seen.state
        seen = replace(seen, state=seen.state.model_copy(update={"generation": self.generation}))
        served = not restarting
        assert seen.state
        adapters = {V1: seen.state.adapters[V1].model_copy(update={"served": served})}
        return replace(seen, ready=served, state=seen.state.model_copy(update={"adapters": adapters}))

    def read(self, routes: Routes) -> None:
        """Routes come in."""
        permit, self.generation = routes.permit, routes.generation
        mine = permit and permit.incarnation == f"{self.name} {self.incarnation}" and permit.engine_set == self.wanted
        if mine and not self.starting and self.wanted not in {self.running, self.failed}:
            self.starting = self.wanted

    def end(self, *, well: bool) -> None:
        """The engine answers, or the former set does again."""
        if self.starting:
            self.running, self.failed = (self.starting, self.failed) if well else (self.running, self.starting)
        self.starting = None


class World:
    """Two or three pods, and an operator that sees of them what it can."""

    def __init__(self, pods: int) -> None:
        self.pods = [Pod(f"engine-{number}", A, A) for number in range(pods)]
        self.routes = routes()

    def reconcile(self) -> None:
        """By a fresh operator; to do it twice changes nothing."""
        seen = [pod.replica() for pod in self.pods]
        turn = next_turn(self.routes, seen, len(self.pods))
        permit = turn.permit if isinstance(turn, Turn) else None
        if permit != self.routes.permit:
            self.routes = routes(permit, generation=self.routes.generation + 1)
        if isinstance(turn, Turn):
            self.look(turn, seen)
        again = next_turn(self.routes, seen, len(self.pods))
        assert (again.permit if isinstance(again, Turn) else None) == self.routes.permit

    @staticmethod
    def look(turn: Turn, seen: list[Replica]) -> None:
        """Who answers before an engine may be stopped still does afterwards, by another's word."""
        holder = next(replica for replica in seen if replica.name == turn.permit.pod)
        answers = [replica for replica in seen if replica.state and replica.state.serves(V1) and replica.counts]
        if not turn.given:
            assert answers == [] or answers != [holder]
        elif holder.state and holder in answers:
            assert answers != [holder], "it has not begun, and is needed by now"

    def happen(self, what: str, which: int, engine_set: str) -> None:
        """One event."""
        pod = self.pods[which % len(self.pods)]
        match what:
            case "reconcile":
                self.reconcile()
            case "routes are read":
                pod.read(self.routes)
            case "wants":  # it has gathered changes for seconds, and routes came in meanwhile
                pod.read(self.routes)
                pod.wanted = engine_set
            case "comes up" | "does not come up":
                pod.end(well=what == "comes up")
            case "dies":
                self.pods[self.pods.index(pod)] = Pod(f"{pod.name}'", pod.wanted, pod.wanted)
            case "its agent dies":
                pod.incarnation += 1
            case "falls silent" | "is lost" | "answers":
                pod.silent, pod.unreached = what != "answers", what == "is lost"

    def calm(self) -> None:
        """Nothing goes wrong any more."""
        for pod in self.pods:
            pod.silent = False
        for _ in range(6 * len(self.pods)):
            self.reconcile()
            for pod in self.pods:
                pod.read(self.routes)
            assert sum(pod.starting is not None for pod in self.pods) <= 1
            for pod in self.pods:
                pod.end(well=True)


EVENTS = ("reconcile", "reconcile", "routes are read", "wants", "comes up", "does not come up", "dies")
events = st.tuples(
    st.sampled_from([*EVENTS, "its agent dies", "falls silent", "is lost", "answers"]),
    st.integers(0, 2),
    st.sampled_from([A, B, C]),
)


@settings(max_examples=400 * TIMES, deadline=None)
@given(st.integers(2, 3), st.lists(events, min_size=20, max_size=50))
def test_never_do_two_engines_restart_at_once_and_each_gets_what_it_wants(
    pods: int, hand: list[tuple[str, int, str]]
) -> None:
    world = World(pods)
    for what, which, engine_set in hand:
        world.happen(what, which, engine_set)
        assert sum(pod.starting is not None for pod in world.pods) <= 1
    world.calm()
    failed = {pod.failed for pod in world.pods}
    assert all(pod.running == pod.wanted or pod.wanted in failed for pod in world.pods)
    assert world.routes.permit is None
