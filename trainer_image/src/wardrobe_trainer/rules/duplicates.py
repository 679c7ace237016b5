"""Rows that repeat an earlier row, but for differences that no reader would notice."""

from wardrobe_contracts.rules import Level, RuleName

from ..index import duplicates
from .rule import Evidence, Found, Rule, share


def look(evidence: Evidence, _: float) -> Found:
    """Share of all rows."""
    rows = duplicates(evidence.table)
    repeats = int(rows.sum())
    says = f"{repeats} rows repeat another row"
    return Found(share(repeats, len(rows)), says, "Leave the repetitions out", rows)


RULE = Rule(RuleName.DUPLICATES, Level.WARN, 0, look)
