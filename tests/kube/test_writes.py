"""What becomes of a number that was written down for a Job which the API then does not make."""

from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from wardrobe.api.meta import Key
from wardrobe.kube.client import KubeClient, RefusedError, UnavailableError
from wardrobe.metrics import Metrics
from wardrobe.writes import Create, DropEntry

JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "run-train-2", "namespace": "ward"}}
ENTRY = DropEntry(Key("ConfigMap", "ward", "run-attempts"), "train.2")


@pytest.mark.parametrize(
    ("status", "there", "drops", "dropped", "raised"),
    [
        (422, False, 200, True, RefusedError),
        (409, True, 200, True, RefusedError),
        (500, False, 200, True, UnavailableError),  # a webhook that is away
        (504, True, 200, False, UnavailableError),  # made, and then not said
        (422, False, 503, True, RefusedError),  # why it was refused is said all the same
    ],
)
async def test_a_number_is_taken_back_where_there_is_no_job(
    status: int, there: bool, drops: int, dropped: bool, raised: type[Exception]
) -> None:
    asked: list[tuple[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.method, await request.json() if request.can_read_body else None))
        return web.json_response(
            {"message": "no"}, status={"POST": status, "PATCH": drops}.get(request.method, 200 if there else 404)
        )

    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", answer)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    async with client.ApiClient(configuration) as connection:
        with pytest.raises(raised):
            await KubeClient(connection, Metrics()).write(Create(JOB, if_refused=ENTRY))
    await runner.cleanup()
    assert (("PATCH", {"data": {"train.2": None}}) in asked) == dropped
