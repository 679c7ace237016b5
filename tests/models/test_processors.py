"""Threads are as many as the container may use."""

import os
from pathlib import Path

import pytest

from wardrobe_models.processors import granted, share


@pytest.mark.parametrize(
    ("limit", "count"), [("150000 100000", 2), ("1000 100000", 1), ("max 100000", None), ("", None)]
)
def test_threads_follow_the_containers_limit(tmp_path: Path, limit: str, count: int | None) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    available = len(os.sched_getaffinity(0))
    assert granted(tmp_path / "cpu.max") == min(count or available, available)
    assert granted(tmp_path / "absent") == available


def test_what_the_pod_sets_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "77")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    share()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == ("77", "PASSIVE")
