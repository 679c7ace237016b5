"""Prints how long the node takes to come up and to go away, on this machine, with binaries built.

usage: make bench-node [ROUNDS=3]        (root; no node may be up)
"""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import workloads

from devcluster import node, processes
from devcluster.console import answer
from devcluster.reservation import reserved


def seconds(action: Callable[[], object]) -> float:
    """How long the action takes."""
    began = time.monotonic()
    action()
    return time.monotonic() - began


def run_pods(count: int) -> None:
    """Pods that sleep, all Ready on return."""
    workloads.restricted_namespace("bench")
    code = "import time; print('here'); time.sleep(600)"
    workloads.apply(*(workloads.pod(f"pod-{number}", "bench", "operator", code) for number in range(count)))
    workloads.run("wait", "pod", "--all", "--namespace=bench", "--for=condition=Ready", "--timeout=120s")


def crash() -> None:
    """Every daemon is killed; pods live on."""
    records = processes.recorded(node.instance().pids)
    for record in records:
        processes.send(record, signal.SIGKILL)
    processes.stop(records, grace=0)


def main() -> None:
    """One line per round and kind."""
    rounds = int(sys.argv[1])
    with reserved():
        node.down()
        for _ in range(rounds):
            answer(f"up {seconds(node.up):.1f} s, down {seconds(node.down):.1f} s")
        node.up()
        run_pods(5)
        answer(f"down with 5 pods {seconds(node.down):.1f} s")
        node.up()
        run_pods(5)
        crash()
        answer(f"down with 5 pods after a crash of every daemon {seconds(node.down):.1f} s")


if __name__ == "__main__":
    main()
