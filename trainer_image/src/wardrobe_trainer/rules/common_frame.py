"""Answers that lack the opening or the closing that nine of ten have: the greeting that a department wants in all."""

from wardrobe_contracts.rules import Level, RuleName

from .rule import Evidence, Found, Rule, share

PLACE = 5
"""Set by `texts.read_again`."""


def look(evidence: Evidence, _: float) -> Found:
    """Share of the rows that are kept."""
    rows = evidence.flagged(PLACE)
    found = int(rows.sum())
    return Found(
        measured=share(found, int(evidence.table.kept.sum())),
        says=f"{found} rows have an answer without the opening or closing that nearly all have",
        next_step="Write them as the others, or leave them out",
        rows=rows,
    )


RULE = Rule(RuleName.COMMON_FRAME, Level.WARN, 0, look)
