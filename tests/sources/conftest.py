"""A check's folder."""

from pathlib import Path

import pytest
from support.fetching import Check


@pytest.fixture
def check(tmp_path: Path) -> Check:
    return Check(tmp_path / "check")
