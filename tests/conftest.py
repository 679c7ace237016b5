"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import gauntlet as _examples_of_property_tests  # noqa: F401  imported for what it sets

if TYPE_CHECKING:  # the trainer's environment has no devcluster
    from devcluster.controlplane import ControlPlane

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real apiserver with Wardrobe's CRDs, of this test run alone. Tests keep apart by namespace."""
    from devcluster import controlplane  # noqa: PLC0415  only where it is asked for

    with controlplane.start(controller_manager=True) as plane:
        plane.run("apply", f"--filename={REPOSITORY / 'crds'}")
        plane.run("wait", "crd", "--all", "--for=condition=Established", "--timeout=300s")
        yield plane
