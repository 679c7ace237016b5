"""Each part of serving is killed under traffic: no wrong answer, and lost is only what was on the killed part."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from kubernetes import client
from support import deployed, on_the_node
from support.cluster import as_text, without_times
from support.deployed import Hospital, Timeline
from support.operator_process import Operators
from support.traffic import Traffic, flowing
from support.waiting import eventually

from wardrobe.api.meta import Manifest

pytestmark = [pytest.mark.node, pytest.mark.drill]

Serve = Callable[..., Hospital]
IN_FLIGHT = 8
"""More requests than are under way at any time at the drills' pace."""
ROUTED = {("cardiology", "cardiology-v1"), ("paediatrics", "paediatrics-v1")}


@pytest.fixture(scope="module")
def hospital(serve: Serve) -> Hospital:
    """Two engines, so that one may go."""
    return serve(deployed.deployment(replicas=2, cardiology="cardiology-v1", paediatrics="paediatrics-v1"))


@dataclass
class Asking:
    """Whole answers and streams, asked for at the same time."""

    whole: Traffic
    streams: Traffic
    struck: float = math.inf
    """When the part that the drill kills was about to be killed."""
    dead: float = -math.inf
    """When nothing of it was left."""

    def go_on(self, count: int = 12) -> None:
        """Wait for so many further answers of each sort."""
        began = time.monotonic()
        for traffic in (self.whole, self.streams):
            eventually(lambda: len(traffic.since(began)) >= count, what=f"{count} answers")  # noqa: B023

    @contextlib.contextmanager
    def killing(self) -> Iterator[None]:
        """Around the kill: whatever is in flight on the part meanwhile is lost."""
        self.struck = time.monotonic()
        yield
        self.dead = time.monotonic()


@contextlib.contextmanager
def asking(hospital: Hospital, *, wholes_may_be_lost: bool = False) -> Iterator[Asking]:
    """Ask while the block kills, until all is Ready again and beyond. Lost may be what was in flight at the kill.

    Streams, as their first piece may have reached the client. Whole answers only where the router itself was killed:
    it asks another engine for them otherwise.
    """
    calls = Asking(hospital.traffic(3), hospital.traffic(2, tokens=24, stream=True))  # one engine alone keeps up
    with flowing(calls.whole), flowing(calls.streams):
        calls.go_on()
        yield calls
        hospital.is_ready()
        eventually(lambda: both_serve(hospital), what="two engines and two routers again")
        calls.go_on()
    answers = [*calls.whole.answers, *calls.streams.answers]
    assert deployed.names(answer for answer in answers if answer.good) == ROUTED
    lost = [*calls.streams.failures(), *(calls.whole.failures() if wholes_may_be_lost else [])]
    assert [answer for answer in lost if answer.ended < calls.struck or answer.began > calls.dead] == []
    assert len(lost) <= IN_FLIGHT
    if not wholes_may_be_lost:
        assert calls.whole.failures() == []


def both_serve(hospital: Hospital) -> bool:
    """Whether two engine pods have proved what is routed, and two routers are Ready."""
    return hospital.engines_ready() == 2 == len([pod for pod in hospital.pods("router") if is_ready(pod)])


def is_ready(pod: Manifest) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))


def kill_pod(hospital: Hospital, part: str, program: str, calls: Asking) -> None:
    """At once, as a node's failure would; returns when there is another pod for it."""
    victim = hospital.pods(part)[0]
    with calls.killing():
        on_the_node.kill_in(victim, program)
    name, namespace = victim["metadata"]["name"], hospital.namespace.name
    client.CoreV1Api(hospital.namespace.api).delete_namespaced_pod(name, namespace, grace_period_seconds=0)
    eventually(
        lambda: victim["metadata"]["uid"] not in hospital.restarts(part) and len(hospital.pods(part)) == 2,
        what="another pod",
    )


def test_an_engine_process_is_killed(hospital: Hospital) -> None:
    """The kubelet starts it again in the same pod; its agent loads and proves anew before it answers."""
    victim = hospital.pods("engine")[0]
    before = hospital.agent(victim)
    assert before is not None
    with asking(hospital) as calls:
        with calls.killing():
            on_the_node.kill_in(victim, "wardrobe-engine")

        def proved_anew() -> bool:
            state = hospital.agent(victim)
            return state is not None and state.engine.starts > before.engine.starts and state.ready

        eventually(proved_anew, what="another start of the engine")


def test_an_engine_pod_is_killed(hospital: Hospital) -> None:
    with asking(hospital) as calls:
        kill_pod(hospital, "engine", "wardrobe-agent", calls)


def test_a_router_is_killed(hospital: Hospital) -> None:
    with asking(hospital, wholes_may_be_lost=True) as calls:
        kill_pod(hospital, "router", "wardrobe-router", calls)


def test_the_operator_is_killed(hospital: Hospital, operators: Operators) -> None:
    """Nobody notices, and the next one finds all as it was."""
    before = hospital.restarts()
    with asking(hospital) as calls:
        operators.of(hospital.namespace).kill()
        calls.go_on(30)
        operators.begin(hospital.namespace)
        eventually(operators.of(hospital.namespace).healthy, what="another operator")
    assert hospital.restarts() == before


def test_the_apiserver_is_away_for_a_minute(hospital: Hospital) -> None:
    """Answers go on; afterwards a rollback works as before."""
    before = hospital.restarts()
    hospital.flip("cardiology", "cardiology-v2")
    timeline = Timeline("cardiology", "cardiology-v2")
    with flowing(hospital.traffic()) as traffic:
        with on_the_node.without_apiserver():
            gone = time.monotonic()
            eventually(lambda: time.monotonic() > gone + 60, what="a minute")
        assert len(traffic.since(gone)) > 200
        timeline.flips.append(hospital.flip("cardiology", "cardiology-v1"))
        back = timeline.flips[-1].applied
        eventually(lambda: len(traffic.since(back)) >= 12, what="answers after the rollback")
    assert traffic.failures() == []
    assert timeline.wrong(traffic.answers) == []
    hospital.is_ready()
    assert hospital.restarts() == before


def test_wiped_statuses_touch_no_pod_and_no_route(hospital: Hospital) -> None:
    namespace = hospital.namespace
    kinds = ("BaseModel", "Adapter", "AdapterDeployment")
    objects = [(kind, found["metadata"]["name"]) for kind in kinds for found in namespace.all(kind)]
    before, pods, routes = hospital.status(), hospital.restarts(), hospital.routes()
    with flowing(hospital.traffic()) as traffic:
        for kind, name in objects:
            namespace.wipe_status(kind, name)
        hospital.is_ready()
        for kind, name in objects:
            namespace.await_condition(kind, name, "Ready", "True")

        def same() -> bool:
            return bool(without_times(hospital.status()) == without_times(before))

        eventually(same, what=lambda: f"{as_text(before)}; it is {as_text(hospital.status())}")
        answered = len(traffic.answers)
        eventually(lambda: len(traffic.answers) >= answered + 12, what="answers")
    assert traffic.failures() == []
    assert hospital.restarts() == pods
    assert hospital.routes() == routes
