"""The cluster that the story is told on, by kubectl as a person would use it."""

import base64
import json
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import commands, console
from .console import DemoError
from .layout import tables
from .story import Observed

REPOSITORY = Path(__file__).parents[1]
EXAMPLES = Path("examples/tantanila")
KINDS = "bm,ftj,adapters,adp"


@dataclass(frozen=True)
class Cluster:
    """One namespace of one cluster."""

    kubectl: str
    helm: str
    environment: dict[str, str]
    """Holds KUBECONFIG where it is not the caller's."""
    context: str | None = None
    """None: the kubeconfig's only one."""
    namespace: str = "tantanila"
    reachable: bool = True
    """Whether this machine reaches ClusterIPs."""

    def elsewhere(self, namespace: str) -> "Cluster":
        """Another namespace."""
        return replace(self, namespace=namespace)

    def _options(self) -> list[str]:
        return [*(["--context", self.context] if self.context else []), "-n", self.namespace]

    def argv(self, *arguments: str) -> list[str]:
        """A kubectl command."""
        return [self.kubectl, *self._options(), *arguments]

    def typed(self, *arguments: str) -> str:
        """The same, as it is typed."""
        return shlex.join(["kubectl", *self._options(), *arguments])

    def read(self, *arguments: str) -> str:
        """What kubectl says, without a word. Raises DemoError."""
        return commands.output(self.argv(*arguments), self.environment)

    def exists(self, *what: str) -> bool:
        """Whether `kubectl get WHAT` finds something."""
        return bool(self.read("get", *what, "--ignore-not-found", "-o", "name").strip())

    def get(self, *what: str) -> dict[str, Any]:
        """`kubectl get WHAT -o json`."""
        found: dict[str, Any] = json.loads(self.read("get", *what, "-o", "json"))
        return found

    def perform(self, *arguments: str) -> None:
        """Show a command, run it, show what it says."""
        console.command(self.typed(*arguments))
        console.block(self.read(*arguments))

    def watch(self, *arguments: str, text: str) -> None:
        """Show a command that takes a while, and run it."""
        console.command(self.typed(*arguments))
        commands.run(self.argv(*arguments), self.environment, text)

    def apply(self, *names: str) -> None:
        """Show the example's files, and apply them."""
        files = [EXAMPLES / name for name in names]
        for file in files:
            console.command(f"cat {file}")
            console.block((REPOSITORY / file).read_text())
        options = [option for file in files for option in ("-f", str(file))]
        console.command(self.typed("apply", *options))
        absolute = [option for file in files for option in ("-f", str(REPOSITORY / file))]
        console.block(self.read("apply", *absolute))

    def observe(self) -> Observed:
        """The story's resources."""
        return Observed(tuple(self.get(KINDS)["items"]))

    def show_state(self) -> None:
        """All kinds, as `kubectl get` has them."""
        console.command(self.typed("get", KINDS))
        for line in tables(self.read("get", KINDS), 95):
            console.say(f"     {line}".rstrip())

    def key(self, department: str) -> str:
        """The first of a department's keys."""
        coded = self.read("get", "secret", f"{department}-keys", "-o", "jsonpath={.data.keys}")
        return base64.b64decode(coded).decode().split()[0]

    @contextmanager
    def forward(self, target: str, port: int) -> Iterator[str]:
        """`kubectl port-forward` while the block runs; the URL on this machine. Raises DemoError."""
        local = _free_port()
        argv = self.argv("port-forward", target, f"{local}:{port}")
        console.command(self.typed("port-forward", target, f"{local}:{port}") + " &")
        process = subprocess.Popen(
            argv,
            env=commands.environment(self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            first = process.stdout.readline() if process.stdout else ""
            if "Forwarding from" not in first:
                raise DemoError(f"kubectl port-forward {target}: {first.strip()}")
            yield f"http://127.0.0.1:{local}"
        finally:
            process.terminate()
            process.communicate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
