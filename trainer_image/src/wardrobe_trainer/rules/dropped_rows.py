"""Rows left out because truncation removes all of their answers. Many of them mean a wrong sequence length."""

from wardrobe_contracts.exits import Reason
from wardrobe_contracts.rules import Level, RuleName

from ..index import Side
from .rule import Evidence, Found, Rule, share


def look(evidence: Evidence, _: float) -> Found:
    """Share of all rows."""
    table, length = evidence.table, evidence.config.sequence_length
    rows = table.on(Side.DROPPED)
    dropped = int(rows.sum())
    return Found(
        measured=share(dropped, len(table)),
        says=f"{dropped} of {len(table)} rows are left out: nothing of their answer fits in sequenceLength {length}",
        next_step=f"Set it to {table['longest'].max()}, which keeps every row whole, or shorten the prompts",
        rows=rows,
        value=str(length),
        notable=dropped > 0,
    )


RULE = Rule(
    RuleName.DROPPED_ROWS,
    Level.FAIL,
    0.05,
    look,
    reason=Reason.ANSWERS_TRUNCATED,
    field="spec.training.sequenceLength",
)
