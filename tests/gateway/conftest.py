"""What the gateway's tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import gateway
from support.gateway import Pod


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
async def pod(store: Path, tmp_path: Path) -> AsyncIterator[Pod]:
    async with gateway.pod(store, tmp_path / "cache") as running:
        yield running
