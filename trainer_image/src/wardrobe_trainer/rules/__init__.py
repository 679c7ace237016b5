"""The rules for datasets, the weightiest first, and what comes of them. A rule is a file beside this one."""

from collections.abc import Callable
from dataclasses import dataclass

from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.rules import Finding, Level

from ..dataset import FIELD, Row
from ..problems import NAMED_EXAMPLES, TaskError, bad_data
from . import (
    common_frame,
    conflicting_answers,
    distinct_answers,
    dropped_rows,
    duplicates,
    heldout_rows,
    heldout_share,
    label_density,
    leakage,
    near_copies,
    perishable_facts,
    personal_data,
    secrets,
    shared_answers,
    training_rows,
    truncated_rows,
)
from .rule import Evidence, Found, Rule, first_of

RULES = (
    dropped_rows.RULE,
    label_density.RULE,
    secrets.RULE,
    personal_data.RULE,
    distinct_answers.RULE,
    training_rows.RULE,
    heldout_rows.RULE,
    heldout_share.RULE,
    truncated_rows.RULE,
    duplicates.RULE,
    conflicting_answers.RULE,
    shared_answers.RULE,
    near_copies.RULE,
    leakage.RULE,
    common_frame.RULE,
    perishable_facts.RULE,
)
SCANS = {
    secrets.PLACE: secrets.RULE,
    personal_data.PLACE: personal_data.RULE,
    perishable_facts.PLACE: perishable_facts.RULE,
}
"""Rules that look at each row's text, by the bit of the row's flags that says what they found."""


Scans = tuple[tuple[int, Callable[[Row], bool]], ...]


def scans(config: CheckConfig) -> Scans:
    """Those of the rules that are not off."""
    return tuple(
        (place, rule.scan) for place, rule in SCANS.items() if rule.scan and rule.of(config)[0] is not Level.OFF
    )


def flags(row: Row, active: Scans) -> int:
    """What they found in a row, a bit each."""
    return sum(1 << place for place, scan in active if scan(row))


@dataclass(frozen=True)
class Judged:
    """A rule with what it found, where that is worth a word."""

    rule: Rule
    found: Found
    finding: Finding

    @property
    def fails(self) -> bool:
        """Whether the run ends here."""
        return self.finding.level == Level.FAIL

    def error(self, source: str) -> TaskError:
        """What a person is told who must mend it."""
        return bad_data(
            self.rule.reason,
            field=self.rule.field or FIELD,
            value=self.found.value or source,
            rule=f"{self.found.says}{_places(self.finding)}; spec.dataset.rules.{self.rule.name} wants "
            f"{'at least' if self.rule.at_least else 'at most'} {self.finding.threshold:g}",
            next_step=self.found.next_step,
        )


def _places(finding: Finding) -> str:
    """The rows by number, as far as there is room."""
    named = [str(number) for number in finding.rows[:NAMED_EXAMPLES]]
    apart = [str(number) for number in finding.validation_rows[:NAMED_EXAMPLES]]
    rest = finding.breaking - len(named) - len(apart)
    told = [f"rows {', '.join(named)}"] if named else []
    told += [f"rows {', '.join(apart)} of the validation source"] if apart else []
    return f" ({' and '.join(told)}{f' and {rest} more' if rest else ''})" if told else ""


def judge(evidence: Evidence) -> list[Judged]:
    """What the rules that are not off have to say."""
    return [judged for rule in RULES if (judged := _judge(rule, evidence))]


def _judge(rule: Rule, evidence: Evidence) -> Judged | None:
    level, threshold = rule.of(evidence.config)
    if level is Level.OFF:
        return None
    found = rule.look(evidence, threshold)
    broken = rule.broken(found.measured, threshold)
    if not broken and not found.notable:
        return None
    finding = Finding(
        rule=rule.name,
        level=level if broken else Level.WARN,
        threshold=threshold,
        measured=round(found.measured, 6),
        breaking=0 if found.rows is None else int(found.rows.sum()),
        rows=first_of(evidence.table, found.rows),
        validation_rows=first_of(evidence.table, found.rows, apart=True),
        says=found.says,
    )
    return Judged(rule, found, finding)
