"""The node in use: environments, volumes, services, GPUs, and what the tool says about it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import cluster, workloads
from support.waiting import eventually

from devcluster import __main__, node, volumes
from devcluster.console import DevclusterError
from devcluster.instance import named

pytestmark = pytest.mark.node

NAMESPACE = cluster.unique("team")


@pytest.fixture(scope="module", autouse=True)
def three_gpus(kubeconfig: Path) -> Iterator[None]:
    """And a namespace, on the node of all tests."""
    node.up(gpus=3)
    workloads.restricted_namespace(NAMESPACE)
    yield
    workloads.run("delete", "namespace", NAMESPACE, "--wait=false")
    node.up(gpus=node.DEFAULT_GPUS)


@pytest.mark.parametrize("member", ["operator", "trainer"])
def test_restricted_pods_import_their_members_code(member: str) -> None:
    code = "import os, wardrobe_contracts as c; print(os.getuid(), c.__file__)"
    name = f"import-{member}"
    workloads.apply(workloads.pod(name, NAMESPACE, member, code))
    output = workloads.logs_when_done(name, NAMESPACE)
    assert output.startswith(f"10001 /opt/wardrobe/{member}/lib/")


def test_pods_cannot_write_the_environment_and_see_no_other_on_path() -> None:
    code = "import os; print(os.environ['PATH']); open('/opt/wardrobe/operator/x', 'w')"
    pod = workloads.pod("write", NAMESPACE, "operator", code)
    pod["spec"]["securityContext"]["runAsUser"] = 10002
    workloads.apply(pod)
    place = f"--namespace={NAMESPACE}"
    workloads.run("wait", "pod/write", place, "--for=jsonpath={.status.phase}=Failed", "--timeout=120s")
    output = workloads.run("logs", "write", place)
    assert "/opt/wardrobe/operator/bin:/usr/bin:/bin" in output.splitlines()
    assert "Read-only file system" in output


def test_pods_run_under_the_default_seccomp_filter_without_capabilities() -> None:
    code = "print(open('/proc/self/status').read())"
    workloads.apply(workloads.pod("status", NAMESPACE, "operator", code))
    output = workloads.logs_when_done("status", NAMESPACE)
    assert "Seccomp:\t2" in output
    assert "CapEff:\t0000000000000000" in output
    assert "NoNewPrivs:\t1" in output


def test_torch_imports_with_a_readonly_root() -> None:
    workloads.apply(workloads.pod("torch", NAMESPACE, "trainer", "import torch; print('torch', torch.__version__)"))
    assert "torch 2." in workloads.logs_when_done("torch", NAMESPACE)


def test_volume_is_filled_before_and_written_through_a_subpath(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/weights").write_text("w")
    folder = volumes.create(NAMESPACE, "wardrobe-store", source=tmp_path)
    code = "import os; os.mkdir('/run/out'); open('/run/out/result', 'w').write(open('/all/tiny/weights').read())"
    pod = workloads.pod("store", NAMESPACE, "trainer", code.replace("/run/", "/mine/"))
    workloads.with_claim(pod, "wardrobe-store", "/mine", folder="runs/one")
    pod["spec"]["containers"][0]["volumeMounts"].append({"name": "wardrobe-store", "mountPath": "/all"})
    workloads.apply(pod)
    workloads.logs_when_done("store", NAMESPACE)
    result = folder / "runs/one/out/result"
    assert folder == volumes.folder(NAMESPACE, "wardrobe-store")
    assert (result.read_text(), result.stat().st_uid, result.stat().st_gid) == ("w", 10001, 10001)


def test_volume_again_is_no_change_and_other_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = volumes.create(NAMESPACE, "models", source=tmp_path)
    assert volumes.create(NAMESPACE, "models", source=tmp_path) == first
    (tmp_path / "b").write_text("2")
    with pytest.raises(DevclusterError, match="not that of") as refused:
        volumes.create(NAMESPACE, "models", source=tmp_path)
    assert refused.value.status == 2
    assert not (first / "b").exists()


SERVER = """
import functools, http.server
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory='/etc')
http.server.test(handler, port=8080)
"""
CLIENT = f"""
import ssl, urllib.request
print(urllib.request.urlopen('http://web/passwd').status)
print(urllib.request.urlopen('http://web.{NAMESPACE}.svc.cluster.local/passwd').status)
authority = ssl.create_default_context(cafile='/var/run/secrets/kubernetes.io/serviceaccount/ca.crt')
print(urllib.request.urlopen('https://kubernetes.default.svc/version', context=authority).status)
print(urllib.request.urlopen('https://10.96.0.1/version', context=authority).status)
"""


def test_services_answer_by_name_and_address_from_pods_and_from_the_node() -> None:
    server = workloads.pod("web", NAMESPACE, "operator", SERVER)
    server["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"port": 8080, "path": "/passwd"}}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    workloads.apply(server, service)
    place = f"--namespace={NAMESPACE}"
    workloads.run("wait", "pod/web", place, "--for=condition=Ready", "--timeout=120s")
    address = workloads.run("get", "service", "web", place, "--output=jsonpath={.spec.clusterIP}")
    fetch = ["curl", "--silent", "--fail", "--max-time", "2", f"http://{address}/passwd"]
    eventually(lambda: subprocess.run(fetch, capture_output=True, check=False).returncode == 0, what="the service")
    workloads.apply(workloads.pod("client", NAMESPACE, "trainer", CLIENT))
    assert workloads.logs_when_done("client", NAMESPACE) == "200\n" * 4


def test_scheduler_counts_gpus() -> None:
    place = f"--namespace={NAMESPACE}"
    for name, gpus in (("two", 2), ("two-more", 2)):
        workloads.apply(workloads.pod(name, NAMESPACE, "operator", "import time; time.sleep(600)", gpus=gpus))
        condition = "Ready" if name == "two" else "PodScheduled=False"
        workloads.run("wait", f"pod/{name}", place, f"--for=condition={condition}", "--timeout=120s")
    assert "Insufficient nvidia.com/gpu" in workloads.run("describe", "pod", "two-more", place)
    workloads.run("delete", "pod", "two", place, "--grace-period=0", "--force")
    workloads.run("wait", "pod/two-more", place, "--for=condition=Ready", "--timeout=120s")


def test_gpus_stay_when_kubelet_writes_the_status_again() -> None:
    seen = workloads.run("get", "node", "node1", "--output=jsonpath={.status.conditions[0].lastHeartbeatTime}")

    def rewritten() -> bool:
        path = "--output=jsonpath={.status.conditions[0].lastHeartbeatTime}"
        return workloads.run("get", "node", "node1", path) != seen

    eventually(rewritten, what="kubelet's next status", every=1)
    path = "--output=jsonpath={.status.allocatable.nvidia\\.com/gpu}"
    assert workloads.run("get", "node", "node1", path) == "3"


def test_second_up_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["up", "--gpus=3"]) == 0
    assert "the node is up already" in capsys.readouterr().err


def test_another_checkout_is_told_politely(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    instance = named("node")
    state = instance.read_state()
    instance.write_state({**state, "checkout": str(tmp_path), "user": "ada"})
    try:
        assert __main__.main(["up"]) == 3
        assert __main__.main(["down"]) == 3
    finally:
        instance.write_state(state)
    said = capsys.readouterr().err
    assert f"ada started it from {tmp_path}" in said
    assert f"cd {tmp_path} && uv run devcluster down" in said


def test_others_are_told_that_a_test_run_has_the_node() -> None:
    for command in ("up", "down"):
        argv = [sys.executable, "-m", "devcluster", command]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert f"A test run (process {os.getpid()}) has the node" in done.stderr


def test_status_logs_and_kubeconfig(capfd: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["status"]) == 0
    status = capfd.readouterr().out
    assert all(daemon in status for daemon in node.DAEMONS)
    assert "Ready" in status
    assert __main__.main(["kubeconfig"]) == 0
    assert capfd.readouterr().out.strip() == str(named("node").kubeconfig)
    assert __main__.main(["logs", "kubelet"]) == 0
    assert capfd.readouterr().out


def test_control_planes_run_beside_the_node() -> None:
    code = "from devcluster import controlplane\nwith controlplane.start() as p: print(p.run('get', '--raw=/readyz'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ok"
