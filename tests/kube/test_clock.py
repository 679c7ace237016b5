"""Pauses go by the apiserver's clock, so that a wrong clock of a node makes none longer."""

from aiohttp import web
from kubernetes.aio import client

from wardrobe.api.meta import Key
from wardrobe.kube.client import KubeClient
from wardrobe.kube.clock import ApiClock
from wardrobe.metrics import Metrics

NOON = 1_767_268_800.0
NOON_SAID = "Thu, 01 Jan 2026 12:00:00 GMT"


class Machine:
    """A clock that is wrong, and one that only counts."""

    def __init__(self, wrong_by: float) -> None:
        self.wrong_by = wrong_by
        self.passed = 0.0

    def wall(self) -> float:
        return NOON + self.passed + self.wrong_by

    def monotonic(self) -> float:
        return 77.0 + self.passed


def test_two_operators_on_nodes_with_wrong_clocks_tell_the_same_time() -> None:
    for wrong_by in (-3600.0, 0.0, 3600.0):
        machine = Machine(wrong_by)
        clock = ApiClock(machine.wall, machine.monotonic)
        assert clock.seconds() == NOON + wrong_by, "nobody has said better yet"
        clock.hear(NOON_SAID)
        machine.passed = 30
        assert clock.timestamp() == "2026-01-01T12:00:30Z"


def test_a_clock_that_is_set_while_the_operator_runs_changes_no_pause() -> None:
    machine = Machine(0)
    clock = ApiClock(machine.wall, machine.monotonic)
    clock.hear(NOON_SAID)
    machine.wrong_by, machine.passed = 86_400.0, 10
    assert clock.timestamp() == "2026-01-01T12:00:10Z"


def test_time_does_not_go_to_and_fro_with_the_seconds_that_the_apiserver_rounds_away() -> None:
    machine = Machine(0)
    clock = ApiClock(machine.wall, machine.monotonic)
    clock.hear(NOON_SAID)
    machine.passed = 1.9
    clock.hear(NOON_SAID)
    assert clock.seconds() == NOON + 1.9
    machine.passed = 100
    clock.hear(NOON_SAID)
    assert clock.seconds() == NOON, "it was set"


def test_an_answer_without_a_date_tells_nothing() -> None:
    machine = Machine(5)
    clock = ApiClock(machine.wall, machine.monotonic)
    for date in (None, "", "soon"):
        clock.hear(date)
    assert clock.seconds() == NOON + 5


async def test_the_client_takes_the_time_from_every_answer() -> None:
    async def absent(_: web.Request) -> web.Response:
        return web.json_response({"message": "not found"}, status=404, headers={"Date": NOON_SAID})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", absent)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    async with client.ApiClient(configuration) as connection:
        kube = KubeClient(connection, Metrics())
        assert await kube.get(Key("Job", "ward", "heart")) is None
        assert kube.clock.timestamp().startswith("2026-01-01T12:00:0")
    await runner.cleanup()
