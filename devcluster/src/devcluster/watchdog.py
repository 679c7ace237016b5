"""Ends a control plane when the program that started it has gone, however it went.

Runs as a process of its own, with the reading end of a pipe as standard input. Nothing is ever written to
the pipe: it ends when the owner closes it or dies, also by SIGKILL. PR_SET_PDEATHSIG would do the same only
while the *thread* that started the daemons lives, and tests start them from threads that end early.
"""

import sys

from devcluster import controlplane
from devcluster.instance import named


def main() -> None:
    """usage: python -m devcluster.watchdog INSTANCE."""
    sys.stdin.buffer.read()
    controlplane.discard(named(sys.argv[1]))


if __name__ == "__main__":
    main()
