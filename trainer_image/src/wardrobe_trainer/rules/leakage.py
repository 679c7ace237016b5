"""Held-out rows whose text stands in training rows, run of words by run of words.

Overlapping runs of 13 words are what others look for, too (lm-evaluation-harness, docs/decontamination.md).
"""

from wardrobe_contracts.rules import Level, RuleName

from .rule import Evidence, Found, Rule, share

PLACE = 4
"""Set by `texts.read_again`."""


def look(evidence: Evidence, _: float) -> Found:
    """Share of the held-out rows."""
    rows = evidence.flagged(PLACE)
    found = int(rows.sum())
    return Found(
        measured=share(found, evidence.heldout_rows),
        says=f"{found} of {evidence.heldout_rows} held-out rows have at least half of their text in training rows; "
        "scores flatter",
        next_step="Leave out rows that are made of the same passages",
        rows=rows,
    )


RULE = Rule(RuleName.LEAKAGE, Level.WARN, 0.05, look)
