"""The operator as a process: kopf's watches, workers, metrics, liveness, and what interrupts them."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import apiserver_proxy, cluster, kubelet, operator_process, outages, resources
from support.cluster import Namespace
from support.waiting import eventually

from devcluster import controlplane
from devcluster.controlplane import ControlPlane
from wardrobe.handlers import WATCHED
from wardrobe_contracts.training import PROGRESS_PORT

pytestmark = pytest.mark.controlplane


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Namespace:
    made = Namespace(cluster.connect(control_plane.kubeconfig), cluster.unique("process")).create()
    for claim in ("wardrobe-store", "models", "datasets"):
        made.claim(claim)
    return made


@pytest.fixture
def serving(namespace: Namespace) -> Iterator[kubelet.Kubelet]:
    with kubelet.serving(namespace.api, namespace.name) as running:
        yield running


def succeeded(namespace: Namespace, name: str) -> None:
    namespace.await_condition("FineTuneJob", name, "Succeeded", "True")


def test_a_life_is_told_by_events_and_costs_few_requests(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet, tmp_path: Path
) -> None:
    namespace.apply(resources.base_model())
    with operator_process.running(control_plane.kubeconfig, namespace.name, tmp_path) as operator:
        # Ready is written before the last request of that reconcile: only its end makes the count whole.
        eventually(lambda: 'kind="BaseModel",result="done"' in operator.metrics(), what="the base's reconcile to end")
        before = operator.api_requests()
        namespace.apply(resources.run("heart"))
        succeeded(namespace, "heart")
        eventually(lambda: namespace.config_map("wardrobe-line-cardiology") == {"next": "2"}, what="the end")
        assert operator.api_requests() - before <= 47
        reasons = [event["reason"] for event in namespace.events() if event["involvedObject"]["name"] == "heart"]
        assert reasons == ["Succeeded"]
        assert 'wardrobe_reconciles_total{kind="FineTuneJob"' in operator.metrics()
        assert operator.stop() == 0


def test_killed_and_started_again_in_each_phase(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet, tmp_path: Path
) -> None:
    held = ""
    serving.answer = lambda task, pod: None if task == held else kubelet.succeed(task, pod)
    namespace.apply(resources.base_model())
    namespace.apply(resources.run("heart"))
    for phase in ("inspect", "check", "train", "assess"):
        held = phase
        with operator_process.running(control_plane.kubeconfig, namespace.name, tmp_path) as operator:
            eventually(lambda: phase in serving.started, what=f"{phase}, see {operator.log}")  # noqa: B023
            operator.kill()
    held = ""
    with operator_process.running(control_plane.kubeconfig, namespace.name, tmp_path):
        succeeded(namespace, "heart")
    assert serving.started == ["inspect", "check", "train", "assess"]
    assert len(namespace.all("Adapter")) == 1


def test_a_run_that_ended_before_its_claim_was_dropped_is_tidied_by_the_next_operator(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet, tmp_path: Path
) -> None:
    """Ended runs are not looked at by a new operator; those whose claim on a number stands are."""
    namespace.apply(resources.base_model())
    for name in ("heart", "lung"):
        namespace.apply(resources.run(name, line=name))
    with operator_process.running(control_plane.kubeconfig, namespace.name, tmp_path):
        for name in ("heart", "lung"):
            succeeded(namespace, name)
            eventually(lambda: namespace.config_map(f"wardrobe-line-{name}") == {"next": "2"}, what="tidy")  # noqa: B023
    uid = (namespace.get("FineTuneJob", "heart") or {})["metadata"]["uid"]
    namespace.change_config_map("wardrobe-line-heart", {f"claim.{uid}": "1"})
    with operator_process.running(control_plane.kubeconfig, namespace.name, tmp_path):
        eventually(lambda: namespace.config_map("wardrobe-line-heart") == {"next": "2"}, what="tidy")


def test_a_status_that_is_wiped_while_the_operator_runs_comes_back(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet, tmp_path: Path
) -> None:
    namespace.apply(resources.base_model())
    namespace.apply(resources.run("heart"))
    with operator_process.running(control_plane.kubeconfig, namespace.name, tmp_path):
        succeeded(namespace, "heart")
        for kind, name in (("BaseModel", "base"), ("FineTuneJob", "heart"), ("Adapter", "cardiology-v1")):
            namespace.wipe_status(kind, name)
        succeeded(namespace, "heart")
        namespace.await_condition("BaseModel", "base", "Ready", "True")
        namespace.await_condition("Adapter", "cardiology-v1", "Ready", "True")
    assert len(serving.started) == 4


def test_a_job_deleted_in_mid_training_leaves_nothing(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet, tmp_path: Path
) -> None:
    """The garbage collector does it; it learns of new CRDs only every 30 seconds."""
    serving.answer = lambda task, pod: None if task == "train" else kubelet.succeed(task, pod)
    namespace.apply(resources.base_model())
    namespace.apply(resources.run("heart"))
    with operator_process.running(control_plane.kubeconfig, namespace.name, tmp_path) as operator:
        eventually(lambda: "train" in serving.started, what="training")
        namespace.delete("FineTuneJob", "heart")
        eventually(lambda: len(namespace.jobs()) == 1, what="no Job of the run")
        eventually(lambda: len(namespace.pods()) == 1, what="no pod of the run")
        assert operator.healthy()
    assert namespace.all("Adapter") == []


def test_what_is_due_comes_without_any_event(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet, tmp_path: Path
) -> None:
    """A deadline, the end of what a run is kept for, and that of one that has ended while no operator was there."""
    namespace.apply(resources.base_model())
    limits: dict[str, Any] = {"activeDeadlineSeconds": 10, "checkpoints": {"everySeconds": 10}}
    with operator_process.running(control_plane.kubeconfig, namespace.name, tmp_path):
        namespace.apply(resources.run("kept", line="kept"))
        namespace.apply(resources.run("brief", line="brief", ttlSecondsAfterFinished=1))
        succeeded(namespace, "kept")
        eventually(lambda: namespace.get("FineTuneJob", "brief") is None, what="a run that is deleted")
        serving.answer = lambda task, pod: None if task == "train" else kubelet.succeed(task, pod)
        namespace.apply(resources.run("endless", line="endless", **limits))
        namespace.await_condition("FineTuneJob", "endless", "Succeeded", "False", reason="DeadlineExceeded")
    namespace.change("FineTuneJob", "kept", ttlSecondsAfterFinished=1)
    with operator_process.running(control_plane.kubeconfig, namespace.name, tmp_path):
        eventually(lambda: namespace.get("FineTuneJob", "kept") is None, what="one that had ended before")
    assert sorted(found["spec"]["line"] for found in namespace.all("Adapter")) == ["brief", "kept"]


def test_watches_that_are_cut_expired_or_refused_lose_nothing(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet, tmp_path: Path
) -> None:
    """Each trouble strikes while something happens that the operator then does not see."""
    with apiserver_proxy.proxying(control_plane.kubeconfig) as proxy:
        kubeconfig = proxy.kubeconfig(tmp_path)
        with operator_process.running(kubeconfig, namespace.name, tmp_path):
            eventually(lambda: proxy.watches() == WATCHED, what="all watches")
            namespace.apply(resources.base_model())
            namespace.apply(resources.run("cut"))
            eventually(lambda: "check" in serving.started, what="the check")
            proxy.cut()
            succeeded(namespace, "cut")

            proxy.expire_watches()
            namespace.apply(resources.run("expired"))
            namespace.delete("FineTuneJob", "cut")
            succeeded(namespace, "expired")
            assert proxy.expired > 0

            proxy.refusing = True
            proxy.cut()
            namespace.apply(resources.run("refused"))
            eventually(lambda: proxy.refused > 3, what="requests refused")
            proxy.refusing = False
            succeeded(namespace, "refused")
    names = sorted(found["metadata"]["name"] for found in namespace.all("Adapter"))
    assert names == ["cardiology-v1", "cardiology-v2", "cardiology-v3"]


def test_an_apiserver_that_goes_and_comes_back(tmp_path: Path) -> None:
    """Its own control plane: others must not miss theirs."""
    repository = Path(__file__).parents[2]
    with controlplane.start(controller_manager=True) as plane:
        plane.run("apply", f"--filename={repository / 'crds'}")
        plane.run("wait", "crd", "--all", "--for=condition=Established", "--timeout=300s")
        namespace = Namespace(cluster.connect(plane.kubeconfig), "away").create()
        for claim in ("wardrobe-store", "models", "datasets"):
            namespace.claim(claim)
        with (
            kubelet.serving(namespace.api, namespace.name) as serving,
            operator_process.running(plane.kubeconfig, namespace.name, tmp_path) as operator,
        ):
            namespace.apply(resources.base_model())
            namespace.apply(resources.run("heart"))
            eventually(lambda: "check" in serving.started, what="the check")
            outages.stop_apiserver(plane)
            plane.start_apiserver()
            succeeded(namespace, "heart")
            assert operator.healthy()
        assert len(serving.started) == 4


def test_progress_reaches_the_status_and_a_stale_one_never_stays(
    control_plane: ControlPlane, namespace: Namespace, serving: kubelet.Kubelet, tmp_path: Path
) -> None:
    """The imitated training pod has address 127.0.0.1; its launcher is served here."""
    serving.answer = lambda task, pod: None if task == "train" else kubelet.succeed(task, pod)
    progress = '{"stage":"Training","step":42,"steps":114,"epoch":0.74,"loss":2.9,"secondsLeft":50}'
    with (
        serving_progress(progress),
        operator_process.running(control_plane.kubeconfig, namespace.name, tmp_path),
    ):
        namespace.apply(resources.base_model())
        namespace.apply(resources.run("heart"))

        def told() -> bool:
            found = namespace.get("FineTuneJob", "heart") or {}
            return bool(found.get("status", {}).get("progress", {}).get("step") == 42)

        eventually(told, what="progress in the status")
        found = namespace.get("FineTuneJob", "heart")
        assert found is not None
        assert found["status"]["progress"]["summary"] == "training 42/114 (37%), 50s left"
        serving.answer = kubelet.succeed
        succeeded(namespace, "heart")
        found = namespace.get("FineTuneJob", "heart")
        assert found is not None
        assert found["status"]["progress"] == {"summary": "done"}


@contextlib.contextmanager
def serving_progress(body: str) -> Iterator[None]:
    """A launcher's progress page on 127.0.0.1."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", PROGRESS_PORT), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_the_memory_of_an_operator_with_200_jobs(
    control_plane: ControlPlane, namespace: Namespace, tmp_path: Path
) -> None:
    for number in range(200):
        namespace.apply(resources.run(f"job-{number}", line=f"line-{number}"))
    with operator_process.running(control_plane.kubeconfig, namespace.name, tmp_path) as operator:
        eventually(lambda: all("status" in found for found in namespace.all("FineTuneJob")), what="200 statuses")
        resident = operator.resident_bytes()
        assert resident < 200 * 2**20
