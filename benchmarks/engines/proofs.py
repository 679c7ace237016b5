"""Proofs repeated under load: of adapters that are right, and of such whose files the engine was given wrong."""

import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from support import forgery
from support.forgery import Change, republish
from support.traffic import Answer, Known, Traffic

from wardrobe_contracts.probes import PROBES_FILE, Probes
from wardrobe_contracts.routes import RoutedAdapter
from wardrobe_contracts.state import Verdict
from wardrobe_gateway.agent.adapters import LocalAdapter
from wardrobe_gateway.agent.fetch import Fetched
from wardrobe_gateway.agent.patience import Patience
from wardrobe_gateway.agent.probing import Replica, prove_in_time
from wardrobe_gateway.agent.proof import Judgement
from wardrobe_gateway.engines import EngineBusyError, EngineDownError
from wardrobe_gateway.engines.dialects import DIALECTS
from wardrobe_gateway.engines.http import EngineHttp
from wardrobe_gateway.forwarding import session

from .answers import LIVE, Made
from .subjects import VARIANT
from .ward import Ward, key_of

CLIENTS = 4
TEN = 10
"""Proofs, of which each wrong adapter has one and the right ones have the others."""
ENGINE_SECONDS = 300.0


@dataclass(frozen=True)
class Case:
    """An adapter, and what every proof of it should say."""

    kind: str
    routed: RoutedAdapter
    expected: Verdict
    siblings: Sequence[str]
    strangers: Sequence[str]


@dataclass(frozen=True)
class Wanted:
    """How many proofs, but no further ten after so many seconds."""

    number: int
    seconds: float


Wrong = tuple[RoutedAdapter, Verdict]
"""An adapter, and what should be found."""


def wrong_adapters(store: Path, made: Made) -> dict[str, Wrong]:
    """Published with true digests and the probes of cardiology-v2, but with other weights than those recorded."""
    good = made["cardiology-v2"].path
    changes: dict[str, tuple[Change, Verdict]] = {
        "v_proj halved": (forgery.halve_v_proj, Verdict.DIVERGED),
        "half of v_proj zero": (forgery.zero_half_of_v_proj, Verdict.DIVERGED),
        "the base in its place": (forgery.zero_all, Verdict.NOT_APPLIED),
        "a sibling in its place": (forgery.weights_of(store / made["cardiology-v1"].path), Verdict.WRONG_ADAPTER),
    }
    return {
        kind: (_published(store, good, change, number), verdict)
        for number, (kind, (change, verdict)) in enumerate(changes.items(), start=11)
    }


def _published(store: Path, good: str, change: Change, number: int) -> RoutedAdapter:
    """In a department of its own: beside cardiology-v2, whose probes it has, each would be taken for that one."""
    routed = republish(store, good, change, adapter=f"cardiology-v{number}")
    return routed.model_copy(update={"departments": [f"wrong-{number}"]})


def members(made: Made, wrong: Mapping[str, Wrong]) -> list[RoutedAdapter]:
    """Of the routes. Every wrong adapter has cardiology-v1 as its sibling."""
    former = made["cardiology-v1"].routed(
        "archive", "cardiology", *(routed.departments[0] for routed, _ in wrong.values())
    )
    return [
        former,
        made["cardiology-v2"].routed(),
        made["paediatrics-v1"].routed(),
        *(routed for routed, _ in wrong.values()),
    ]


def cases(made: Made, wrong: Mapping[str, Wrong]) -> list[Case]:
    """Ten proofs. Siblings and strangers are those that an agent would have, were there no wrong ones."""
    v1, v2, child = (made[name] for name in ("cardiology-v1", "cardiology-v2", "paediatrics-v1"))
    near = {
        v1.name: ([v2.name], [child.name]),
        v2.name: ([v1.name], [child.name]),
        child.name: ([], [v1.name, v2.name]),
    }
    right = [Case("right", one.routed(), Verdict.APPLIED, *near[one.name]) for one in (v1, v2, child)]
    others = [Case(kind, routed, verdict, [v1.name], [child.name]) for kind, (routed, verdict) in wrong.items()]
    return [*itertools.islice(itertools.cycle(right), TEN - len(others)), *others]


def prepare(ward: Ward, made: Made, wrong: Mapping[str, Wrong]) -> None:
    """Have the agent give the engine all of them, and wait until it has found out itself what each is."""
    ward.route(members(made, wrong), {department: made[adapter].name for department, adapter in LIVE.items()})
    expected = dict.fromkeys((one.name for one in made.values()), Verdict.APPLIED)
    ward.await_verdicts(expected | {routed.engine_name: verdict for routed, verdict in wrong.values()})


def tell_proofs(ward: Ward, store: Path, ten: Sequence[Case], wanted: Wanted, known: Known) -> list[str]:
    """Lines of what so many proofs said under load; returns what is not as it should be."""
    keys = {department: key_of(department) for department in LIVE}
    traffic = Traffic(ward.router.url, keys, 0, known, patience=ENGINE_SECONDS)
    began = time.monotonic()
    verdicts, seconds = asyncio.run(_prove_under_load(ward, store, ten, wanted, traffic))
    spent = time.monotonic() - began
    label = ward.subject.label
    print(
        f"{label}: {len(seconds)} proofs (of {wanted.number} wanted) by the agent's code under load of {CLIENTS} "
        f"clients who ask {len(LIVE)} adapters, {len(traffic.answers) / spent:.1f} answers/s: one takes "
        f"{median(seconds):.2f} s, all took {spent:.0f} s"
    )
    problems = [_tell_kind(label, kind, expected, found) for (kind, expected), found in verdicts.items()]
    problems.append(_tell_answers(label, traffic))
    sys.stdout.flush()
    return [problem for problem in problems if problem]


def _tell_kind(label: str, kind: str, expected: Verdict, found: Counter[str]) -> str:
    """A line; what is wrong, or nothing."""
    number, right = found.total(), found[expected.value]
    others = ", ".join(f"{count} {what}" for what, count in found.items() if what != expected)
    if expected is Verdict.APPLIED:
        line = f"  {kind}: {number} proofs, other than Applied {number - right} (wanted: 0)"
    else:
        line = f"  {kind}: found {right} of {number} as {expected} (wanted: all)"
    print(line + (f": {others}" if others else ""))
    return f"{label}: {kind}: {others}" if others else ""


def _tell_answers(label: str, traffic: Traffic) -> str:
    """The same of the clients' answers. In bfloat16 a text differs by who is in the batch: then it is nobody's."""
    failed, other = traffic.failures(), traffic.misspoken()
    wrong = [answer for answer in other if not answer.adapter.endswith("nobody known by its text")]
    print(
        f"  answers meanwhile: {len(traffic.answers)}, failed {len(failed)} (wanted: 0), another adapter's text "
        f"{len(wrong)} (wanted: 0), a text that is none's {len(other) - len(wrong)}"
    )
    return f"{label}: answers under load: {_first(failed + wrong)}" if failed or wrong else ""


def _first(answers: Sequence[Answer]) -> str:
    return f"{len(answers)} failed or were another's, the first: {answers[0]}"


Verdicts = dict[tuple[str, Verdict], Counter[str]]


async def _prove_under_load(
    ward: Ward, store: Path, ten: Sequence[Case], wanted: Wanted, traffic: Traffic
) -> tuple[Verdicts, list[float]]:
    """By kind how often what was found; and seconds of each."""
    verdicts: Verdicts = {(case.kind, case.expected): Counter() for case in ten}
    seconds: list[float] = []
    end = time.monotonic() + wanted.seconds
    async with _asked(traffic), session(ENGINE_SECONDS) as connection:
        engine = DIALECTS[ward.subject.type](EngineHttp(connection, ward.engine_url))
        for number, case in enumerate(itertools.islice(itertools.cycle(ten), wanted.number)):
            if number % TEN == 0 and number and time.monotonic() > end:
                break
            local = _local(store, case.routed)
            replica = Replica(VARIANT, ward.subject.tolerance, case.siblings, case.strangers)
            began = time.monotonic()
            try:
                outcome = await prove_in_time(engine, local, replica, Patience.proof)
                found = outcome.verdict.value if isinstance(outcome, Judgement) else type(outcome).__name__
            except (EngineBusyError, EngineDownError) as error:
                found = type(error).__name__
            seconds.append(time.monotonic() - began)
            verdicts[case.kind, case.expected][found] += 1
            _progress(ward.subject.label, number + 1, wanted.number)
    return verdicts, seconds


@asynccontextmanager
async def _asked(traffic: Traffic) -> AsyncIterator[None]:
    """Clients ask while the block runs."""
    ended = asyncio.Event()
    asking = asyncio.create_task(traffic.keep_asking(CLIENTS, ended))
    try:
        yield
    finally:
        ended.set()
        await asking


def _local(store: Path, routed: RoutedAdapter) -> LocalAdapter:
    """As an agent has it that proved it before."""
    folder = store / routed.artifact
    probes = Probes.model_validate_json((folder / PROBES_FILE).read_bytes())
    return LocalAdapter(routed, verdict=Verdict.APPLIED, fetched=Fetched(folder, probes))


def _progress(label: str, number: int, of: int) -> None:
    if number % max(1, of // 10) == 0:
        print(f"{label}: proof {number} of {of}", file=sys.stderr, flush=True)
