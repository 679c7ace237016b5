"""Warnings about a dataset that can be trained on but will disappoint."""

from dataclasses import dataclass

from wardrobe_contracts.check import CheckReport

ROWS_WANTED = 500
"""Fewer rows teach a tone at best; the departments of the worked example have 421 to 2,000."""
HELDOUT_WANTED = 30
"""With fewer held-out rows the difference of two adapters is mostly chance."""
DENSITY_WANTED = 0.05
DISTINCT_WANTED = 0.2
"""Share of different answers below which an adapter mostly learns to repeat a few texts."""
SHARED_TOLERATED = 0.05
SHARE_OFF = 0.5
"""Of the held-out fraction that was asked for: half of it more or less. Rows with one prompt share a side."""


@dataclass(frozen=True)
class Measures:
    """What the warnings need beside the report."""

    sequence_length: int
    distinct_answers: int
    """On the training side."""
    validation_fraction: float


def warnings_about(report: CheckReport, measures: Measures) -> list[str]:
    """Sentences for a person, the weightiest first."""
    kept, wanted = report.train_rows + report.heldout_rows, measures.validation_fraction
    rules = (
        (
            measures.distinct_answers < DISTINCT_WANTED * report.train_rows,
            f"near useless: {report.train_rows} training rows have only {measures.distinct_answers} different answers",
        ),
        (
            report.train_rows < ROWS_WANTED,
            f"{report.train_rows} training rows are few; {ROWS_WANTED} or more make a reliable adapter",
        ),
        (
            report.heldout_rows < HELDOUT_WANTED,
            f"{report.heldout_rows} held-out rows are few; scores will be mostly chance",
        ),
        (
            abs(report.heldout_share - wanted) > SHARE_OFF * wanted,
            f"{report.heldout_share:.1%} of the rows are held out, not {wanted:.1%} as asked for; "
            "rows with one prompt share a side: add rows with other prompts, or change seed",
        ),
        (
            report.truncated_rows > 0,
            f"{report.truncated_rows} of {kept} rows lose the end of their answer at sequenceLength "
            f"{measures.sequence_length}; {report.tokens.max} keeps all",
        ),
        (
            report.dropped_rows > 0,
            f"{report.dropped_rows} rows are left out: nothing of their answer fits in sequenceLength "
            f"{measures.sequence_length}",
        ),
        (
            report.label_density < DENSITY_WANTED,
            f"only {report.label_density:.1%} of the tokens belong to answers; training will be slow to learn",
        ),
        (report.duplicate_rows > 0, f"{report.duplicate_rows} rows repeat another row"),
        (report.conflicting_prompts > 0, f"{report.conflicting_prompts} prompts occur with different answers"),
        (
            report.shared_answers > SHARED_TOLERATED * report.heldout_rows,
            f"{report.shared_answers} of {report.heldout_rows} held-out answers were also trained on; scores flatter",
        ),
    )
    return [text for applies, text in rules if applies]
