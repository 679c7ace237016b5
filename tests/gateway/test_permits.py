"""The operator's permits and agents that follow them: its own decision on what real agents say, and real wrappers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import resources
from support.artifacts import BASE, Artifact
from support.gateway import DEPLOYMENT, until
from support.tgi_pods import SHAPE, TgiPod, publish, tgi_pod

from wardrobe.api.adapter import AdapterResource
from wardrobe.api.adapterdeployment import AdapterDeploymentSpec
from wardrobe.api.reasons import Waiting
from wardrobe.deployment.children.revision import History
from wardrobe.deployment.proofs import Replica
from wardrobe.deployment.rollout import Inputs, Rollout, roll_out
from wardrobe_contracts.routes import Routes
from wardrobe_gateway.agent.patience import Patience

LOOKS = 0.1
"""Seconds between two looks of the operator at its pods."""
QUICK = Patience(gather=0.2)


class Ward:
    """Pods of one deployment, and an operator that remembers nothing but the routes."""

    def __init__(self, pods: list[TgiPod], *adapters: Artifact) -> None:
        self.pods = pods
        self.adapters = {one.routed().adapter: _resource(one) for one in adapters}
        self.wanted = next(iter(self.adapters))
        self.known = {self.wanted}
        """Adapters that departments name."""
        self.routes: Routes | None = None
        self.rolled: Rollout | None = None
        self.most_away = 0
        """Pods that were not ready at once, once all had been."""
        self.restarted: list[str] = []
        """Pods that permits were for, one after another."""

    def reconcile(self) -> None:
        """See, decide, write."""
        replicas = [self._replica(f"engine-{number}", pod) for number, pod in enumerate(self.pods)]
        inputs = Inputs(
            deployment=DEPLOYMENT,
            spec=self._spec(),
            base_digest=BASE,
            adapters=self.adapters,
            history=History(1, {"cardiology": sorted(self.known - {self.wanted})}),
            current=self.routes,
            replicas=replicas,
            shape=SHAPE,
            agents_look=True,
            gap_announced=True,
        )
        self.rolled = roll_out(inputs, self.routes.generation + 1 if self.routes else 1)
        if self.rolled.routes == self.routes:
            return
        self.routes = self.rolled.routes
        for pod in self.pods:
            pod.given = self.routes
            pod.apply(self.routes)
        permit = self.routes.permit
        if permit and self.restarted[-1:] != [permit.pod]:
            self.restarted.append(permit.pod)

    def _replica(self, name: str, pod: TgiPod) -> Replica:
        state = pod.agent.state()
        return Replica(name, ready=state.ready, state=state)

    def _spec(self) -> AdapterDeploymentSpec:
        made = resources.deployment(spec={"quantization": "None", "engine": {"type": "TGI", "gpus": 1}})
        department = {"adapter": self.wanted, "keys": {"secretName": "k"}}
        wanted = {**made["spec"], "replicas": len(self.pods), "departments": {"cardiology": department}}
        return AdapterDeploymentSpec.model_validate(wanted)

    def point(self, adapter: str) -> None:
        self.wanted = adapter
        self.known.add(adapter)

    @property
    def routed(self) -> str | None:
        """What the department is answered by."""
        return self.rolled.departments["cardiology"].routed if self.rolled else None

    def said(self) -> tuple[str, str]:
        """Reason and message of the department."""
        assert self.rolled
        found = self.rolled.departments["cardiology"]
        return found.reason.value, found.message

    async def watch(self) -> None:
        """Look at the pods for ever."""
        while True:
            self.reconcile()
            if self.restarted:
                self.most_away = max(self.most_away, sum(not pod.agent.state().ready for pod in self.pods))
            await asyncio.sleep(LOOKS)


def _resource(one: Artifact) -> AdapterResource:
    routed = one.routed()
    made = resources.adapter(routed.adapter, base=BASE, variants=("None",))
    made["spec"] |= {"digest": routed.digest, "manifestDigest": routed.manifest_digest}
    made["spec"]["artifact"] = {"path": routed.artifact}
    return AdapterResource.parse(resources.stored(made, usedBy=[DEPLOYMENT]))


@contextlib.asynccontextmanager
async def watched(ward: Ward) -> AsyncIterator[None]:
    """An operator that lives as long as the block."""
    operator = asyncio.create_task(ward.watch())
    try:
        yield
    finally:
        operator.cancel()
        ended = await asyncio.gather(operator, return_exceptions=True)
        assert isinstance(ended[0], asyncio.CancelledError), ended


@pytest.fixture
async def pods(store: Path, tmp_path: Path) -> AsyncIterator[list[TgiPod]]:
    async with (
        tgi_pod(store, tmp_path / "one", patience=QUICK) as one,
        tgi_pod(store, tmp_path / "two", patience=QUICK) as two,
    ):
        yield [one, two]


async def serves(ward: Ward, adapter: str) -> None:
    await until(lambda: ward.routed == adapter, what=lambda: (ward.said(), [pod.sets for pod in ward.pods]))


async def test_two_engines_restart_one_after_the_other_until_both_have_the_new_adapter(
    pods: list[TgiPod], store: Path
) -> None:
    v1, v2 = publish(store, "cardiology-v1"), publish(store, "cardiology-v2", rank=24)
    ward = Ward(pods, v1, v2)
    async with watched(ward):
        await serves(ward, "cardiology-v1")
        ward.point("cardiology-v2")
        await serves(ward, "cardiology-v2")
        await until(lambda: ward.routes is not None and ward.routes.permit is None)
    assert sorted(ward.restarted) == ["engine-0", "engine-1"]
    assert ward.most_away == 1
    assert {pod.sets.running for pod in pods} == {pods[0].sets.wanted}


async def test_a_set_that_does_not_come_up_is_tried_on_one_pod_only(pods: list[TgiPod], store: Path) -> None:
    v1, bad = publish(store, "cardiology-v1"), publish(store, "cardiology-v2")
    ward = Ward(pods, v1, bad)
    async with watched(ward):
        await serves(ward, "cardiology-v1")
        for pod in pods:
            (pod.faults / "crash").write_text("cardiology-v2")
        ward.point("cardiology-v2")
        await until(lambda: ward.said()[0] == Waiting.NOT_PROVED, what=ward.said)
        await until(lambda: not any(pod.sets.restarting for pod in pods), what=ward.said)
        await asyncio.sleep(1.0)  # nothing more is to happen
    assert "LoadFailed on engine-" in ward.said()[1]
    assert len(ward.restarted) == 1
    assert ward.routed == "cardiology-v1"
    assert ward.routes is not None
    assert ward.routes.refused == [bad.name]


async def test_an_operator_that_was_away_takes_up_where_the_routes_are(pods: list[TgiPod], store: Path) -> None:
    v1, v2 = publish(store, "cardiology-v1"), publish(store, "cardiology-v2")
    ward = Ward(pods, v1, v2)
    async with watched(ward):
        await serves(ward, "cardiology-v1")
        ward.point("cardiology-v2")
        await until(lambda: ward.routes is not None and ward.routes.permit is not None, what=ward.said)
    await until(lambda: any(pod.sets.restarting for pod in pods), what=lambda: [pod.sets for pod in pods])
    async with watched(ward):
        await serves(ward, "cardiology-v2")
    assert ward.most_away == 1


async def test_an_adapter_that_one_engine_does_not_start_with_keeps_no_other_out_of_any(
    pods: list[TgiPod], store: Path
) -> None:
    v1, bad, v3 = (publish(store, f"cardiology-v{number}") for number in (1, 2, 3))
    ward = Ward(pods, v1, bad, v3)
    async with watched(ward):
        await serves(ward, "cardiology-v1")
        for pod in pods:
            (pod.faults / "crash").write_text("cardiology-v2")
        ward.known.add("cardiology-v2")
        ward.point("cardiology-v3")
        await serves(ward, "cardiology-v3")
        await until(lambda: ward.routes is not None and ward.routes.permit is None, what=ward.said)
    assert ward.most_away == 1
    assert ward.routes is not None
    assert ward.routes.refused == [bad.name]
    tried = [pod for pod in pods if bad.name in (pod.control / "log").read_text()]
    assert len(tried) == 1
