"""What the gateway's tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import gateway
from support.gateway import PATIENCE, Pod

from wardrobe_gateway.agent.patience import Patience


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def patience() -> Patience:
    """The agent's; a test that wants less of it is parametrized with its own."""
    return PATIENCE


@pytest.fixture
async def pod(store: Path, tmp_path: Path, patience: Patience) -> AsyncIterator[Pod]:
    async with gateway.pod(store, tmp_path / "cache", patience=patience) as running:
        yield running
