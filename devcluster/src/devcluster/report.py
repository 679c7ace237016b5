"""What `status` says and `logs` shows."""

import subprocess

from devcluster import kubectl, node
from devcluster.console import DevclusterError
from devcluster.instance import Instance


def table(rows: list[tuple[str, ...]]) -> str:
    """Columns as wide as needed, two spaces between."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def status(instance: Instance) -> tuple[str, bool]:
    """Text, and whether the node is up and Ready."""
    if not instance.exists():
        return "the node is not up", False
    daemons = node.running(instance)
    rows: list[tuple[str, ...]] = [("daemon", "state", "pid")]
    rows += [(name, "running", str(record.pid)) if record else (name, "dead", "-") for name, record in daemons.items()]
    ready = daemons["apiserver"] is not None and node.is_ready(instance)
    state = instance.read_state()
    facts: list[tuple[str, ...]] = [
        ("node", "Ready" if ready else "not Ready"),
        ("pods", str(_count_pods(instance)) if daemons["apiserver"] else "unknown"),
        ("kubeconfig", str(instance.kubeconfig)),
        ("checkout", str(state.get("checkout", "unknown"))),
        ("since", f"{state.get('since', 'unknown')}, by {state.get('user', 'unknown')}"),
    ]
    return f"{table(rows)}\n\n{table(facts)}", ready and all(daemons.values())


def _count_pods(instance: Instance) -> int:
    arguments = ("get", "pods", "--all-namespaces", "--output=name", "--request-timeout=5s")
    return len(kubectl.run(instance.kubeconfig, *arguments, check=False).splitlines())


def tail_command(instance: Instance, daemon: str | None, *, follow: bool) -> list[str]:
    """The `tail` that shows one daemon's log, or all of them. Raises DevclusterError for a name without a log."""
    logs = sorted(instance.logs.glob("*.log")) if instance.logs.is_dir() else []
    chosen = [log for log in logs if daemon in {None, log.stem}]
    if not chosen:
        there = ", ".join(log.stem for log in logs) or "none: the node is not up"
        raise DevclusterError(f"no log {daemon or ''}; there are: {there}")
    count = "+1" if daemon and not follow else "10"
    return ["tail", f"--lines={count}", *(["--follow=name"] if follow else []), *map(str, chosen)]


def show_logs(instance: Instance, daemon: str | None, *, follow: bool) -> None:
    """Run `tail` until it ends; Ctrl-C ends both."""
    subprocess.run(tail_command(instance, daemon, follow=follow), check=False)
