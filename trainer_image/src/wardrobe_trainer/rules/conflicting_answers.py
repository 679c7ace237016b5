"""Prompts with different answers: an adapter learns something between them."""

from wardrobe_contracts.rules import Level, RuleName

from ..index import among, conflicts, different
from .rule import Evidence, Found, Rule, share


def look(evidence: Evidence, _: float) -> Found:
    """Share of the prompts."""
    prompts = evidence.table["prompt"]
    conflicting = conflicts(evidence.table)
    return Found(
        measured=share(len(conflicting), different(prompts)),
        says=f"{len(conflicting)} prompts occur with different answers",
        next_step="Keep one answer of each prompt",
        rows=among(prompts, conflicting),
    )


RULE = Rule(RuleName.CONFLICTING_ANSWERS, Level.WARN, 0, look)
