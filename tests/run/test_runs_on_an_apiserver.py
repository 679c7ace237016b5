"""The same loop on a real apiserver and Job controller, with an imitated kubelet."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from kubernetes import client
from support import cluster, in_process, kubelet, resources, results
from support.cluster import Body, Namespace, as_text, without_times
from support.fake_cluster import KilledError
from support.waiting import eventually

from devcluster.controlplane import ControlPlane
from wardrobe.api.meta import Key
from wardrobe.writes import Create, Write
from wardrobe_contracts.assessment import AssessConfig
from wardrobe_contracts.base import Task, Variant
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.result import Result
from wardrobe_contracts.training import Reached

pytestmark = pytest.mark.controlplane


@pytest.fixture
def api(control_plane: ControlPlane) -> client.ApiClient:
    return cluster.connect(control_plane.kubeconfig)


@pytest.fixture
def namespace(api: client.ApiClient) -> Namespace:
    return new_namespace(api)


@pytest.fixture
def serving(api: client.ApiClient, namespace: Namespace) -> Iterator[kubelet.Kubelet]:
    with kubelet.serving(api, namespace.name) as running:
        yield running


def new_namespace(api: client.ApiClient, prefix: str = "loop") -> Namespace:
    made = Namespace(api, cluster.unique(prefix)).create()
    for claim in ("wardrobe-store", "models", "datasets"):
        made.claim(claim)
    return made


def apply_story(namespace: Namespace) -> None:
    namespace.apply(resources.base_model())
    namespace.apply(resources.run("heart"))


def ended(namespace: Namespace, name: str = "heart") -> Callable[[], bool]:
    return lambda: namespace.condition("FineTuneJob", name, "Succeeded").get("status") in {"True", "False"}


def assert_one_adapter(namespace: Namespace, started: Sequence[str]) -> None:
    """The end of the story, and nothing made twice on the way."""
    assert namespace.condition("FineTuneJob", "heart", "Succeeded")["status"] == "True"
    (adapter,) = namespace.all("Adapter")
    assert adapter["metadata"]["name"] == "cardiology-v1"
    assert "ownerReferences" not in adapter["metadata"]
    assert sorted(started) == ["assess", "check", "inspect", "train"]
    assert len(namespace.jobs()) == 4
    assert len(namespace.pods()) == 4


def test_a_life(
    api: client.ApiClient, control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet
) -> None:
    apply_story(namespace)
    asyncio.run(live(control_plane.kubeconfig, namespace))
    assert_one_adapter(namespace, serving.started)
    eventually(lambda: namespace.config_map("wardrobe-line-cardiology") == {"next": "2"}, what="the claim dropped")


async def live(kubeconfig: Path, namespace: Namespace, dies_after: int | None = None) -> int:
    """One operator's life, until the run has ended and is tidied; returns its writes."""
    async with in_process.connection(kubeconfig) as connection:
        kube = in_process.CountingKube(connection, dies_after)
        await in_process.work_until(kube, namespace.name, ended(namespace))
        for key in await in_process.keys(kube, namespace.name):
            await in_process.reconciler(kube).reconcile(key)
        return kube.written


def test_killed_between_every_two_writes(api: client.ApiClient, control_plane: ControlPlane) -> None:
    """For every n, in a namespace of its own: killed right after the n-th write, then a new operator ends the story."""
    calm = new_namespace(api)
    with kubelet.serving(api, calm.name):
        apply_story(calm)
        writes = asyncio.run(live(control_plane.kubeconfig, calm))
    assert writes > 20

    async def kill_and_finish(n: int) -> None:
        namespace = await asyncio.to_thread(new_namespace, api, f"kill-{n}")
        with kubelet.serving(api, namespace.name) as running:
            await asyncio.to_thread(apply_story, namespace)
            with contextlib.suppress(KilledError):
                await live(control_plane.kubeconfig, namespace, dies_after=n)
            await live(control_plane.kubeconfig, namespace)
            assert_one_adapter(namespace, running.started)
            assert namespace.config_map("wardrobe-line-cardiology") == {"next": "2"}

    async def all_of_them() -> None:
        few = asyncio.Semaphore(4)

        async def bounded(n: int) -> None:
            async with few:
                await kill_and_finish(n)

        async with asyncio.TaskGroup() as group:
            for n in range(1, writes + 1):
                group.create_task(bounded(n))

    asyncio.run(all_of_them())


def test_requests_of_reconciles_that_change_nothing(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet
) -> None:
    """Budgets: 7 requests while training runs, 3 when finished."""
    serving.answer = lambda task, pod: None if task == "train" else kubelet.succeed(task, pod)
    apply_story(namespace)
    key = Key("FineTuneJob", namespace.name, "heart")

    async def measure() -> tuple[int, int]:
        async with in_process.connection(control_plane.kubeconfig) as connection:
            kube = in_process.CountingKube(connection)
            await in_process.work_until(kube, namespace.name, lambda: "train" in serving.started)
            await asyncio.to_thread(lambda: eventually(lambda: pod_runs(namespace, "train"), what="train"))
            await in_process.reconciler(kube).reconcile(key)
            running = await requests_of_one(kube, key)
            serving.answer = kubelet.succeed
            await in_process.work_until(kube, namespace.name, ended(namespace))
            await in_process.reconciler(kube).reconcile(key)
            return running, await requests_of_one(kube, key)

    running, finished = asyncio.run(measure())
    assert running <= 3
    assert finished <= 3


async def requests_of_one(kube: in_process.CountingKube, key: Key) -> int:
    written, before = kube.written, kube.requests
    await in_process.reconciler(kube).reconcile(key)
    assert kube.written == written
    return kube.requests - before


def pod_runs(namespace: Namespace, task: str) -> bool:
    return any(
        pod["metadata"]["labels"]["wardrobe.dev/task"] == task and pod["status"].get("phase") == "Running"
        for pod in namespace.pods()
    )


def test_a_run_is_measured_beside_what_answers_and_makes_a_version_with_a_verdict(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet
) -> None:
    """The apiserver picks the base's deployments, and takes the Adapter with all that a gate has to say."""
    orders: list[AssessConfig] = []

    def answer(task: Task, pod: Body) -> Result:
        if task != "assess":
            return kubelet.succeed(task, pod)
        [order] = [one["value"] for one in pod["spec"]["containers"][0]["env"] if one["name"] == "WARDROBE_CONFIG"]
        orders.append(AssessConfig.model_validate_json(order))
        return Result.success("done", results.judged())

    serving.answer = answer
    for name in ("cardiology-v1", "cardiology-v2"):
        namespace.apply(resources.adapter(name))
    namespace.apply(resources.deployment("tantanila", {"quantization": "INT8"}, ward="cardiology-v1"))
    elsewhere = {"baseModel": {"name": "another"}, "quantization": "FP4"}
    namespace.apply(resources.deployment("elsewhere", elsewhere, ward="cardiology-v2"))
    apply_story(namespace)
    asyncio.run(live(control_plane.kubeconfig, namespace))
    [order] = orders
    assert order.variants == [Variant.INT8, Variant.NF4]
    assert [incumbent.name for incumbent in order.incumbents] == ["cardiology-v1"]
    made = namespace.get("Adapter", "cardiology-v3") or {}
    assert made["spec"]["verdict"] == "Rejected"
    assert [rule["outcome"] for rule in made["spec"]["gate"]] == ["Failed", "Passed"]
    assert made["spec"]["notAssessed"][0]["variant"] == "None"
    assert "its gate rejected it" in namespace.condition("FineTuneJob", "heart", "Succeeded")["message"]


def test_an_import_and_an_adapter_by_hand_live_without_training(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet
) -> None:
    """The apiserver takes what both make, and an Adapter's Jobs go with it."""
    namespace.apply(resources.base_model())
    namespace.apply(resources.run("heart", method="Import", adapter={"source": "pvc://models/foreign"}))
    namespace.apply(resources.by_hand(resources.adapter("renal-v1", base=results.INSPECTION.digest)))

    def done() -> bool:
        ready = namespace.condition("Adapter", "renal-v1", "Ready")
        return ended(namespace)() and ready.get("status") == "True"

    async def both() -> None:
        async with in_process.connection(control_plane.kubeconfig) as connection:
            await in_process.work_until(in_process.CountingKube(connection), namespace.name, done)

    asyncio.run(both())
    assert namespace.condition("FineTuneJob", "heart", "Succeeded")["status"] == "True"
    assert sorted(serving.started) == ["assess", "check", "import", "inspect", "verify"]
    made = (namespace.get("Adapter", "cardiology-v1") or {})["spec"]
    assert made["lineage"]["method"] == "Import"
    assert made["lineage"]["adapter"] == {"source": "pvc://models/foreign", "digest": results.IMPORTED.digest}
    namespace.delete("Adapter", "renal-v1")
    eventually(lambda: not [job for job in namespace.jobs() if "-verify-" in job["metadata"]["name"]], what="its end")


class Queueing(in_process.CountingKube):
    """Beside a queue whose webhook suspends every Job as it is made."""

    async def write(self, write: Write) -> None:
        if isinstance(write, Create) and write.manifest["kind"] == "Job":
            write.manifest["spec"]["suspend"] = True
        await super().write(write)


def test_jobs_that_a_queue_holds_wait_and_cost_no_attempt(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet
) -> None:
    apply_story(namespace)

    def queued() -> bool:
        """Long enough for the Job controller to have said that it is suspended."""
        conditions = [c["type"] for job in namespace.jobs() for c in job["status"].get("conditions", [])]
        return conditions == ["Suspended"] and namespace.condition("BaseModel", "base", "Ready")["reason"] == "Queued"

    def let_in() -> bool:
        for job in namespace.jobs():
            if job["spec"].get("suspend"):
                patch, name = {"spec": {"suspend": False}}, job["metadata"]["name"]
                client.BatchV1Api(namespace.api).patch_namespaced_job(name, namespace.name, patch)
        return ended(namespace)()

    async def story() -> None:
        async with in_process.connection(control_plane.kubeconfig) as connection:
            kube = Queueing(connection)
            await in_process.work_until(kube, namespace.name, queued)
            assert await asyncio.to_thread(namespace.pods) == []
            await in_process.work_until(kube, namespace.name, let_in)

    asyncio.run(story())
    assert_one_adapter(namespace, serving.started)


def test_a_run_is_suspended_says_what_it_saved_and_goes_on(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet
) -> None:
    """Its Job stays until its pod has ended; what that says is recorded, and its number is used once."""
    serving.last_words = lambda task, pod: SAVED
    serving.answer = lambda task, pod: None if task == "train" else kubelet.succeed(task, pod)
    apply_story(namespace)

    def said() -> str:
        found = namespace.condition("FineTuneJob", "heart", "Succeeded")
        return f"{found.get('reason')} {found.get('message')}"

    def training(number: int) -> bool:
        return pod_runs(namespace, "train") and any(named.endswith(f"-train-{number}") for named in job_names())

    def job_names() -> list[str]:
        return [job["metadata"]["name"] for job in namespace.jobs()]

    async def story() -> None:
        async with in_process.connection(control_plane.kubeconfig) as connection:
            kube = in_process.CountingKube(connection)
            await in_process.work_until(kube, namespace.name, lambda: training(1))
            await asyncio.to_thread(namespace.change, "FineTuneJob", "heart", suspend=True)
            await in_process.work_until(kube, namespace.name, lambda: "40 steps of training are saved" in said())
            assert any(job["metadata"].get("deletionTimestamp") for job in await asyncio.to_thread(namespace.jobs))
            serving.lets_go.set()
            await asyncio.to_thread(lambda: eventually(lambda: len(job_names()) == 2, what="no Job of training"))
            await in_process.work_until(kube, namespace.name, lambda: said().startswith("Suspended"))
            serving.answer = kubelet.succeed
            await asyncio.to_thread(namespace.change, "FineTuneJob", "heart", suspend=False)
            await in_process.work_until(kube, namespace.name, ended(namespace))

    asyncio.run(story())
    found = namespace.get("FineTuneJob", "heart") or {}
    first, second = found["status"]["attempts"]
    assert first == {"number": 1, "result": "PREEMPTED", "reason": "Suspended", "steps": 40, "resumed": 0, "lost": 0}
    assert (second["number"], second["result"]) == (2, "SUCCEEDED")
    assert serving.started == ["inspect", "check", "train", "train", "assess"]
    assert [adapter["metadata"]["name"] for adapter in namespace.all("Adapter")] == ["cardiology-v1"]


SAVED = Result.failure("train", ExitCode.PREEMPTED, Reason.TERMINATED, "told to stop").having(
    Reached(step=40, saved=40)
)


def test_an_adapter_outlives_its_job_and_keeps_its_number(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet
) -> None:
    apply_story(namespace)
    asyncio.run(live(control_plane.kubeconfig, namespace))
    spec = namespace.all("Adapter")[0]["spec"]
    namespace.delete("FineTuneJob", "heart")
    # The garbage collector learns of new CRDs only every 30 seconds.
    eventually(lambda: len(namespace.jobs()) == 1, what="only the inspection's Job left")
    assert namespace.all("Adapter")[0]["spec"] == spec
    namespace.delete("Adapter", "cardiology-v1")
    namespace.apply(resources.run("heart"))
    asyncio.run(live(control_plane.kubeconfig, namespace))
    assert [found["metadata"]["name"] for found in namespace.all("Adapter")] == ["cardiology-v2"]


def test_an_imported_version_is_stepped_over(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet
) -> None:
    apply_story(namespace)
    asyncio.run(live(control_plane.kubeconfig, namespace))
    imported = namespace.all("Adapter")[0]
    imported["metadata"] = {"name": "cardiology-v7"}
    namespace.apply({**imported, "spec": {**imported["spec"], "version": 7}, "status": {}})
    namespace.apply(resources.run("heart-again"))
    asyncio.run(live_until(control_plane.kubeconfig, namespace, "heart-again"))
    assert namespace.get("FineTuneJob", "heart-again")["status"]["adapter"] == "cardiology-v8"  # type: ignore[index]


async def live_until(kubeconfig: Path, namespace: Namespace, name: str) -> None:
    async with in_process.connection(kubeconfig) as connection:
        kube = in_process.CountingKube(connection)
        await in_process.work_until(kube, namespace.name, ended(namespace, name))


def test_wiped_statuses_come_back_without_a_new_pod(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet
) -> None:
    apply_story(namespace)
    asyncio.run(live(control_plane.kubeconfig, namespace))
    names = [("BaseModel", "base"), ("FineTuneJob", "heart"), ("Adapter", "cardiology-v1")]
    before = {name: status_of(namespace, *name) for name in names}
    for pod in namespace.pods():  # what the record has is enough
        client.CoreV1Api(namespace.api).delete_namespaced_pod(pod["metadata"]["name"], namespace.name)
    for name in names:
        namespace.wipe_status(*name)
    asyncio.run(live(control_plane.kubeconfig, namespace))
    assert as_text([status_of(namespace, *name) for name in names]) == as_text(list(before.values()))
    assert sorted(serving.started) == ["assess", "check", "inspect", "train"]


def status_of(namespace: Namespace, kind: str, name: str) -> object:
    found = namespace.get(kind, name)
    assert found is not None
    return without_times(found["status"])


@pytest.mark.parametrize(
    ("missing", "field"),
    [
        ("datasets", "spec.dataset.source needs PersistentVolumeClaim 'datasets'"),
        ("models", "spec.source needs PersistentVolumeClaim 'models'"),
        ("wardrobe-store", "the namespace's store needs PersistentVolumeClaim 'wardrobe-store'"),
    ],
)
def test_a_missing_claim_is_said_and_waited_for(
    api: client.ApiClient, control_plane: ControlPlane, missing: str, field: str
) -> None:
    namespace = Namespace(api, cluster.unique("claims")).create()
    for claim in {"datasets", "models", "wardrobe-store"} - {missing}:
        namespace.claim(claim)
    apply_story(namespace)

    def said() -> bool:
        return any(
            condition["reason"] == "ClaimNotFound" and field in condition["message"]
            for condition in (
                namespace.condition("BaseModel", "base", "Ready"),
                namespace.condition("FineTuneJob", "heart", "DatasetChecked"),
            )
            if condition
        )

    async def story() -> None:
        async with in_process.connection(control_plane.kubeconfig) as connection:
            kube = in_process.CountingKube(connection)
            await in_process.work_until(kube, namespace.name, said)
            await asyncio.to_thread(namespace.claim, missing)
            await in_process.work_until(kube, namespace.name, ended(namespace))

    with kubelet.serving(api, namespace.name):
        asyncio.run(story())
    assert namespace.condition("FineTuneJob", "heart", "Succeeded")["status"] == "True"


def test_a_missing_config_map_key_is_said(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet
) -> None:
    core = client.CoreV1Api(namespace.api)
    rows: Body = {"metadata": {"name": "rows"}, "data": {"other.jsonl": ""}}
    core.create_namespaced_config_map(namespace.name, rows)
    namespace.apply(resources.base_model())
    namespace.apply(resources.run("heart", source="configmap://rows/heart.jsonl"))

    def said() -> bool:
        found = namespace.condition("FineTuneJob", "heart", "Succeeded")
        return found.get("reason") == "ConfigMapNotFound" and "'heart.jsonl'" in found["message"]

    async def story() -> None:
        async with in_process.connection(control_plane.kubeconfig) as connection:
            kube = in_process.CountingKube(connection)
            await in_process.work_until(kube, namespace.name, said)
            patch = {"data": {"heart.jsonl": "{}"}}
            await asyncio.to_thread(core.patch_namespaced_config_map, "rows", namespace.name, patch)
            await in_process.work_until(kube, namespace.name, ended(namespace))

    asyncio.run(story())
    assert namespace.condition("FineTuneJob", "heart", "Succeeded")["status"] == "True"


def test_a_job_that_the_api_refuses_is_said(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet
) -> None:
    """The CRD cannot compare requests with limits; the apiserver does, when the training Job is made."""
    namespace.apply(resources.base_model())
    wrong = {"resources": {"requests": {"memory": "4Gi"}, "limits": {"memory": "1Gi"}}}
    namespace.apply(resources.run("heart", pod=wrong))

    def said() -> bool:
        found = namespace.condition("FineTuneJob", "heart", "Succeeded")
        if found.get("reason") != "ApiRefused" or "must be less than or equal to memory limit" not in found["message"]:
            return False
        run = (namespace.get("FineTuneJob", "heart") or {})["status"]["run"]
        return namespace.config_map(f"{run}-attempts") == {"check.1": "SUCCEEDED"}  # the refused one cost no number

    async def story() -> None:
        async with in_process.connection(control_plane.kubeconfig) as connection:
            await in_process.work_until(in_process.CountingKube(connection), namespace.name, said)

    asyncio.run(story())
