"""How many training answers differ: of few different ones an adapter mostly learns to repeat a few texts."""

from wardrobe_contracts.rules import Level, RuleName

from ..index import Side, different
from .rule import Evidence, Found, Rule, share


def look(evidence: Evidence, _: float) -> Found:
    """Share of the training rows."""
    answers = different(evidence.table["answer"][evidence.table.on(Side.TRAIN)])
    return Found(
        measured=share(answers, evidence.train_rows),
        says=f"near useless: {evidence.train_rows} training rows have only {answers} different answers",
        next_step="Add rows with answers of their own",
    )


RULE = Rule(RuleName.DISTINCT_ANSWERS, Level.WARN, 0.2, look, at_least=True)
