"""A real Kubernetes on one machine for development and tests: a node, and control planes without one."""

from pathlib import Path

from devcluster import build

__all__ = ["helm_path", "kubectl_path"]


def kubectl_path() -> Path:
    """kubectl of the pinned Kubernetes, built when needed."""
    return build.program("kubectl")


def helm_path() -> Path:
    """Helm 4, built when needed."""
    return build.program("helm")
