"""A row's side of the split depends on nothing but what its user says and the seed."""

from hypothesis import given
from hypothesis import strategies as st

from wardrobe_trainer.split import held_out, normalised


def conversation(prompt: str, answer: str = "Yes.") -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def heldout(prompts: list[str], seed: int, fraction: float) -> list[str]:
    return [prompt for prompt in prompts if held_out(conversation(prompt), seed=seed, fraction=fraction)]


TURNS = st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=4)
ROWS = st.lists(TURNS, min_size=1, max_size=20)


def row(turns: list[str]) -> list[dict[str, str]]:
    return [message for turn in turns for message in conversation(turn)]


@given(old=ROWS, new=ROWS, seed=st.integers(0, 2**31), fraction=st.floats(0.05, 0.95), data=st.data())
def test_neither_growth_nor_order_moves_a_row(
    old: list[list[str]], new: list[list[str]], seed: int, fraction: float, data: st.DataObject
) -> None:
    def sides(rows: list[list[str]]) -> dict[str, bool]:
        return {str(turns): held_out(row(turns), seed=seed, fraction=fraction) for turns in rows}

    before, after = sides(old), sides(data.draw(st.permutations(old + new)))
    assert {key: after[key] for key in before} == before


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


def test_what_follows_a_question_decides_too() -> None:
    """Conversations that all begin with "Hello" would otherwise stand on one side, all of them."""
    rows = [row(["Hello", f"question {number}"]) for number in range(2000)]
    share = sum(held_out(found, seed=7, fraction=0.2) for found in rows) / len(rows)
    assert abs(share - 0.2) < 0.03


def test_neither_system_prompt_nor_answers_decide() -> None:
    for number in range(50):
        question = {"role": "user", "content": f"question {number}"}
        more = {"role": "user", "content": "thanks"}
        system = {"role": "system", "content": "be kind"}
        answers = [{"role": "assistant", "content": text} for text in ("yes", "no")]
        rows = [[*before, question, answer, more, answer] for before in ([], [system]) for answer in answers]
        assert len({held_out(found, seed=7, fraction=0.5) for found in rows}) == 1
