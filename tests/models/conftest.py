"""The example's base, and the environment as the programs set it before torch is imported.

These tests run in the trainer's environment; elsewhere they are skipped.
"""

import importlib.util
import os
from pathlib import Path

import pytest

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", OMP_WAIT_POLICY="PASSIVE")


@pytest.fixture(scope="session")
def base_folder() -> Path:
    return Path(__file__).parents[2] / "examples" / "tantanila" / "model"
