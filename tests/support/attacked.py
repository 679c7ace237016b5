"""An attack on a hospital on the node, and what it did to the department that was not attacked."""

import asyncio
import dataclasses
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from wardrobe.api.meta import Manifest
from wardrobe_contracts.routes import ROUTER_PORT

from . import on_the_node
from .attacks import ATTACKER, VICTIM, Answers, Attack, Target
from .deployed import KEYS, Hospital
from .traffic import flowing
from .waiting import eventually

PER_SECOND = 4.0
"""The other department's questions."""
AROUND = 8
"""Its answers before the attack, and after it."""
CONTAINERS = {"router": ("router",), "engine": ("engine", "agent")}
"""Of the pods of each part."""


@dataclass(frozen=True)
class Memory:
    """Of one container since it started, in bytes."""

    container: str
    peak: int
    limit: int


@dataclass(frozen=True)
class Damage:
    """What became of the other department's questions, and of the pods."""

    seconds: float
    attacker: Answers
    asked: int
    worst: float
    """Seconds of the slowest good answer."""
    failed: list[str]
    wrong: list[str]
    untouched: bool
    """The same pods, none of their containers restarted."""
    memory: list[Memory]


def suffer(hospital: Hospital, attack: Attack) -> Damage:
    """One attack under the other department's traffic, until nothing of it is in flight."""
    before = hospital.restarts()
    traffic = dataclasses.replace(hospital.traffic(PER_SECOND), keys={VICTIM: KEYS[VICTIM]})
    with flowing(traffic):
        eventually(lambda: len(traffic.answers) >= AROUND, what="answers before")
        began = time.monotonic()
        answers = asyncio.run(_run(attack, target(hospital)))
        ended = time.monotonic()
        eventually(lambda: len(traffic.since(ended)) >= AROUND, what="answers after")
    eventually(lambda: in_flight(hospital) == 0, what=lambda: f"nothing in flight: {in_flight(hospital)}")
    good = [answer for answer in traffic.answers if answer.good]
    return Damage(
        seconds=ended - began,
        attacker=answers,
        asked=len(traffic.answers),
        worst=max(answer.ended - answer.began for answer in good),
        failed=[f"{answer.status} {answer.error}" for answer in traffic.answers if not answer.good],
        wrong=[answer.text for answer in traffic.misspoken()],
        untouched=hospital.restarts() == before,
        memory=memory(hospital),
    )


async def _run(attack: Attack, at: Target) -> Answers:
    return await attack(at)


def target(hospital: Hospital) -> Target:
    """The attacker's key, and the first router."""
    address = hospital.pods("router")[0]["status"]["podIP"]
    return Target(hospital.url, address, ROUTER_PORT, KEYS[ATTACKER])


def in_flight(hospital: Hospital) -> int:
    """Requests of all adapters that agents hold; those of an agent that does not answer count as one."""
    states = [hospital.agent(pod) for pod in hospital.pods("engine")]
    return sum(1 if state is None else sum(one.in_flight for one in state.adapters.values()) for state in states)


def memory(hospital: Hospital) -> list[Memory]:
    """Peaks of all containers against their limits."""
    found = [(part, pod) for part in CONTAINERS for pod in hospital.pods(part)]
    return [_memory(pod, name) for part, pod in found for name in CONTAINERS[part]]


def _memory(pod: Manifest, container: str) -> Memory:
    pid = on_the_node.process_in(pod, f"wardrobe-{container}")
    groups = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    of = {controller: path for _, controllers, path in groups for controller in controllers.split(",")}
    if "memory" in of:  # cgroup v1
        folder, peak, limit = Path("/sys/fs/cgroup/memory"), "memory.max_usage_in_bytes", "memory.limit_in_bytes"
        folder /= of["memory"].lstrip("/")
    else:
        folder, peak, limit = Path("/sys/fs/cgroup") / of[""].lstrip("/"), "memory.peak", "memory.max"
    return Memory(container, int((folder / peak).read_text()), int((folder / limit).read_text()))


def tell(name: str, damage: Damage) -> list[str]:
    """A benchmark's lines."""
    said = ", ".join(f"{count} x {status or 'closed'}" for status, count in sorted(damage.attacker.items()))
    peaks: dict[str, Memory] = {}
    for one in sorted(damage.memory, key=lambda one: one.peak):
        peaks[one.container] = one
    used = ", ".join(f"{name} {_mib(one.peak)} of {_mib(one.limit)}" for name, one in sorted(peaks.items()))
    lines = [
        f"{name}: {damage.seconds:.1f} s, answered {said}",
        f"  the other department: {damage.asked} asked, worst answer {damage.worst:.2f} s (wanted: < 2 s), "
        f"failed {len(damage.failed)}, wrong {len(damage.wrong)} (wanted: 0)",
        f"  peak memory in MiB: {used}; restarts or new pods: {'none' if damage.untouched else 'some'}",
    ]
    return [*lines, *(f"    {count} x {error}" for error, count in Counter(damage.failed).most_common(3))]


def _mib(count: int) -> int:
    return round(count / 2**20)
