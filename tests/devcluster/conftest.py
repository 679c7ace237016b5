"""The node for tests that may take it down. They refuse to touch one that somebody uses."""

import os
from collections.abc import Iterator

import pytest

from devcluster import node
from devcluster.reservation import reserved


@pytest.fixture(scope="module")
def no_node() -> Iterator[None]:
    """No node is up, before and after."""
    if os.geteuid() != 0:
        pytest.fail("the node needs root: run as root, or choose other tests with -m 'not node'")
    if any(node.running(node.instance()).values()):
        pytest.fail("a node is up and may be in use; these tests need it down: devcluster down")
    with reserved():
        yield
        node.down(force=True)
