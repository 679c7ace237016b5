"""How far the held-out share is from what was asked for: rows whose users say the same share a side.

A held-out set of its own has the share that it has.
"""

from wardrobe_contracts.rules import Level, RuleName

from .rule import Evidence, Found, Rule, share


def look(evidence: Evidence, _: float) -> Found:
    """Relative to the fraction that was asked for."""
    wanted = evidence.config.validation_fraction
    if wanted is None:
        return Found(measured=0.0, says="", next_step="")
    real = share(evidence.heldout_rows, evidence.train_rows + evidence.heldout_rows)
    return Found(
        measured=abs(real - wanted) / wanted,
        says=f"{real:.1%} of the rows are held out, not {wanted:.1%} as asked for; rows with one prompt share a side: "
        "add rows with other prompts, or change seed",
        next_step="Add rows with other prompts, or change seed",
    )


RULE = Rule(RuleName.HELDOUT_SHARE, Level.WARN, 0.5, look)
