"""What one department's key can do to another department: its worst answer, and peak memory, during each attack.

usage: make bench-attack        (root; the node that is up, or one of its own; about 8 minutes)

Two engines and two routers with the example's limits; the other department asks 4 times a second, and its texts are
compared with what its adapter is known to answer. Peaks are of the fullest container of each sort since it started.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import attacked, node_namespaces
from support.attacks import ATTACKS


def main() -> None:
    """Run on the node that is up, or on one of its own."""
    with node_namespaces.hospital_for_benchmark(replicas=2) as hospital:
        for name, attack in ATTACKS.items():
            print("\n".join(attacked.tell(name, attacked.suffer(hospital, attack))), flush=True)


if __name__ == "__main__":
    main()
