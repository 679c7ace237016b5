"""Which set an engine that takes adapters when it starts should have, and what is done about it. Pure."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gateway import PATIENCE
from support.results import digest

from wardrobe_contracts.engine_process import Ended, ProcessOrder, ProcessState, Start
from wardrobe_gateway.agent.engine_process import words
from wardrobe_gateway.agent.engine_set import (
    DRAIN_SECONDS,
    MOST_ENDS,
    TRIAL_STARTS,
    Accept,
    Begin,
    CallOff,
    Confirm,
    Drain,
    GiveUp,
    Names,
    Resume,
    Situation,
    choose,
    decide,
    needs_permit,
)
from wardrobe_gateway.agent.steps import OwnStep

TRIAL_SECONDS = TRIAL_STARTS * PATIENCE.start
A, B = digest("a"), digest("b")
OLD, NEW = Start(engine_set=A), Start(engine_set=B)
SERVES = ProcessOrder(start=OLD, accepted=True, proved=True)
TRIAL = ProcessOrder(start=NEW, fallback=OLD, accepted=True)
UNPROVED = TRIAL.model_copy(update={"proved": True, "unproved": ["x"]})
STARTS = ProcessOrder(start=NEW, fallback=OLD)
FIRST = ProcessOrder(start=NEW)
AGAIN = ProcessOrder(start=NEW, fallback=OLD, ended_before="one")
RUNS = ProcessState(incarnation="two", engine_set=B)
DIED = Ended(incarnation="one", engine_set=B, code=1, message="no memory")


def names(text: str) -> Names:
    return frozenset(text)


@pytest.mark.parametrize(
    ("fitting", "running", "failed", "chosen"),
    [
        ("ab", "", [], "ab"),  # all at once
        ("abc", "ab", [], "abc"),
        ("b", "ab", [], "b"),  # who leaves is not asked for any more; what runs has it all
        ("abc", "a", ["abc"], "ab"),  # after a failure one at a time
        ("abc", "ab", ["abc"], "ab"),  # the last one is the bad one
        ("abc", "a", ["abc", "ab"], "ac"),
        ("abc", "ac", ["abc", "ab"], "ac"),
        ("ab", "", ["ab"], "a"),  # a first start, too
        ("ab", "", ["ab", "a"], "b"),
        ("ab", "", ["ab", "a", "b"], ""),  # each alone: nothing is left to try
        ("abcd", "a", ["abc"], "ab"),  # a larger one with the same is no better
        ("acd", "a", ["abc"], "acd"),  # another set is tried anew
        ("cba", "", ["abc"], "c"),  # in order of need
    ],
)
def test_which_adapters_an_engine_should_have(fitting: str, running: str, failed: list[str], chosen: str) -> None:
    assert choose(list(fitting), names(running), [names(one) for one in failed]) == names(chosen)


@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef"), max_size=2))
def test_bad_adapters_keep_no_good_one_out(wanted: set[str], bad: set[str]) -> None:
    running: Names = frozenset()
    failed: list[Names] = []
    for _ in range(2 * len(wanted) + 2):
        chosen = choose(sorted(wanted), running, failed)
        if chosen <= running:
            break
        if chosen & bad:
            failed.append(chosen)
        else:
            running = chosen
    assert running == wanted - bad


@given(st.sets(st.sampled_from("abcde"), min_size=2))
def test_two_that_cannot_be_together_keep_no_third_out(wanted: set[str]) -> None:
    pairs = [frozenset(pair) for pair in combinations(sorted(wanted), 2)]
    running: Names = frozenset()
    failed: list[Names] = []
    while not (chosen := choose(sorted(wanted), running, failed)) <= running:
        if chosen >= pairs[0]:
            failed.append(chosen)
        else:
            running = chosen
    assert len(running) == len(wanted) - 1


def situation(order: ProcessOrder | None, **more: Any) -> Situation:
    return replace(Situation(1000.0, PATIENCE, order=order, ordered_at=999.0), **more)


@pytest.mark.parametrize(
    ("at", "step"),
    [
        # nothing ran yet
        (situation(None), None),
        (situation(None, wanted=B), Begin()),
        # an engine that serves
        (situation(SERVES, answering=A), None),
        (situation(SERVES, answering=A, wanted=B), None),
        (situation(SERVES, answering=A, wanted=B, permitted=A), None),
        (situation(SERVES, answering=A, wanted=B, permitted=B), Drain()),
        (situation(SERVES, wanted=B, permitted=B), Drain()),  # or should: the container is being started anew
        (situation(SERVES, answering=A, permitted=B), None),
        # is drained, even where the permit is taken back meanwhile
        (situation(SERVES, wanted=B, permitted=B, drained_from=999.0, in_flight=1), None),
        (situation(SERVES, wanted=B, drained_from=999.0), Begin()),
        (situation(SERVES, wanted=B, drained_from=1000.0 - DRAIN_SECONDS, in_flight=1), Begin()),
        (situation(SERVES, answering=A, drained_from=999.0), CallOff()),  # nothing is wanted any more
        # and starts
        (situation(STARTS), None),
        (situation(STARTS, answering=A), None),  # the one before, not told to end yet
        (situation(STARTS, answering=B, process=RUNS), Accept()),
        (situation(STARTS, answering=B), None),  # it has ended since
        (situation(STARTS, answering=B, process=ProcessState(incarnation="three", engine_set=A)), None),
        (situation(STARTS, answering=B, process=RUNS, wanted=A, permitted=A), Accept()),
        (situation(STARTS, process=ProcessState(ended=DIED)), GiveUp(words(DIED))),
        (situation(AGAIN, process=ProcessState(ended=DIED)), None),  # of an earlier try
        (
            situation(STARTS, now=999.0 + PATIENCE.start),
            GiveUp("the engine did not answer within 900 s after its start"),
        ),
        # a first start that failed
        (situation(FIRST, process=ProcessState(ended=DIED)), GiveUp(words(DIED))),
        (situation(FIRST, process=ProcessState(ended=DIED), given_up=True), None),
        (situation(FIRST, given_up=True, wanted=A), Begin()),
        (situation(FIRST, given_up=True, answering=B, process=RUNS), Accept()),  # it was only slow
        (situation(FIRST, given_up=True, ends=MOST_ENDS, answering=B, process=RUNS), None),  # it would end again
        # a set that has come up, and is to be proved
        (situation(TRIAL, answering=B, process=RUNS), None),
        (situation(TRIAL, answering=B, process=RUNS, wanted=A, permitted=A), None),
        (situation(TRIAL, answering=B, process=RUNS, proved_from=1000.0 - PATIENCE.steady + 1), None),  # it may yet end
        (situation(TRIAL, answering=B, process=RUNS, proved_from=1000.0 - PATIENCE.steady), Confirm()),
        (
            situation(TRIAL, answering=B, process=ProcessState(ended=DIED), ends=1, proved_from=0.0),
            None,
        ),  # a moment ago
        (situation(TRIAL, answering=B, process=RUNS, ordered_at=1000.0 - TRIAL_SECONDS), Confirm()),
        (
            situation(TRIAL, process=ProcessState(ended=DIED), ends=1, ordered_at=1000.0 - TRIAL_SECONDS),
            GiveUp(f"it came up, but does not answer 30 minutes later. {words(DIED)}"),
        ),
        (situation(TRIAL, process=ProcessState(ended=DIED), ends=1), None),
        (
            situation(TRIAL, process=ProcessState(ended=DIED), ends=MOST_ENDS),
            GiveUp(f"it came up, and ended 2 times before all of its adapters were proved. {words(DIED)}"),
        ),
        (situation(TRIAL, answering=B, process=RUNS, ends=MOST_ENDS, proved_from=0.0), Confirm()),
        # that has been proved, but for one that was withdrawn before
        (situation(UNPROVED, answering=B, process=RUNS), None),
        (situation(UNPROVED, answering=B, process=RUNS, wanted=A, permitted=A), Drain()),
        (situation(UNPROVED, answering=B, process=RUNS, is_back=True), Resume()),
        (situation(UNPROVED, answering=B, process=RUNS, is_back=True, wanted=A, permitted=A), Resume()),
        (situation(UNPROVED, wanted=A, is_back=True, drained_from=999.0), Begin()),  # without it
        (situation(TRIAL, answering=B, process=RUNS, is_back=True), None),
    ],
)
def test_what_is_done_next(at: Situation, step: OwnStep | None) -> None:
    assert decide(at) == step


def test_the_end_of_another_set_says_nothing_of_this_one() -> None:
    other = DIED.model_copy(update={"engine_set": A})
    assert decide(situation(STARTS, process=ProcessState(ended=other))) is None


def test_who_needs_a_permit() -> None:
    assert not needs_permit(None)
    assert not needs_permit(FIRST)  # it never came up, and serves nobody
    assert needs_permit(STARTS)
    assert needs_permit(SERVES)


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (DIED, "the engine ended by itself (exit code 1):\nno memory"),
        (
            Ended(code=1, message="\n".join([*(f"line {number}" * 20 for number in range(50)), "Error: ShardFailed"])),
            "the engine ended by itself (exit code 1):\n"
            + "".join(f"line {number}" * 20 + "\n" for number in range(44, 50))
            + "Error: ShardFailed",
        ),
        (Ended(code=-9), "the engine ended by itself (killed by signal 9)"),
        (
            Ended(code=0),
            "the engine ended by itself (exit code 0, as if it had been told to end: streams that were under way are "
            "cut)",
        ),
    ],
)
def test_how_an_end_is_said(ended: Ended, said: str) -> None:
    assert words(ended) == said
