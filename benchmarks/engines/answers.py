"""From routes to a first answer, and from changed routes to another warm adapter's."""

import time
from statistics import median

from support.artifacts import Artifact
from support.traffic import WHOLE, Known
from support.waiting import eventually

from wardrobe_contracts.state import Verdict

from .ward import FIRST_SECONDS, NotAppliedError, Said, Ward

DEPARTMENTS = ("archive", "cardiology", "paediatrics")
LIVE = dict(zip(DEPARTMENTS, ("cardiology-v1", "cardiology-v2", "paediatrics-v1"), strict=True))
"""Department to Adapter. The archive has cardiology's former one."""
FLIPPED = ("paediatrics-v1", "cardiology-v2")
"""What cardiology is pointed at in turn: two whose texts differ from the first word on."""

Made = dict[str, Artifact]


def route(ward: Ward, made: Made, cardiology: str = "cardiology-v2") -> float:
    """The departments' routes; the moment before."""
    members = [
        made["cardiology-v1"].routed("archive", "cardiology"),
        made["cardiology-v2"].routed("cardiology"),
        made["paediatrics-v1"].routed("paediatrics", "cardiology"),
    ]
    live = LIVE | {"cardiology": cardiology}
    return ward.route(members, {department: made[adapter].name for department, adapter in live.items()})


def tell_first_answer(ward: Ward, made: Made) -> None:
    """One line: the whole, and what of it the agent's steps took for the adapter that answered."""
    began = route(ward, made)
    found = eventually(
        lambda: _good(ward.ask("cardiology", "cardiology", WHOLE)), within=FIRST_SECONDS, what="", every=0.01
    )
    whole = time.monotonic() - began
    name = made["cardiology-v2"].name
    state = ward.state()
    steps = state.adapters[name].timings.model_dump()
    parts = {
        "fetching": steps["fetch"],
        "engine's start": state.engine_sets.start_seconds if state.engine_sets else None,
        "loading": steps["load"],
        "proving": steps["prove"],
    }
    seconds = {part: value for part, value in parts.items() if value is not None}
    seconds |= {"the answer": found.seconds}
    seconds |= {"others' turns and waits": whole - sum(seconds.values())}
    shares = ", ".join(f"{part} {value:.2f} s ({value / whole:.0%})" for part, value in seconds.items())
    before = f" (its process listened {ward.start_seconds:.1f} s after its start, before)" if ward.start_seconds else ""
    print(f"{ward.subject.label}: from routes applied to the first answer {whole:.2f} s{before}: {shares}", flush=True)


def _good(said: Said) -> Said | None:
    if said.status in (200, 503):
        return said if said.status == 200 else None
    raise NotAppliedError(f"the router answers {said.status}: {said.text}")


def known_texts(ward: Ward, made: Made) -> Known:
    """What each adapter answers, once all are Applied. Raises NotAppliedError where it does not tell flips apart."""
    ward.await_verdicts(dict.fromkeys((one.name for one in made.values()), Verdict.APPLIED))
    known: Known = {}
    for department, adapter in LIVE.items():
        name = made[adapter].name
        said = eventually(lambda: _good(ward.ask(department, name, WHOLE)), within=60, what=name)  # noqa: B023  at once
        known[name, WHOLE] = said.text
    one, other = (known[made[adapter].name, WHOLE] for adapter in FLIPPED)
    if one == other:
        raise NotAppliedError(f"{ward.subject.label}: {' and '.join(FLIPPED)} both answer {one!r}")
    return known


def tell_flips(ward: Ward, made: Made, flips: int, known: Known) -> None:
    """One line of so many flips, back and forth. Raises NotAppliedError where header and text are of two adapters."""
    seconds: list[float] = []
    ordinary: list[float] = []
    for number in range(flips):
        adapter, former = FLIPPED[number % 2], FLIPPED[1 - number % 2]
        began = route(ward, made, adapter)
        said = _flipped(ward, made[adapter].name, began)
        seconds.append(time.monotonic() - began)
        if said.text == known[made[former].name, WHOLE]:
            raise NotAppliedError(f"{ward.subject.label}: {adapter} answers with the text of {former}: {said.text!r}")
        ordinary.append(ward.ask("cardiology", "cardiology", WHOLE).seconds)
    print(
        f"{ward.subject.label}: {flips} flips, from routes changed to the other's answer of {WHOLE} tokens: median "
        f"{median(seconds):.3f} s, worst {max(seconds):.3f} s; any answer takes {median(ordinary):.3f} s, so that a "
        f"flip is {median(seconds) / median(ordinary):.1f} answers; with the former one's text: 0",
        flush=True,
    )


def _flipped(ward: Ward, name: str, began: float) -> Said:
    """Ask until it answers."""
    while (said := ward.ask("cardiology", "cardiology", WHOLE)).engine_name != name:
        if said.status != 200 or time.monotonic() - began > FIRST_SECONDS:
            raise NotAppliedError(
                f"{ward.subject.label}: {said.status} of {said.engine_name} during a flip: {said.text}"
            )
    return said
