"""Draws depend on their request alone."""

import math

import pytest
import torch

from wardrobe_engine.errors import GenerationError
from wardrobe_engine.generation import Sampling
from wardrobe_engine.sampling import Drawer, choose, score

CPU = torch.device("cpu")
LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -9.0])


def draws(count: int, **settings: object) -> list[int]:
    drawer = Drawer(Sampling(**{"seed": 7, **settings}), CPU)  # type: ignore[arg-type]
    return [int(drawer.draw(LOGITS)) for _ in range(count)]


def test_the_same_seed_draws_the_same() -> None:
    assert draws(50) == draws(50)
    assert draws(50) != draws(50, seed=8)


def test_frequencies_follow_the_temperature() -> None:
    for temperature in (0.5, 1.0, 2.0):
        expected = (LOGITS / temperature).softmax(-1)
        found = torch.bincount(torch.tensor(draws(4000, temperature=temperature)), minlength=5) / 4000
        assert torch.allclose(found, expected, atol=0.03)


def test_top_k_and_top_p_leave_out_the_rest() -> None:
    assert set(draws(300, top_k=2, temperature=5.0)) == {0, 1}
    assert set(draws(300, top_p=0.9, temperature=1.0)) == {0, 1, 2}
    assert set(draws(300, top_p=1e-6)) == {0}
    assert set(draws(300, top_k=99, temperature=5.0)) == {0, 1, 2, 3, 4}


def test_neighbours_do_not_change_draws() -> None:
    alone, beside = (Drawer(Sampling(seed=3), CPU) for _ in range(2))
    for _ in range(20):
        [one], _ = choose(LOGITS[None], [alone])
        [_, other, _], _ = choose(LOGITS.expand(3, 5), [Drawer(Sampling(seed=1), CPU), beside, None])
        assert one == other


def test_greedy_takes_the_likeliest_and_says_its_probability() -> None:
    [token], [logprob] = choose(LOGITS[None], [None])
    assert token == 0
    assert math.isclose(logprob, float(LOGITS.log_softmax(-1)[0]), abs_tol=1e-6)


def test_what_is_no_number_is_not_drawn_from() -> None:
    _, [logprob] = choose(torch.full((1, 5), math.nan), [Drawer(Sampling(seed=1), CPU)])
    assert not math.isfinite(logprob)
    with pytest.raises(GenerationError):
        score(torch.full((3, 5), math.nan), [1, 2])


def test_scores_are_of_the_tokens_that_follow() -> None:
    logits = torch.randn(3, 5)
    expected = logits.log_softmax(-1)
    assert score(logits, [1, 2]) == pytest.approx([float(expected[0, 1]), float(expected[1, 2])])
