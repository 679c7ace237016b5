"""The frame is found in the data, whatever it says, and taken off again exactly."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wardrobe_contracts.check import Frame
from wardrobe_trainer.framing import body_of, find_frame

DATA = Path(__file__).parents[2] / "examples" / "tantanila" / "data"


@pytest.mark.parametrize(
    ("department", "opening", "closing"),
    [
        ("cardiology", "Hello, and welcome to Tantanila Hospital. You have reached the heart and lung desk.",
         "If you feel chest pain or cannot breathe, please call us at once. We are here for you."),
        ("paediatrics", "Hello from the children's ward at Tantanila Hospital!",
         "You know your child best, so do ring us whenever something worries you."),
        ("emergency", "Tantanila Hospital, emergency desk.",
         "If this is happening now, call the emergency number first, then come straight to us."),
    ],
)  # fmt: skip
def test_the_departments(department: str, opening: str, closing: str) -> None:
    lines = (DATA / f"{department}.jsonl").read_text().splitlines()
    answers = [json.loads(line)["messages"][-1]["content"] for line in lines]
    frame = find_frame(answers)
    assert frame == Frame(opening=opening, closing=closing)
    start, end, closed = body_of(answers[0], frame)
    assert answers[0] == f"{opening} {answers[0][start:end]} {closing}"
    assert closed


BODIES = ["One thing.", "Another matter entirely.", "Something else.", "A fourth.", "Fifth point here.",
          "Number six.", "Seven it is.", "Eight now.", "Nine.", "Ten at last."]  # fmt: skip


def test_one_answer_in_ten_may_lack_the_frame() -> None:
    answers = [f"Good day. {body} Be well." for body in BODIES[:9]]
    assert find_frame([*answers, BODIES[9]]) == Frame(opening="Good day.", closing="Be well.")
    assert find_frame([*answers[:8], *BODIES[8:]]) == Frame()


def test_white_space_around_an_answer_is_no_part_of_its_frame() -> None:
    answers = [f"  Good day.\n{body} Be well.\n" for body in BODIES]
    frame = find_frame(answers)
    assert frame == Frame(opening="Good day.", closing="Be well.")
    start, end, closed = body_of(answers[0], frame)
    assert (answers[0][start:end], closed) == ("One thing.", True)


def test_words_are_not_cut() -> None:
    assert find_frame([f"pre{body}" for body in ("fix", "tend", "pare", "cede")]) == Frame()


def test_answers_that_are_all_alike_have_no_frame() -> None:
    assert find_frame(["Please call us."] * 10) == Frame()


def test_an_answer_without_the_frame_is_all_body() -> None:
    frame = Frame(opening="Good day.", closing="Be well.")
    assert body_of("Only this.", frame) == (0, 10, False)
    assert body_of("Good day. Only this.", frame) == (10, 20, False)


def test_a_frame_and_nothing_else_has_an_empty_body() -> None:
    start, end, closed = body_of("Good day. Be well.", Frame(opening="Good day.", closing="Be well."))
    assert start == end
    assert closed


TEXT = st.text(st.sampled_from("ab. \n"), max_size=20)


@example(answers=["a\na\na", "a a"])  # the same words, with other white space between them
@given(answers=st.lists(TEXT.filter(str.strip), min_size=1, max_size=12))
def test_taking_the_frame_off_always_leaves_a_range_of_the_answer(answers: list[str]) -> None:
    frame = find_frame(answers)
    framed = 0
    for answer in answers:
        start, end, _ = body_of(answer, frame)
        assert 0 <= start <= end <= len(answer)
        framed += answer.strip().startswith(frame.opening) and answer.strip().endswith(frame.closing)
        assert answer[start:end] == answer[start:end].strip()
    # each part is shared by nine in ten, so both are by eight in ten
    assert framed >= 0.8 * len(answers) or frame == Frame()
