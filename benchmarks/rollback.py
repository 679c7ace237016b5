"""How fast a department gets another adapter: flips under traffic, and an adapter that was never loaded before.

usage: make bench-rollback        (root; the node that is up, or one of its own; about 6 minutes)

The operator runs beside the node. 20 requests of 8 tokens each second, dealt to two departments; the answers' adapter
headers are compared with what was routed at any moment between a request and its answer, and the texts with what each
adapter is known to answer.
"""

import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import node_namespaces
from support.deployed import Flip, Hospital, Timeline
from support.traffic import Answer, Traffic, flowing
from support.waiting import eventually

FLIPS = 50
PER_SECOND = 20
STEPS = ("fetch", "load", "prove")


def main() -> None:
    """Run on the node that is up, or on one of its own."""
    with node_namespaces.hospital_for_benchmark() as hospital:
        tell_new_adapter(hospital)
        tell_flips(hospital)


def tell_new_adapter(hospital: Hospital) -> None:
    """From the patch to the first answer by an adapter that no replica had."""
    with flowing(hospital.traffic(PER_SECOND)) as traffic:
        flip = hospital.flip("cardiology", "cardiology-v2")
        first = eventually(lambda: answered_by(traffic, "cardiology-v2"), within=60, what="an answer")
    assert first is not None
    state = hospital.agent(hospital.pods("engine")[0])
    assert state is not None
    timings = next(adapter.timings for name, adapter in state.adapters.items() if name.startswith("cardiology-v2-"))
    seconds = timings.model_dump()
    whole = first.ended - flip.patched
    print(f"new adapter, from the patch's return to the first answer by it: {whole:.2f} s")
    print("  of these: " + ", ".join(f"{step} {seconds[step]:.2f} s ({seconds[step] / whole:.0%})" for step in STEPS))


def answered_by(traffic: Traffic, adapter: str) -> Answer | None:
    """The first answer by an Adapter."""
    return next((answer for answer in list(traffic.answers) if answer.engine_name.startswith(f"{adapter}-")), None)


def tell_flips(hospital: Hospital) -> None:
    """Back and forth between two adapters that are loaded."""
    before = hospital.restarts()
    timeline = Timeline("cardiology", "cardiology-v2")
    with flowing(hospital.traffic(PER_SECOND)) as traffic:
        began = time.monotonic()
        for number in range(FLIPS):
            timeline.flips.append(hospital.flip("cardiology", f"cardiology-v{1 + number % 2}"))
            awaited = len(traffic.answers) + PER_SECOND // 2
            eventually(lambda: len(traffic.answers) >= awaited, within=60, what="answers")  # noqa: B023  called at once
        rate = len(traffic.answers) / (time.monotonic() - began)
    tell(timeline.flips, traffic, timeline.wrong(traffic.answers), rate)
    print(f"  restarts or new pods: {0 if hospital.restarts() == before else 'some'} (wanted: 0)")


def tell(flips: list[Flip], traffic: Traffic, wrong: list[Answer], rate: float) -> None:
    """The figures of the flips."""
    seconds = sorted(flip.applied - flip.patched for flip in flips)
    print(f"{len(flips)} flips at {rate:.1f} answers/s of {traffic.tokens} tokens")
    print("  from the patch's return until all routers have applied it:")
    print(f"    median {median(seconds):.3f} s, worst {seconds[-1]:.3f} s (wanted: worst < 1 s)")
    print(f"  requests {len(traffic.answers)}, connections tried again {traffic.refused}")
    print(f"  failed: {len(traffic.failures())} (wanted: 0), wrong adapter: {len(wrong)} (wanted: 0)")
    print(f"  another text than its adapter's: {len(traffic.misspoken())} (wanted: 0)")


if __name__ == "__main__":
    main()
