"""Rows that lose the end of an answer to the sequence length, and so do not teach where to stop."""

from wardrobe_contracts.rules import Level, RuleName

from .rule import Evidence, Found, Rule, share


def look(evidence: Evidence, _: float) -> Found:
    """Share of the rows that are kept."""
    table, length = evidence.table, evidence.config.sequence_length
    rows = table.kept & (table["longest"] > length)
    cut, kept = int(rows.sum()), int(table.kept.sum())
    return Found(
        measured=share(cut, kept),
        says=f"{cut} of {kept} rows lose the end of their answer at sequenceLength {length}; {table['longest'].max()} "
        "keeps all",
        next_step="Raise spec.training.sequenceLength, or shorten the rows",
        rows=rows,
    )


RULE = Rule(RuleName.TRUNCATED_ROWS, Level.WARN, 0, look)
