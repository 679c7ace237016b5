"""What a rule for datasets is: what it measures, how much of that is too much, and what then happens."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.exits import Reason
from wardrobe_contracts.rules import LISTED, Level, RuleName, RuleSetting

from ..dataset import Row
from ..index import Column, Side, Table


@dataclass(frozen=True)
class Evidence:
    """What rules look at: all rows as numbers."""

    table: Table
    config: CheckConfig

    @cached_property
    def train_rows(self) -> int:
        """Rows to train on."""
        return self.table.count(Side.TRAIN)

    @cached_property
    def heldout_rows(self) -> int:
        """Rows held out."""
        return self.table.count(Side.HELDOUT)

    def flagged(self, place: int) -> Column:
        """Which rows have this bit among their flags."""
        chosen: Column = (self.table["flags"] >> place & 1).astype(bool)
        return chosen


@dataclass(frozen=True)
class Found:
    """What a rule measured, and what there is to say about it."""

    measured: float
    says: str
    next_step: str
    rows: Column | None = None
    """Which rows break the rule, where rows do."""
    value: str | None = None
    """What the rule's own field has; None for what the dataset's has."""
    notable: bool = False
    """Whether it is worth a warning where the rule is not broken."""


@dataclass(frozen=True)
class Rule:
    """One rule. Its level and threshold hold where the person sets none."""

    name: RuleName
    level: Level
    threshold: float
    look: Callable[[Evidence, float], Found]
    """Given the threshold, which its words name."""
    at_least: bool = False
    """Whether what is measured must reach the threshold; else it must not exceed it."""
    reason: Reason = Reason.RULE_BROKEN
    field: str | None = None
    """Where a person mends it, if not in the rows."""
    scan: Callable[[Row], bool] | None = None
    """Looks at each row's text as it is read; what it found is `Evidence.flagged`."""

    def of(self, config: CheckConfig) -> tuple[Level, float]:
        """Level and threshold of a check."""
        setting = config.rules.get(self.name, RuleSetting())
        return setting.level or self.level, self.threshold if setting.threshold is None else setting.threshold

    def broken(self, measured: float, threshold: float) -> bool:
        """Whether that much is too much, or too little."""
        return measured < threshold if self.at_least else measured > threshold


def first_of(table: Table, rows: Column | None, *, apart: bool = False) -> list[int]:
    """Numbers of the first rows of a choice, of those of the dataset's file or of the held-out set's own."""
    if rows is None:
        return []
    return [int(number) for number in table["number"][rows & (table["apart"] == apart)][:LISTED]]


def share(count: int, of: int) -> float:
    """0 where there is nothing to have a share of."""
    return count / of if of else 0.0
