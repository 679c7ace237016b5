"""Share of the training tokens that belong to answers.

At the threshold a batch of 8 rows of 1,024 tokens carries some 16 labels: noise instead of a gradient.
"""

from wardrobe_contracts.exits import Reason
from wardrobe_contracts.rules import Level, RuleName

from ..index import trained
from .rule import Evidence, Found, Rule, share

WANTED = 0.05
"""Below this training is slow to learn."""


def look(evidence: Evidence, _: float) -> Found:
    """After truncation."""
    labels, tokens = trained(evidence.table)
    density = share(labels, tokens)
    return Found(
        measured=density,
        says=f"only {density:.1%} of the tokens belong to answers ({labels} of {tokens}); training will be slow to "
        "learn",
        next_step="Shorten the prompts or lengthen the answers, to at least one answer token in 500",
        notable=density < WANTED,
    )


RULE = Rule(RuleName.LABEL_DENSITY, Level.FAIL, 0.002, look, at_least=True, reason=Reason.LABELS_SPARSE)
