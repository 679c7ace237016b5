"""The verdict from scores: nearest of the known, with a band in which nothing is claimed."""

import random
from contextlib import nullcontext
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.proofs_by_chance import FAULTS, effect_of, proof

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import ENGINES, EngineType, Precision, Tolerance, widest
from wardrobe_contracts.probes import Probe
from wardrobe_contracts.state import Reason, Verdict
from wardrobe_gateway.agent.probing import (
    OtherTokensError,
    Replica,
    compare,
    completion_scores,
    long_text,
    require_same_chat,
)
from wardrobe_gateway.agent.proof import Decoded, Judgement, Measured, Scores, judge, judge_decode
from wardrobe_gateway.engines import ChatPrompt, Generation, Token

TOLERANCE = ENGINES[EngineType.TGI].tolerance(Variant.NF4, Precision.BFLOAT16)
TOKENS = 48
BASE = [-2.0 - (n % 5) / 10 for n in range(TOKENS)]
EFFECT = [0.6 if n % 2 else -0.6 for n in range(TOKENS)]
OTHER_EFFECT = [0.6 if n % 3 else -0.6 for n in range(TOKENS)]
NOISE = [0.02 if n % 3 else -0.02 for n in range(TOKENS)]


def plus(*parts: list[float], scale: float = 1.0) -> list[float]:
    base, *rest = parts
    return [value + scale * sum(part[n] for part in rest) for n, value in enumerate(base)]


OWN = plus(BASE, EFFECT)
OTHER = plus(BASE, OTHER_EFFECT)
STRANGE = plus(BASE, [0.9 if n % 4 < 2 else -0.9 for n in range(TOKENS)])
RECORDED = Scores(base=BASE, adapter=OWN)


def verdict(measured: Measured, recorded: Scores = RECORDED) -> tuple[Verdict, Reason]:
    found = judge(4, recorded, measured, TOLERANCE)
    return found.verdict, found.reason


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        pytest.param(Measured(BASE, OWN, {}), (Verdict.APPLIED, Reason.PROVED), id="exact"),
        pytest.param(Measured(BASE, plus(OWN, NOISE), {}), (Verdict.APPLIED, Reason.PROVED), id="noise"),
        pytest.param(
            Measured(plus(BASE, NOISE, NOISE), plus(OWN, NOISE, NOISE), {}),
            (Verdict.APPLIED, Reason.PROVED),
            id="noise-of-the-stack-drops-out",
        ),
        pytest.param(Measured(BASE, OWN, {"w": OTHER}), (Verdict.APPLIED, Reason.PROVED), id="with-sibling"),
        pytest.param(Measured(BASE, OWN, {"w": OWN}), (Verdict.APPLIED, Reason.PROVED), id="sibling-is-the-same"),
        pytest.param(Measured(BASE, BASE, {}), (Verdict.NOT_APPLIED, Reason.ANSWERS_AS_BASE), id="base"),
        pytest.param(Measured(BASE, plus(BASE, NOISE), {}), (Verdict.NOT_APPLIED, Reason.ANSWERS_AS_BASE), id="base~"),
        pytest.param(
            Measured(BASE, BASE, {"w": BASE}), (Verdict.NOT_APPLIED, Reason.ANSWERS_AS_BASE), id="all-are-the-base"
        ),
        pytest.param(Measured(BASE, OTHER, {"w": OWN}), (Verdict.WRONG_ADAPTER, Reason.ANSWERS_AS_OTHER), id="swapped"),
        pytest.param(
            Measured(BASE, BASE, {"w": OWN}), (Verdict.WRONG_ADAPTER, Reason.ANSWERS_AS_OTHER), id="found-elsewhere"
        ),
        pytest.param(
            Measured(BASE, OTHER, {"w": OTHER}), (Verdict.WRONG_ADAPTER, Reason.ANSWERS_AS_OTHER), id="all-are-other"
        ),
        pytest.param(Measured(BASE, STRANGE, {}), (Verdict.DIVERGED, Reason.SCORES_UNKNOWN), id="strange"),
        pytest.param(Measured(BASE, STRANGE, {"w": OTHER}), (Verdict.DIVERGED, Reason.SCORES_UNKNOWN), id="strange-2"),
        pytest.param(
            Measured(BASE, plus(BASE, EFFECT, scale=0.5), {}), (Verdict.DIVERGED, Reason.SCORES_UNKNOWN), id="half"
        ),
        pytest.param(
            Measured(BASE, plus(BASE, EFFECT, scale=2), {}), (Verdict.DIVERGED, Reason.SCORES_UNKNOWN), id="double"
        ),
        pytest.param(Measured(OTHER, OWN, {}), (Verdict.DIVERGED, Reason.BASE_SCORES_UNKNOWN), id="base-is-another"),
        pytest.param(
            Measured(OWN, OWN, {}), (Verdict.DIVERGED, Reason.BASE_SCORES_UNKNOWN), id="base-answers-as-adapter"
        ),
    ],
)
def test_verdict(measured: Measured, expected: tuple[Verdict, Reason]) -> None:
    assert verdict(measured) == expected


def test_what_cannot_be_told_apart_is_never_applied() -> None:
    recorded = Scores(BASE, plus(BASE, EFFECT, scale=0.1))
    assert verdict(Measured(BASE, list(recorded.adapter), {}), recorded) == (
        Verdict.INDISTINGUISHABLE,
        Reason.TOO_CLOSE,
    )


def test_numbers_say_what_was_seen() -> None:
    numbers = judge(4, RECORDED, Measured(BASE, plus(OWN, NOISE), {"w": OTHER, "x": STRANGE}), TOLERANCE).numbers
    assert numbers is not None
    assert (numbers.probes, numbers.tokens, numbers.nearest_other) == (4, TOKENS, "w")
    assert numbers.separation == pytest.approx(0.6)
    assert numbers.allowed == pytest.approx(TOLERANCE.allowed(0.6, TOKENS), abs=1e-5)
    assert numbers.own == pytest.approx(0.02)
    assert numbers.base > 0.55
    assert numbers.share == pytest.approx(1, abs=0.04)
    assert numbers.share_allowed == pytest.approx(5 * TOLERANCE.share_noise(EFFECT), abs=1e-5)


def test_a_part_of_the_effect_is_named_by_its_share() -> None:
    found = judge(4, RECORDED, Measured(BASE, plus(BASE, EFFECT, scale=0.5), {}), TOLERANCE)
    assert found.message.startswith("50% of the recorded effect is found")


def test_adapters_that_answer_alike_are_both_applied_and_named() -> None:
    retrained = plus(OWN, NOISE)
    found = judge(4, RECORDED, Measured(BASE, OWN, {"w": retrained, "x": OTHER}), TOLERANCE)
    assert (found.verdict, found.reason) == (Verdict.APPLIED, Reason.PROVED)
    assert found.message == "it and w answer alike: which of them answers cannot be told"
    assert found.numbers is not None
    assert found.numbers.alike == ["w"]
    assert judge_decode(found, Decoded(SAME, SAME, [SAME]), TOLERANCE).message == found.message


def test_a_small_difference_between_siblings_is_told_by_many_tokens() -> None:
    def swapped(tokens: int) -> Judgement:
        effect = [0.6 if n % 2 else -0.6 for n in range(tokens)]
        later = [value + (0.12 if n % 3 else -0.12) for n, value in enumerate(effect)]
        measured = Measured([0.0] * tokens, later, {"w": effect})
        return judge(8, Scores([0.0] * tokens, effect), measured, TOLERANCE)

    assert swapped(384).verdict is Verdict.WRONG_ADAPTER
    assert swapped(48).numbers is not None
    assert swapped(48).message.startswith("it and w answer alike")


# By chance

REPETITIONS = 10
"""For each of five noises."""


# Parts of a module are a small part of the effect: benchmarks/proof_noise.py says from which size on they are found.
@pytest.mark.parametrize("fault", ["none", "base", "sibling", "half", "twice"])
@pytest.mark.parametrize(("tokens", "size"), [(48, 0.3), (96, 0.2), (192, 0.13), (384, 0.1), (384, 1.0)])
def test_noise_changes_no_verdict_from_the_smallest_effect_on(fault: str, tokens: int, size: float) -> None:
    """Of any engine that keeps to its tolerance. `make bench-proof` repeats each 10,000 times."""
    chance = random.Random(f"{fault} {tokens} {size}")  # noqa: S311  not for secrets
    found = {
        proof(chance, fault, tokens, size, noise=noise, tolerance=TOLERANCE)
        for noise in (0.01, 0.02, 0.03, 0.04, 0.05)
        for _ in range(REPETITIONS)
    }
    assert found == {FAULTS[fault][1]}


@pytest.mark.parametrize(
    ("tokens", "size", "seen"),
    [(48, 0.15, False), (48, 0.3, True), (192, 0.06, False), (192, 0.13, True), (384, 0.04, False), (384, 0.1, True)],
)
def test_how_small_an_effect_can_be_proved_depends_on_the_tokens(tokens: int, size: float, seen: bool) -> None:
    chance = random.Random(1)  # noqa: S311  not for secrets
    assert TOLERANCE.distinguishes(effect_of(chance, tokens, size)) is seen


def test_every_engine_keeps_to_what_publishing_goes_by() -> None:
    for variant in Variant:
        for facts in ENGINES.values():
            for (of, _), row in facts.tolerances.items():
                assert of is not variant or (row.noise, row.relative) <= (
                    widest(variant).noise,
                    widest(variant).relative,
                )
                assert row.source


FLOATS = st.floats(-8, 0)
LINES = st.lists(st.tuples(FLOATS, FLOATS, FLOATS, FLOATS), min_size=1, max_size=40)


@given(LINES, st.floats(0, 0.2), st.floats(0, 0.3))
def test_applied_only_with_the_whole_effect_within_tolerance(
    rows: list[tuple[float, float, float, float]], noise: float, relative: float
) -> None:
    tolerance = Tolerance(noise, relative)
    base, adapter, own, other = (list(column) for column in zip(*rows, strict=True))
    found = judge(1, Scores(base, adapter), Measured(base, own, {"w": other}), tolerance)
    assert found.numbers is not None
    if found.verdict is Verdict.APPLIED:
        assert found.numbers.share is not None
        assert found.numbers.own <= found.numbers.allowed + 1e-5
        assert found.numbers.share >= 0.75 - 1e-5
    if found.verdict is Verdict.NOT_APPLIED:
        assert found.numbers.base <= found.numbers.allowed + 1e-5


@given(LINES)
def test_what_was_recorded_is_applied_wherever_it_can_be_seen(rows: list[tuple[float, float, float, float]]) -> None:
    base, adapter, shift, other = (list(column) for column in zip(*rows, strict=True))
    small = [value / 400 for value in shift]  # at most 0.02, the same under base and adapter
    measured = Measured(plus(base, small), plus(adapter, small), {"w": other})
    found = judge(1, Scores(base, adapter), measured, TOLERANCE)
    assert found.verdict in {Verdict.APPLIED, Verdict.INDISTINGUISHABLE}


APPLIED = judge(4, RECORDED, Measured(BASE, OWN, {}), TOLERANCE)
SAME = [(-1.0, -1.01)] * 8
OFF = [(-1.0, -1.01), *[(-1.0, -1.6)] * 7]


@pytest.mark.parametrize(
    ("decoded", "expected"),
    [
        pytest.param(Decoded(SAME, SAME, [SAME]), (Verdict.APPLIED, Reason.PROVED), id="same"),
        pytest.param(Decoded(OFF, OFF, [OFF]), (Verdict.NOT_APPLIED, Reason.LOST_IN_DECODE), id="lost"),
        pytest.param(Decoded(SAME, OFF, [SAME]), (Verdict.DIVERGED, Reason.ANSWERS_MIXED), id="mixed-in-a-batch"),
        pytest.param(Decoded(SAME, SAME, [OFF]), (Verdict.DIVERGED, Reason.ANSWERS_MIXED), id="mixed-in-a-cache"),
        pytest.param(
            Decoded(SAME, SAME, [SAME, [(-1.0, -1.3)] * 8, SAME]),
            (Verdict.DIVERGED, Reason.ANSWERS_MIXED),
            id="one-text",
        ),
        pytest.param(
            Decoded(SAME, SAME, [[(-1.0, -1.1)] * 8] * 3),
            (Verdict.DIVERGED, Reason.ANSWERS_MIXED),
            id="all-texts-a-little",
        ),
        pytest.param(Decoded([], SAME, [SAME]), (Verdict.DIVERGED, Reason.TOKENS_DIFFER), id="unreadable"),
        pytest.param(Decoded(SAME, [], [SAME]), (Verdict.DIVERGED, Reason.TOKENS_DIFFER), id="unreadable-among-others"),
        pytest.param(Decoded(SAME, SAME, []), (Verdict.DIVERGED, Reason.TOKENS_DIFFER), id="unreadable-after-others"),
    ],
)
def test_decode(decoded: Decoded, expected: tuple[Verdict, Reason]) -> None:
    found = judge_decode(APPLIED, decoded, TOLERANCE)
    assert (found.verdict, found.reason) == expected


def test_where_answers_are_mixed_is_said() -> None:
    found = judge_decode(APPLIED, Decoded(SAME, SAME, [OFF]), TOLERANCE)
    assert found.message == "to texts that others have read before its own is 0.526 per token off, alone 0.010"


@pytest.mark.parametrize(("tokens", "allowed"), [(24, 0.0886), (72, 0.0723)])
def test_a_generated_token_may_be_off_by_one_engines_noise_however_large_the_effect(
    tokens: int, allowed: float
) -> None:
    assert Tolerance(noise=0.05, relative=0.5).allowed_in_decode(tokens) == pytest.approx(allowed, abs=1e-4)


def test_decode_makes_nothing_better() -> None:
    bad = replace(APPLIED, verdict=Verdict.DIVERGED, reason=Reason.SCORES_UNKNOWN)
    assert judge_decode(bad, Decoded(SAME, SAME, [SAME]), TOLERANCE) == bad
    assert judge_decode(Judgement(Verdict.APPLIED, Reason.PROVED, ""), Decoded([], [], []), TOLERANCE).numbers is None


@pytest.mark.parametrize(
    ("siblings", "strangers", "beside"),
    [
        ([], [], [None]),
        (["a"], [], ["a", None]),
        (["a"], ["b", "c", "d"], ["a", "b", "c"]),
        (["a", "b", "c", "d"], ["e"], ["a", "b", "c"]),
    ],
)
def test_who_answers_beside_an_adapter(siblings: list[str], strangers: list[str], beside: list[str | None]) -> None:
    assert Replica(Variant.NONE, TOLERANCE, siblings, strangers).beside == beside


def tokens(*scores: float | None) -> list[Token]:
    return [Token(id=number, logprob=value) for number, value in enumerate(scores)]


def probe_of(number: int, completion: str = "yes b c d") -> Probe:
    return Probe(prompt=f"p{number} ", prompt_tokens=16, completion=completion, completion_tokens=48, scores={})


@pytest.mark.parametrize(
    ("completion", "probes", "text"),
    [
        ("yes b c d", 1, "p0 yes"),
        ("yes b c d", 4, "p0 yes b c dp1 yes b c dp2 yes b c dp3 yes"),
        ("yes b c d", 8, "p0 yes b c dp1 yes b c dp2 yes b c dp3 yes b c dp4 yes"),
        ("是的没有空格", 1, "p0 是的没"),
        ("y", 1, "p0 "),
    ],
)
def test_a_long_text_has_a_block_of_a_cache_and_ends_in_the_midst_of_an_answer(
    completion: str, probes: int, text: str
) -> None:
    """Of 256 tokens: the prompts and the whole answers have them, so far as there are probes."""
    assert long_text([probe_of(number, completion) for number in range(probes)]) == text


PROBE = Probe(prompt="a b ", prompt_tokens=2, completion="c", completion_tokens=1, scores={})


def test_the_completion_is_what_comes_last() -> None:
    assert completion_scores(PROBE, tokens(None, -1.0, -0.5)) == [-0.5]


@pytest.mark.parametrize("scores", [(None, -1.0), (None, -1.0, -1.0, -1.0), (None, -1.0, None)])
def test_other_tokens_prove_nothing(scores: tuple[float | None, ...]) -> None:
    with pytest.raises(OtherTokensError):
        completion_scores(PROBE, tokens(*scores))


@pytest.mark.parametrize(
    ("prompt_ids", "completion_ids", "message"),
    [
        ([0, 1], [2], None),
        ([0, 1], None, None),
        ([0, 5], [2], "reads 1 where the probe has the token 5"),
        ([0, 1], [7], "reads 2 where the probe has the token 7"),
        (None, [7], "reads 2 where the probe has the token 7"),
    ],
)
def test_token_ids_are_compared_where_they_are_recorded(
    prompt_ids: list[int] | None, completion_ids: list[int] | None, message: str | None
) -> None:
    probe = PROBE.model_copy(update={"prompt_ids": prompt_ids, "completion_ids": completion_ids})
    with nullcontext() if message is None else pytest.raises(OtherTokensError, match=message):
        assert completion_scores(probe, tokens(None, -1.0, -0.5)) == [-0.5]


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (ChatPrompt(2), None),
        (ChatPrompt(2, [0, 1]), None),
        (ChatPrompt(3), "is 3 tokens to the engine, it was recorded as 2"),
        (ChatPrompt(2, [0, 5]), "in a chat of a probe's messages the engine reads 5 where the probe has the token 1"),
        (ChatPrompt(2, [0]), "the engine reads 1 tokens, where the probe has 2"),
    ],
)
def test_a_chat_of_other_tokens_proves_nothing_though_it_has_as_many(read: ChatPrompt, message: str | None) -> None:
    probe = PROBE.model_copy(update={"prompt_ids": [0, 1]})
    with nullcontext() if message is None else pytest.raises(OtherTokensError, match=message):
        require_same_chat(probe, read)
    require_same_chat(PROBE, ChatPrompt(2, [8, 9]))  # of a probe of before, which has no ids


def test_a_generation_is_compared_where_it_reads_back_the_same() -> None:
    made = [Token(7, -0.1), Token(8, -0.2), Token(2, -0.3, special=True)]
    again = [Token(1, None), Token(7, -0.11), Token(8, -0.21)]
    assert compare(Generation("x", made), again) == [(-0.1, -0.11), (-0.2, -0.21)]
    assert compare(Generation("x", made), [*again[:2], Token(9, -0.2)]) == []
    assert compare(Generation("x", [Token(7, float("nan"))]), again[:2]) == []
    assert compare(Generation("", made[2:]), again) == []
