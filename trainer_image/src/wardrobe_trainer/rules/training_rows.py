"""Rows to train on. The departments of the worked example have 421 to 2,000; fewer teach a tone at best."""

from wardrobe_contracts.rules import Level, RuleName

from .rule import Evidence, Found, Rule


def look(evidence: Evidence, threshold: float) -> Found:
    """A count."""
    return Found(
        measured=evidence.train_rows,
        says=f"{evidence.train_rows} training rows are few; {threshold:.0f} or more make a reliable adapter",
        next_step="Add rows",
    )


RULE = Rule(RuleName.TRAINING_ROWS, Level.WARN, 500, look, at_least=True)
