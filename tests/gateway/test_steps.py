"""What the agent does next, and when its pod is Ready. Pure."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.artifacts import BASE
from support.gateway import PATIENCE, routes
from support.results import digest

from wardrobe_contracts.probes import Probes
from wardrobe_contracts.routes import RoutedAdapter, Verification, engine_adapter_name
from wardrobe_contracts.state import ProofNumbers, Reason, Verdict
from wardrobe_gateway.agent import outcomes, readiness, steps
from wardrobe_gateway.agent.adapters import AdapterSet, LocalAdapter
from wardrobe_gateway.agent.fetch import Fetched
from wardrobe_gateway.agent.outcomes import Busy, Failed, Loaded, Outcome, Unanswered
from wardrobe_gateway.agent.proof import Judgement
from wardrobe_gateway.agent.steps import Drop, Fetch, Load, Observed, Prove, Step, Unload, next_step

LETTERS = "abcd"


def adapter(letter: str, *departments: str) -> RoutedAdapter:
    return RoutedAdapter(
        engine_name=engine_adapter_name("cardiology-v1", digest(letter)),
        adapter="cardiology-v1",
        departments=list(departments) or ["cardiology"],
        artifact="somewhere",
        digest=digest(letter),
        manifest_digest=digest("e"),
    )


A, B = adapter("a"), adapter("b")
FETCHED = Fetched(Path("copy"), Probes(adapter_digest=digest("a"), base_digest=BASE, seed=0, probes=[]))
NEW = LocalAdapter(A)
COPIED = replace(NEW, fetched=FETCHED)
LOADED = replace(COPIED, loaded=True)
PROVED = replace(LOADED, verdict=Verdict.APPLIED, reason=Reason.PROVED, due=100.0)


def step(*adapters: LocalAdapter, up: bool = True, now: float = 1.0, **observed: Any) -> Step | None:
    by_name = {local.name: local for local in adapters}
    return next_step(by_name, Observed(now, up, PATIENCE, **observed))


def test_one_adapter_goes_its_way() -> None:
    assert step(NEW) == Fetch(A.engine_name)
    assert step(NEW, up=False) == Fetch(A.engine_name)
    assert step(COPIED) == Load(A.engine_name)
    assert step(COPIED, up=False) is None
    assert step(LOADED) == Prove(A.engine_name)
    assert step(PROVED) is None
    assert step(PROVED, now=101.0) == Prove(A.engine_name)
    assert step(replace(NEW, due=5.0)) is None


def test_the_routed_come_first_and_all_are_loaded_before_any_is_proved() -> None:
    other = replace(NEW, routed=B)
    assert step(NEW, other, routed=frozenset({B.engine_name})) == Fetch(B.engine_name)
    assert step(LOADED, replace(COPIED, routed=B)) == Load(B.engine_name)


def test_who_left_is_dropped_after_a_while_and_not_under_a_request() -> None:
    left = replace(PROVED, left=0.0)
    late = PATIENCE.leave + 1
    assert step(left) is None
    assert step(left, now=late, in_flight={A.engine_name: 1}) is None
    assert step(left, now=late) == Drop(A.engine_name)
    assert step(replace(COPIED, left=0.0)) == Drop(A.engine_name)  # the engine never had it


def test_first_proofs_come_before_repetitions_and_repetitions_are_spaced() -> None:
    new = replace(LOADED, routed=B)
    assert step(PROVED, new, now=101.0, routed=frozenset({A.engine_name})) == Prove(B.engine_name)
    assert step(PROVED, now=101.0, repeat_from=102.0) is None
    assert step(new, now=101.0, repeat_from=102.0) == Prove(B.engine_name)
    assert step(replace(PROVED, due=0.0, urgent=True), now=101.0, repeat_from=102.0) == Prove(A.engine_name)
    assert step(replace(PROVED, due=50.0), replace(PROVED, routed=B, due=40.0), now=101.0) == Prove(B.engine_name)
    assert step(PROVED, replace(COPIED, routed=B, left=0.0), now=101.0) == Drop(B.engine_name)


def test_a_slow_copy_is_waited_for_a_moment_by_its_department_and_takes_nobodys_turn() -> None:
    slow = replace(NEW, routed=B)
    assert step(LOADED, slow, fetching={B.engine_name: 0.5}) is None
    assert step(LOADED, slow, fetching={B.engine_name: 0.5}, now=1 + steps.SIBLING_SECONDS) == Prove(A.engine_name)
    foreign = replace(NEW, routed=adapter("c", "paediatrics"))
    assert step(LOADED, foreign, fetching={foreign.name: 0.5}) == Prove(A.engine_name)
    failed_before = replace(slow, verdict=Verdict.LOAD_FAILED)
    assert step(LOADED, failed_before, fetching={B.engine_name: 0.5}) == Prove(A.engine_name)
    full = {f"copy {number}": 0.0 for number in range(steps.FETCHES)}
    assert step(NEW, fetching=full) is None


def test_a_copy_that_cannot_begin_yet_is_waited_for_as_well() -> None:
    others = {f"copy {number}": 0.5 for number in range(steps.FETCHES)}
    assert step(LOADED, replace(NEW, routed=B), fetching=others) is None
    assert step(LOADED, replace(NEW, routed=B), fetching=others, now=1 + steps.SIBLING_SECONDS) == Prove(A.engine_name)
    assert step(LOADED, replace(NEW, routed=adapter("c", "paediatrics")), fetching=others) == Prove(A.engine_name)


def test_what_only_the_engine_knows_is_unloaded() -> None:
    has = frozenset({A.engine_name, "x"})
    assert step(COPIED, has=has) == Unload("x")
    assert step(COPIED, has=has, up=False) is None
    assert step(COPIED, has=has, unload_from={"x": 2.0}) == Load(A.engine_name)


GOOD = Judgement(Verdict.APPLIED, Reason.PROVED, "")
BAD = Judgement(Verdict.NOT_APPLIED, Reason.ANSWERS_AS_BASE, "as the base")


def after(local: LocalAdapter, *came: Outcome, seconds: float = 1.0) -> LocalAdapter:
    """At 1000 s, where what is proved is proved again after 300 s."""
    for outcome in came:
        local = outcomes.after(local, outcome, 1000.0, seconds, PATIENCE)
    return local


def test_an_adapter_after_its_steps() -> None:
    assert after(NEW, FETCHED) == COPIED
    assert after(COPIED, Loaded()) == LOADED
    assert after(LOADED, GOOD) == replace(LOADED, verdict=Verdict.APPLIED, reason=Reason.PROVED, due=1300.0)
    failed = Failed(Verdict.LOAD_FAILED, Reason.STORE_FAILED, "no such file")
    assert after(NEW, failed).message == "no such file"
    assert after(NEW, failed).due == 1000.0 + PATIENCE.retry
    assert after(NEW, failed, seconds=100.0).due == 1400.0  # four times what it took
    assert (after(LOADED, Busy("full")).message, after(PROVED, Busy("full")).message) == ("full", "")


def test_what_was_proved_is_taken_away_by_a_second_failure() -> None:
    once = after(PROVED, BAD)
    assert (once.verdict, once.failed, once.urgent, once.due) == (Verdict.APPLIED, True, True, 0.0)
    twice = after(once, BAD)
    assert (twice.verdict, twice.failed, twice.urgent) == (Verdict.NOT_APPLIED, False, False)
    assert after(once, GOOD).verdict is Verdict.APPLIED
    assert not after(once, GOOD).failed
    assert after(once, Unanswered()).verdict is Verdict.APPLIED
    assert after(LOADED, BAD).verdict is Verdict.NOT_APPLIED  # the first proof counts at once


def test_following_routes() -> None:
    adapters = AdapterSet()
    adapters.follow(routes([A], {"cardiology": A.engine_name}), 1.0)
    adapters.change(A.engine_name, fetched=FETCHED, loaded=True, verdict=Verdict.APPLIED, reason=Reason.PROVED)
    adapters.follow(routes([adapter("a", "cardiology", "renal"), B], {"cardiology": A.engine_name}), 2.0)
    assert adapters.by_name[A.engine_name].verdict is Verdict.APPLIED
    assert adapters.by_name[A.engine_name].routed.departments == ["cardiology", "renal"]
    adapters.follow(routes([B], {"cardiology": B.engine_name}), 3.0)
    assert adapters.by_name[A.engine_name].left == 3.0
    adapters.follow(routes([A, B], {"cardiology": A.engine_name}), 4.0)
    assert adapters.by_name[A.engine_name].left is None
    probed_again = A.model_copy(update={"manifest_digest": digest("f")})
    adapters.follow(routes([probed_again, B], {"cardiology": A.engine_name}), 5.0)
    assert adapters.by_name[A.engine_name].fetched is None
    assert adapters.by_name[A.engine_name].verdict is Verdict.PENDING


def test_losing_the_engine_takes_back_what_it_was_given_and_nothing_else() -> None:
    adapters = AdapterSet()
    adapters.by_name = {A.engine_name: PROVED, B.engine_name: replace(NEW, routed=B, verdict=Verdict.DIGEST_MISMATCH)}
    adapters.lose_engine(Reason.ENGINE_DOWN, "gone")
    assert adapters.by_name[A.engine_name].verdict is Verdict.PENDING
    assert not adapters.by_name[A.engine_name].loaded
    assert adapters.by_name[B.engine_name].verdict is Verdict.DIGEST_MISMATCH
    assert adapters.served(Verification.ENFORCE) == frozenset()


def test_losing_the_engine_takes_back_what_is_being_copied_anew() -> None:
    adapters = AdapterSet()
    adapters.by_name = {A.engine_name: replace(PROVED, fetched=None)}
    adapters.lose_engine(Reason.ENGINE_DOWN, "gone")
    assert not adapters.by_name[A.engine_name].loaded
    assert adapters.by_name[A.engine_name].verdict is Verdict.PENDING


def test_any_message_can_be_shown() -> None:
    adapters = AdapterSet()
    adapters.by_name = {A.engine_name: NEW}
    adapters.change(A.engine_name, message="it has \ud800")
    state = adapters.by_name[A.engine_name].state(Verification.ENFORCE, in_flight=0)
    assert "it has \\\\ud800" in state.model_dump_json()


NUMBERS = ProofNumbers(probes=1, tokens=9, separation=1.0, allowed=0.1, own=0.0, base=1.0, engine_base=0.0)
PROOF_FAILED = Judgement(Verdict.DIVERGED, Reason.PROOF_FAILED, "the engine did not answer the probes within 180 s")


def test_one_at_which_the_engine_ends_is_left_out_longer_each_time_up_to_an_hour() -> None:
    local, pauses = replace(LOADED, ends=0), []
    for ends in range(1, 11):
        local = outcomes.after_end(replace(local, loaded=True, due=0.0), "no memory", 1000.0, PATIENCE)
        assert local.ends == ends
        pauses.append(local.due - 1000.0 if local.verdict is Verdict.LOAD_FAILED else None)
    assert pauses == [None, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert not local.loaded
    assert local.message.endswith("tried again in 3600 s: no memory")


def test_only_a_proof_that_was_answered_makes_up_for_ends() -> None:
    """What hangs an engine ends it, too, some time after its proof was given up."""
    ended = replace(LOADED, ends=1)
    assert after(ended, PROOF_FAILED).ends == 1
    assert after(ended, Busy("away")).ends == 1
    assert after(ended, replace(BAD, numbers=NUMBERS)).ends == 0
    assert after(ended, replace(GOOD, numbers=NUMBERS)).ends == 0


def test_what_is_left_out_stays_so_when_the_engine_ends_by_another() -> None:
    adapters = AdapterSet()
    out = outcomes.after_end(replace(LOADED, ends=1), "no memory", 1000.0, PATIENCE)
    adapters.by_name = {A.engine_name: out, B.engine_name: replace(PROVED, routed=B)}
    adapters.lose_engine(Reason.ENGINE_DOWN, "gone")
    assert adapters.by_name[A.engine_name] == out
    assert adapters.by_name[B.engine_name].verdict is Verdict.PENDING


def test_doubt_falls_on_loaded_others_and_siblings_share_a_department() -> None:
    foreign = adapter("c", "paediatrics")
    adapters = AdapterSet()
    adapters.by_name = {
        A.engine_name: PROVED,
        B.engine_name: replace(PROVED, routed=B),
        foreign.engine_name: replace(PROVED, routed=foreign),
    }
    assert adapters.siblings(A.engine_name) == [B.engine_name]
    adapters.doubt(A.engine_name)
    assert [(local.due, local.urgent) for local in adapters.by_name.values()] == [
        (100.0, False),
        (0.0, True),
        (0.0, True),
    ]


def test_since_moves_with_verdict_or_reason_only() -> None:
    adapters = AdapterSet()
    adapters.by_name = {A.engine_name: replace(PROVED, since="then")}
    adapters.change(A.engine_name, message="x", due=1.0)
    assert adapters.by_name[A.engine_name].since == "then"
    adapters.change(A.engine_name, reason=Reason.TOO_CLOSE)
    assert adapters.by_name[A.engine_name].since != "then"
    adapters.change("nobody", message="x")


@given(st.sampled_from(list(Verdict)), st.booleans())
def test_only_applied_is_served_unless_proofs_are_only_reported(verdict: Verdict, loaded: bool) -> None:
    local = replace(NEW, verdict=verdict, loaded=loaded)
    assert local.served(Verification.ENFORCE) == (loaded and verdict is Verdict.APPLIED)
    never = {Verdict.PENDING, Verdict.DIGEST_MISMATCH, Verdict.LOAD_FAILED}
    assert local.served(Verification.REPORT) == (loaded and verdict not in never)


def test_opening() -> None:
    first = {A.engine_name, B.engine_name}
    bad = replace(NEW, routed=B, verdict=Verdict.LOAD_FAILED)
    assert not readiness.has_opened(
        first, {A.engine_name: PROVED, B.engine_name: replace(NEW, routed=B)}, frozenset({A.engine_name})
    )
    assert readiness.has_opened(first, {A.engine_name: PROVED, B.engine_name: bad}, frozenset({A.engine_name}))
    assert readiness.has_opened(first, {A.engine_name: PROVED}, frozenset({A.engine_name}))  # the other has left
    assert not readiness.has_opened({B.engine_name}, {B.engine_name: bad}, frozenset())
    assert not readiness.has_opened((), {}, frozenset())


SETS = st.frozensets(st.sampled_from(LETTERS))


@given(SETS, SETS, st.booleans(), st.booleans(), st.booleans())
def test_ready_means_that_something_routed_is_answered(
    served: frozenset[str],
    routed: frozenset[str],
    opened: bool,
    up: bool,
    draining: bool,
) -> None:
    ready = readiness.is_ready(served, routed, opened=opened, engine_up=up, draining=draining)
    assert ready == (opened and up and not draining and bool(served & (routed or served)))
