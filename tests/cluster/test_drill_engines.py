"""Engines that die, hang and freeze, and adapters of a stranger, among three replicas under traffic.

No answer is wrong, and lost is only what was in flight in an engine that died or hung.
"""

import contextlib
import math
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from support import deployed, forgery, on_the_node
from support.deployed import KEYS, Hospital, Timeline
from support.traffic import Answer, Traffic, flowing
from support.waiting import eventually

from devcluster import volumes
from wardrobe.api.meta import Manifest
from wardrobe_contracts.manifest import ADAPTER_CONFIG_FILE, MANIFEST_FILE
from wardrobe_contracts.probes import PROBES_FILE
from wardrobe_contracts.routes import ENGINE_PORT, engine_adapter_name
from wardrobe_contracts.state import AdapterState, Verdict

pytestmark = [pytest.mark.node, pytest.mark.drill]

Serve = Callable[..., Hospital]
IN_FLIGHT = 8
"""More requests than are under way in one engine at any time at the drills' pace."""
BROKEN = 70
"""What an engine ends with whose model has died or hangs."""
FORGED = 12
"""Adapters of a stranger."""


@pytest.fixture(scope="module")
def hospital(serve: Serve) -> Hospital:
    """Three engines with faults that can be switched on; cardiology has an adapter before its present one."""
    image = on_the_node.import_faulty_engine()
    departments = {"cardiology": "cardiology-v1", "paediatrics": "paediatrics-v1"}
    made = serve(deployed.deployment(replicas=3, **departments), more=f"--engine-image Transformers={image}")
    eventually(lambda: made.engines_ready() == 3, what="three engines")
    return made


@dataclass
class Drill:
    """Traffic, and when the part that is harmed may lose what is in flight in it."""

    hospital: Hospital
    traffic: Traffic
    struck: float = math.inf
    over: float = -math.inf

    def answered(self, count: int = 12) -> None:
        """Wait for so many good answers to requests from now on."""
        began = time.monotonic()
        eventually(lambda: len(self.good_since(began)) >= count, what=f"{count} answers")

    def good_since(self, began: float) -> list[Answer]:
        return [answer for answer in self.traffic.since(began) if answer.good]

    @contextlib.contextmanager
    def striking(self) -> Iterator[None]:
        """Around what harms, until the others are alone with the requests."""
        self.struck = time.monotonic()
        yield
        self.over = time.monotonic()

    def lost(self) -> list[Answer]:
        """What was lost; all of it was in flight while the part was harmed."""
        lost = self.traffic.failures()
        assert [answer for answer in lost if answer.ended < self.struck or answer.began > self.over] == []
        return lost


@contextlib.contextmanager
def drill(hospital: Hospital, routed: str = "cardiology-v1") -> Iterator[Drill]:
    """Ask while the block harms, until three serve again and beyond."""
    found = Drill(hospital, hospital.traffic())
    with flowing(found.traffic):
        found.answered()
        yield found
        hospital.is_ready()
        eventually(lambda: hospital.engines_ready() == 3, what=lambda: str(hospital.status()))
        found.answered()
    good = (answer for answer in found.traffic.answers if answer.good)
    assert deployed.names(good) == {("cardiology", routed), ("paediatrics", "paediatrics-v1")}


def engine_restarts(hospital: Hospital) -> dict[str, int]:
    """Of each engine pod, how often its engine was started again."""
    return {pod["metadata"]["uid"]: restarts(pod) for pod in hospital.pods("engine")}


def engine_status(pod: Manifest) -> Manifest:
    """The engine's container as the kubelet sees it."""
    statuses = [*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])]
    found: Manifest = next(status for status in statuses if status["name"] == "engine")
    return found


def restarts(pod: Manifest) -> int:
    """How often its engine was started again."""
    count: int = engine_status(pod)["restartCount"]
    return count


def again(hospital: Hospital, pod: Manifest) -> Manifest:
    """The pod as it is now."""
    uid = pod["metadata"]["uid"]
    return next(found for found in hospital.pods("engine") if found["metadata"]["uid"] == uid)


def test_a_request_that_kills_its_engine_kills_two_at_most(hospital: Hospital) -> None:
    before = engine_restarts(hospital)
    with drill(hospital) as found:
        with found.striking():
            body: dict[str, Any] = {
                "model": "cardiology",
                "messages": [{"role": "user", "content": on_the_node.DEADLY}],
            }
            headers = {"Authorization": f"Bearer {KEYS['cardiology']}"}
            answer = requests.post(f"{hospital.url}/v1/chat/completions", json=body, headers=headers, timeout=60)
        assert answer.status_code in {502, 503}, answer.text
        found.answered()
    after = engine_restarts(hospital)
    killed = sum(after[uid] - before[uid] for uid in before)
    print(f"engines killed: {killed}, other requests lost: {len(found.lost())}")  # noqa: T201
    assert 1 <= killed <= 2
    assert len(found.lost()) <= killed * IN_FLIGHT


@pytest.mark.parametrize("fault", ["die", pytest.param("hang", marks=pytest.mark.gauntlet)])
def test_an_engine_whose_model_dies_or_hangs_ends_and_is_started_again(hospital: Hospital, fault: str) -> None:
    victim = min(hospital.pods("engine"), key=restarts)  # the kubelet lets one wait that was started again lately
    before = restarts(victim)
    with drill(hospital) as found:
        with found.striking():
            break_model(hospital, victim, fault)
            eventually(
                lambda: restarts(again(hospital, victim)) > before,
                what=lambda: str(again(hospital, victim)["status"]),
            )
        found.answered()
    last = engine_status(again(hospital, victim))["lastState"]["terminated"]
    print(f"{fault}: {found.over - found.struck:.1f} s until another engine, requests lost: {len(found.lost())}")  # noqa: T201
    assert last["exitCode"] == BROKEN
    assert len(found.lost()) <= IN_FLIGHT


def break_model(hospital: Hospital, pod: Manifest, fault: str) -> None:
    """From now on no step ends, or the thread dies: an adapter is unloaded, and that goes wrong."""
    on_the_node.post_in(pod, "faulty_engine", ENGINE_PORT, "/test/fault", {"fault": fault})
    if fault == "die":
        name = {"lora_name": engine_name(hospital, "cardiology-v1")}
        with contextlib.suppress(subprocess.CalledProcessError):  # the engine ends meanwhile
            on_the_node.post_in(pod, "faulty_engine", ENGINE_PORT, "/v1/unload_lora_adapter", name)


def engine_name(hospital: Hospital, adapter: str) -> str:
    """An Adapter as engines call it."""
    return engine_adapter_name(adapter, (hospital.namespace.get("Adapter", adapter) or {})["spec"]["digest"])


def test_a_rollback_does_not_wait_for_an_agent_that_is_frozen(hospital: Hospital) -> None:
    """All requests after it are answered by the adapter of before, and none by the frozen one's old order."""
    hospital.flip("cardiology", "cardiology-v2")
    hospital.is_ready()
    timeline = Timeline("cardiology", "cardiology-v2")
    agent = on_the_node.process_in(hospital.pods("engine")[0], "wardrobe-agent")
    with flowing(hospital.traffic()) as traffic:
        found = Drill(hospital, traffic)
        found.answered()
        with found.striking(), on_the_node.frozen(agent):
            timeline.flips.append(hospital.flip("cardiology", "cardiology-v1", within=60))
            found.answered(24)
        hospital.is_ready()
        eventually(lambda: hospital.engines_ready() == 3, what=lambda: str(hospital.status()))
        found.answered()
    flip = timeline.flips[0]
    print(f"rolled back in {flip.applied - flip.asked:.2f} s beside a frozen agent, requests lost: {len(found.lost())}")  # noqa: T201
    assert timeline.wrong(traffic.answers) == []
    assert len(found.lost()) <= IN_FLIGHT


def test_a_strangers_files_get_verdicts_and_harm_nobody(hospital: Hospital) -> None:
    """Probes, manifests and configurations that are something like what they should be, all at once."""
    namespace = hospital.namespace
    store = volumes.folder(namespace.name, "wardrobe-store")
    good = namespace.get("Adapter", "paediatrics-v1") or {}
    forged = [forgery.by_hand(store, good, 20 + number, change) for number, change in enumerate(changes())]
    for adapter in forged:
        namespace.apply(adapter)
    before = engine_restarts(hospital)
    strangers = {f"stranger-{adapter['spec']['version']}": adapter for adapter in forged}
    for name in strangers:
        hospital.secret(name, f"key-of-the-{name}")
    with drill(hospital) as found:
        hospital.patch({"departments": {name: asked(name, one) for name, one in strangers.items()}})
        names = {engine_name(hospital, one["metadata"]["name"]) for one in forged}
        eventually(lambda: judged(hospital, names), what=lambda: str(verdicts(hospital)))
        said = verdicts(hospital)
        found.answered()
        hospital.patch({"departments": dict.fromkeys(strangers)})
    print({name: f"{said[name].verdict} {said[name].reason}" for name in sorted(names)})  # noqa: T201
    assert found.lost() == []
    assert engine_restarts(hospital) == before


def changes() -> Iterator[forgery.Change]:
    """The same each time."""
    chance = random.Random(8)  # noqa: S311
    for number in range(FORGED):
        name = (PROBES_FILE, MANIFEST_FILE, ADAPTER_CONFIG_FILE)[number % 3]

        def change(folder: Path, name: str = name) -> None:
            (folder / name).write_bytes(forgery.fuzzed((folder / name).read_bytes(), chance))

        yield change


def asked(department: str, adapter: Manifest) -> Manifest:
    return {"adapter": adapter["metadata"]["name"], "keys": {"secretName": f"{department}-keys"}}


def verdicts(hospital: Hospital) -> dict[str, AdapterState]:
    """What a replica says of its adapters."""
    state = hospital.agent(hospital.pods("engine")[0])
    return {} if state is None else state.adapters


def judged(hospital: Hospital, names: set[str]) -> bool:
    """Whether every replica has a verdict on all of them."""
    agents = [hospital.agent(pod) for pod in hospital.pods("engine")]
    states = [agent.adapters.get(name) for agent in agents if agent for name in names]
    found = [state for state in states if state is not None and state.verdict is not Verdict.PENDING]
    return len(found) == 3 * len(names)
