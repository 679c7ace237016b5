"""What noise makes of verdicts: proofs of measurements by chance, for effects of several sizes and tokens.

Run: `.venv/bin/python benchmarks/proof_noise.py [REPETITIONS]` (10,000 take about 20 minutes). A line has the share of
verdicts that are right, by the engine's noise in nats per token; the tolerance is TGI's in bfloat16. An effect that is
too small to be proved is Indistinguishable, whatever is found.
"""

import random
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.proofs_by_chance import FAULTS, proof

from wardrobe_contracts.base import Variant
from wardrobe_contracts.engines import ENGINES, EngineType, Precision
from wardrobe_contracts.state import Verdict

TOLERANCE = ENGINES[EngineType.TGI].tolerance(Variant.NF4, Precision.BFLOAT16)
CASES = [(48, 0.3), (192, 0.13), (384, 0.1), (384, 0.2), (384, 1.0)]
NOISES = (0.01, 0.05)


def main() -> None:
    """Print a line per case and fault."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    for tokens, size in CASES:
        for fault, (_, right) in FAULTS.items():
            found = {noise: count(fault, tokens, size, noise, repetitions) for noise in NOISES}
            told = "; ".join(f"noise {noise}: {shown(verdicts, right)}" for noise, verdicts in found.items())
            print(f"{tokens} tokens, effect {size}, {fault}: {told}", flush=True)


def count(fault: str, tokens: int, size: float, noise: float, repetitions: int) -> Counter[Verdict]:
    """Verdicts, by the same chance every time."""
    chance = random.Random(f"{fault} {tokens} {size} {noise}")  # noqa: S311  not for secrets
    return Counter(proof(chance, fault, tokens, size, noise=noise, tolerance=TOLERANCE) for _ in range(repetitions))


def shown(verdicts: Counter[Verdict], right: Verdict) -> str:
    """How many are right, and what the others are."""
    others = ", ".join(f"{number} {verdict}" for verdict, number in verdicts.most_common() if verdict is not right)
    return f"{verdicts[right]} {right}" + (f", {others}" if others else "")


if __name__ == "__main__":
    main()
