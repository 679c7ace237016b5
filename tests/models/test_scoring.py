"""One formula for what assess records and what an engine answers."""

import pytest
import torch

from wardrobe_models.scoring import ROWS, token_log_probabilities


@pytest.mark.parametrize("positions", [0, 1, ROWS, 2 * ROWS + 1])
def test_each_position_is_scored_by_itself(positions: int) -> None:
    logits, tokens = torch.randn(positions, 5) * 10, torch.randint(5, (positions,))
    found = token_log_probabilities(logits, tokens)
    expected = -torch.nn.functional.cross_entropy(logits.double(), tokens, reduction="none")
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)


def test_half_precision_is_summed_in_single() -> None:
    logits, tokens = torch.randn(4, 1000).bfloat16(), torch.tensor([0, 1, 2, 3])
    assert torch.equal(token_log_probabilities(logits, tokens), token_log_probabilities(logits.float(), tokens))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_stays_none(value: float) -> None:
    assert not torch.isfinite(token_log_probabilities(torch.full((2, 5), value), torch.tensor([1, 2]))).any()
