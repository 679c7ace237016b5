"""Rows held out. Of few the difference of two adapters is mostly chance."""

from wardrobe_contracts.rules import Level, RuleName

from .rule import Evidence, Found, Rule


def look(evidence: Evidence, _: float) -> Found:
    """A count."""
    return Found(
        measured=evidence.heldout_rows,
        says=f"{evidence.heldout_rows} held-out rows are few; scores will be mostly chance",
        next_step="Add rows to the file of spec.dataset.validation.source"
        if evidence.config.validation
        else "Add rows, or raise spec.dataset.validation.fraction",
    )


RULE = Rule(RuleName.HELDOUT_ROWS, Level.WARN, 30, look, at_least=True)
