"""Held-out rows whose answer was also trained on, under another prompt."""

from wardrobe_contracts.rules import Level, RuleName

from ..index import shared_answers
from .rule import Evidence, Found, Rule, share


def look(evidence: Evidence, _: float) -> Found:
    """Share of the held-out rows."""
    rows = shared_answers(evidence.table)
    shared = int(rows.sum())
    return Found(
        measured=share(shared, evidence.heldout_rows),
        says=f"{shared} of {evidence.heldout_rows} held-out answers were also trained on; scores flatter",
        next_step="Give each prompt an answer of its own",
        rows=rows,
    )


RULE = Rule(RuleName.SHARED_ANSWERS, Level.WARN, 0.05, look)
