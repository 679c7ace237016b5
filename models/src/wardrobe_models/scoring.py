"""Log-probabilities of tokens that are already there."""

import torch

ROWS = 128
"""Positions whose whole distribution is held at a time."""


def token_log_probabilities(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Log-probability (natural, float32) of one token for each position of (positions, vocabulary).

    Where the logits are no numbers, neither are these.
    """
    pieces = zip(torch.split(logits, ROWS), torch.split(tokens, ROWS), strict=True)
    return torch.cat([rows.float().log_softmax(-1).gather(-1, ids[:, None])[:, 0] for rows, ids in pieces])
