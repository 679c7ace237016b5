"""Calls of the pinned kubectl."""

import json
import subprocess
from pathlib import Path
from typing import Any

from devcluster import build
from devcluster.console import DevclusterError


def run(kubeconfig: Path, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
    """Output of kubectl; empty for a failure when check is off, else DevclusterError with its complaint."""
    command = [str(build.program("kubectl")), f"--kubeconfig={kubeconfig}", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise DevclusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout if done.returncode == 0 else ""


def create(kubeconfig: Path, *documents: dict[str, Any]) -> None:
    """Create objects that do not exist yet; those that do stay as they are."""
    stream = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
    run(kubeconfig, "apply", "--server-side", "--field-manager=devcluster", "-f", "-", stdin=json.dumps(stream))


def exists(kubeconfig: Path, *what: str) -> bool:
    """Whether `kubectl get WHAT` finds something."""
    options = ("--ignore-not-found", "--output=name", "--request-timeout=10s")
    return bool(run(kubeconfig, "get", *what, *options, check=False).strip())
