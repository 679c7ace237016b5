"""Rows that nearly repeat another. One that would be trained on while the other is held out flatters the score."""

from wardrobe_contracts.rules import Level, RuleName

from ..index import Side
from .rule import Evidence, Found, Rule, share

PLACE = 3
"""Set by `texts.read_again`, which also leaves rows out."""


def look(evidence: Evidence, _: float) -> Found:
    """Share of all rows."""
    rows = evidence.flagged(PLACE)
    found, left_out = int(rows.sum()), evidence.table.count(Side.LEFT_OUT)
    return Found(
        measured=share(found, len(rows)),
        says=f"{found} rows are near copies of another row; {left_out} of them are not trained on, as the other is "
        "held out" + (", or asks the same" if evidence.config.validation else ""),
        next_step="Leave the near copies out",
        rows=rows,
    )


RULE = Rule(RuleName.NEAR_COPIES, Level.WARN, 0, look)
