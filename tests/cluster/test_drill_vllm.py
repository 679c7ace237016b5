"""The real vLLM in a pod, on a CPU: adapters are loaded, proved, flipped to, unloaded; then the engine is killed."""

from collections.abc import Callable

import pytest
from support import deployed, on_the_node, voices
from support.deployed import Hospital, Timeline
from support.node_namespaces import Trained
from support.traffic import flowing
from support.waiting import eventually

pytestmark = [pytest.mark.node, pytest.mark.drill]

Serve = Callable[..., Hospital]
PER_SECOND = 1
"""Requests. In float32 on a part of two cores it answers few more, and refuses what has waited for ten seconds."""


@pytest.fixture(scope="module")
def hospital(serve: Serve, trained: Trained) -> Hospital:
    """One engine; what the adapters answer on the base as published is another text than on NF4."""
    image = on_the_node.import_vllm()
    departments = {"cardiology": "cardiology-v1", "paediatrics": "paediatrics-v1"}
    pod = {"resources": {"requests": {"cpu": "100m", "memory": "2Gi"}, "limits": {"memory": "6Gi"}}}
    manifest = deployed.on_engine(deployed.deployment(1, **departments), "None", type="VLLM", pod=pod)
    made = serve(manifest, more=f"--engine-image VLLM={image}")
    made.known = voices.learn(trained.store, trained.adapters, "None")
    return made


def test_flips_with_no_restart_and_another_engine_has_all_again(hospital: Hospital) -> None:
    before = hospital.restarts()
    timeline = Timeline("cardiology", "cardiology-v1")
    with flowing(hospital.traffic(PER_SECOND)) as traffic:
        timeline.flips.append(hospital.flip("cardiology", "cardiology-v2"))
        timeline.flips.append(hospital.flip("cardiology", "cardiology-v1"))
    assert traffic.failures() == []
    assert traffic.misspoken() == []
    assert timeline.wrong(traffic.answers) == []
    assert hospital.restarts() == before

    hospital.patch({"history": {"keepLoaded": 0}})
    (pod,) = hospital.pods("engine")
    eventually(lambda: len((hospital.agent(pod) or pytest.fail("silent")).adapters) == 2, what="the third to go")

    on_the_node.kill_in(pod, "api_server")
    eventually(lambda: (found := hospital.agent(pod)) is not None and found.engine.starts == 2, what="another engine")
    hospital.is_ready()
    with flowing(hospital.traffic(PER_SECOND)) as traffic:
        eventually(lambda: len(traffic.answers) >= 6, what="answers")
    assert traffic.failures() == []
    assert deployed.names(traffic.answers) == {("cardiology", "cardiology-v1"), ("paediatrics", "paediatrics-v1")}
