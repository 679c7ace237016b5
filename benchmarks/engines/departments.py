"""What proofs cost an engine that has many departments: all proved once, and again and again."""

import sys
import time
from pathlib import Path

from support.forgery import keep_probes, republish

from wardrobe_contracts.routes import RoutedAdapter
from wardrobe_contracts.state import Verdict
from wardrobe_gateway.agent.outcomes import REPETITIONS
from wardrobe_gateway.agent.patience import Patience

from .answers import Made
from .ward import Ward

HOUR = 3600.0


def names(count: int) -> list[str]:
    """Of so many departments."""
    return [f"department-{number:03}" for number in range(count)]


def adapters(store: Path, made: Made, count: int) -> list[RoutedAdapter]:
    """One for each department: copies of those that were recorded, each with a digest of its own."""
    sources = sorted(one.path for one in made.values())
    return [
        republish(store, sources[number % len(sources)], keep_probes, adapter=f"{name}-v1").model_copy(
            update={"departments": [name]}
        )
        for number, name in enumerate(names(count))
    ]


def tell_departments(ward: Ward, given: list[RoutedAdapter]) -> None:
    """Two lines. Raises NotAppliedError where one is not Applied."""
    count, label = len(given), ward.subject.label

    def tell(done: int) -> None:
        if done % max(1, count // 4) == 0:
            print(f"{label}: {done} of {count} departments' adapters proved", file=sys.stderr, flush=True)

    began = ward.route(given, {one.departments[0]: one.engine_name for one in given})
    ward.await_verdicts(dict.fromkeys((one.engine_name for one in given), Verdict.APPLIED), tell)
    whole = time.monotonic() - began
    timings = [ward.state().adapters[one.engine_name].timings.prove or 0.0 for one in given]
    proofs = sum(timings)
    print(
        f"{label}: {count} departments, all {count} adapters fetched, loaded and proved once in {whole:.0f} s, of "
        f"which proofs {proofs:.0f} s ({proofs / whole:.0%}), {proofs / count:.2f} s each, without other requests"
    )
    print(f"{label}: {_steady(proofs)}", flush=True)


def _steady(proofs: float) -> str:
    """What the agent's rule makes of these seconds. Nothing of it was waited for, which is said."""
    interval = max(Patience.reprove, proofs / REPETITIONS)
    return (
        f"in steady state, reckoned from that: a round of proofs each {interval:.0f} s (the agent's interval is "
        f"{Patience.reprove:.0f} s, its bound {REPETITIONS:.0%} of the time), "
        f"{proofs * HOUR / interval:.0f} s of each hour: {proofs / interval:.1%} of the engine's time"
    )
