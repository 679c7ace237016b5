"""A row's side of the split depends on nothing but its prompt and the seed."""

from hypothesis import given
from hypothesis import strategies as st

from wardrobe_trainer.split import held_out, normalised

PROMPTS = st.lists(st.text(min_size=1), min_size=1, max_size=30)


def conversation(prompt: str, answer: str = "Yes.") -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def heldout(prompts: list[str], seed: int, fraction: float) -> list[str]:
    return [prompt for prompt in prompts if held_out(conversation(prompt), seed=seed, fraction=fraction)]


@given(old=PROMPTS, new=PROMPTS, seed=st.integers(0, 2**31), fraction=st.floats(0.05, 0.95))
def test_growing_the_data_moves_no_row(old: list[str], new: list[str], seed: int, fraction: float) -> None:
    assert heldout(old + new, seed, fraction)[: len(heldout(old, seed, fraction))] == heldout(old, seed, fraction)
    assert set(heldout(old, seed, fraction)) <= set(heldout(new + old, seed, fraction))


@given(prompt=st.text(min_size=1), seed=st.integers(0, 2**31), low=st.floats(0.05, 0.5), more=st.floats(0, 0.45))
def test_a_larger_fraction_only_adds_held_out_rows(prompt: str, seed: int, low: float, more: float) -> None:
    fewer, all_of_them = (held_out(conversation(prompt), seed=seed, fraction=share) for share in (low, low + more))
    assert all_of_them or not fewer


@given(prompt=st.text(min_size=1), seed=st.integers(0, 2**31), answers=st.lists(st.text(), min_size=2, max_size=5))
def test_rows_with_the_same_prompt_share_a_side(prompt: str, seed: int, answers: list[str]) -> None:
    sides = {held_out(conversation(prompt, answer), seed=seed, fraction=0.5) for answer in answers}
    sides.add(held_out(conversation(f"  {prompt}\n"), seed=seed, fraction=0.5))
    assert len(sides) == 1


def test_differences_that_no_reader_notices_do_not_matter() -> None:
    assert normalised("What  is\u00a0Asthma?\n") == normalised("what is asthma?")
    assert normalised("ﬁbrosis") == normalised("Fibrosis")


def test_the_side_is_the_same_on_every_machine_and_in_every_release() -> None:
    """Written down, because a change here would leak held-out rows of all existing lines into training."""
    found = [held_out(conversation(f"question {number}"), seed=7, fraction=0.2) for number in range(20)]
    assert [number for number, side in enumerate(found) if side] == [7, 11, 16, 17, 18]


def test_the_fraction_is_kept_and_seeds_differ() -> None:
    prompts = [f"question {number}" for number in range(5000)]
    first, second = heldout(prompts, 1, 0.2), heldout(prompts, 2, 0.2)
    assert abs(len(first) / 5000 - 0.2) < 0.02
    assert abs(len(set(first) & set(second)) / 5000 - 0.04) < 0.01


def test_rows_that_begin_with_the_same_question_share_a_side_however_they_go_on() -> None:
    """All answers of a row are trained on, so a question held out in one row must not be trained on in another."""
    for number in range(50):
        question = {"role": "user", "content": f"question {number}"}
        answer = {"role": "assistant", "content": "an answer"}
        more = [{"role": "user", "content": "thanks"}, {"role": "assistant", "content": "you are welcome"}]
        system = {"role": "system", "content": "be kind"}
        rows = [[question, answer], [question, answer, *more], [system, question, answer]]
        assert len({held_out(row, seed=7, fraction=0.5) for row in rows}) == 1
