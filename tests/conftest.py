"""What all tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import controlplane

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def control_plane() -> Iterator[controlplane.ControlPlane]:
    """A real apiserver with Wardrobe's CRDs, of this test run alone. Tests keep apart by namespace."""
    with controlplane.start() as plane:
        plane.run("apply", f"--filename={REPOSITORY / 'crds'}")
        plane.run("wait", "crd", "--all", "--for=condition=Established", "--timeout=30s")
        yield plane
