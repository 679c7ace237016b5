"""How progress is said, and how often it is written."""

import pytest

from wardrobe.run.progress import to_status, write_pause
from wardrobe_contracts.training import Progress

TIME = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("progress", "summary"),
    [
        (Progress(stage="Loading"), "training: loading the base"),
        (Progress(stage="Training", step=1, steps=114), "training 1/114 (1%)"),
        (Progress(stage="Training", step=42, steps=114, seconds_left=50), "training 42/114 (37%), 50s left"),
        (Progress(stage="Training", step=42, steps=114, seconds_left=300), "training 42/114 (37%), 5m left"),
        (Progress(stage="Training", step=42, steps=9000, seconds_left=11_000), "training 42/9000 (0%), 3h03m left"),
        (Progress(stage="Saving", step=114, steps=114), "training: saving"),
    ],
)
def test_the_summary_says_how_far_and_how_long(progress: Progress, summary: str) -> None:
    assert to_status(progress, TIME).summary == summary


@pytest.mark.parametrize(
    ("elapsed", "left", "pause"), [(0, 0, 10), (20, 40, 10), (60, 140, 25), (600, 3000, 60), (90_000, 10, 60)]
)
def test_short_trainings_are_written_often_and_long_ones_every_minute(elapsed: int, left: int, pause: int) -> None:
    assert write_pause(elapsed, left) == pause
