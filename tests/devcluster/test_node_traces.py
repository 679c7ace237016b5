"""Nothing of the node is left after `down`: in order, after a crash, and when `up` follows a crash."""

import signal
from collections.abc import Iterator

import pytest
from support import workloads
from support.traces import difference, iptables_chains, snapshot

from devcluster import __main__, cgroups, node, processes, teardown, volumes
from devcluster.instance import named

pytestmark = pytest.mark.node

NAMESPACE = "team-b"


@pytest.fixture
def before(no_node: None) -> Iterator[dict[str, object]]:
    teardown.down(node.instance())
    yield snapshot()
    node.down(force=True)


def run_a_pod() -> None:
    """A pod with a volume, so that there are mounts, links, namespaces and a process that ignores SIGTERM."""
    workloads.restricted_namespace(NAMESPACE)
    volumes.create(NAMESPACE, "datasets")
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here'); time.sleep(600)"
    pod = workloads.pod("stubborn", NAMESPACE, "operator", code)
    workloads.apply(workloads.with_claim(pod, "datasets", "/data", folder="sub"))
    workloads.run("wait", "pod/stubborn", f"--namespace={NAMESPACE}", "--for=condition=Ready", "--timeout=120s")


def kill_daemons(names: tuple[str, ...]) -> None:
    """As a crash would: without warning, one by one. Sandboxes and their shims live on."""
    found = [record for record in processes.recorded(node.instance().pids) if record.name in names]
    for record in found:
        processes.send(record, signal.SIGKILL)
    processes.stop(found, grace=0)


def test_down_leaves_nothing(before: dict[str, object]) -> None:
    node.up()
    run_a_pod()
    assert iptables_chains() == before["iptables"]
    assert set(difference(before, snapshot())) >= {"processes", "mounts", "links", "nft tables", "control groups"}
    assert __main__.main(["down"]) == 0
    assert difference(before, snapshot()) == {}
    assert __main__.main(["status"]) == 3


@pytest.mark.drill
@pytest.mark.parametrize(
    "killed",
    [
        pytest.param(node.DAEMONS, id="everything"),
        pytest.param(("containerd",), id="containerd", marks=pytest.mark.gauntlet),
        pytest.param(("etcd", "apiserver"), id="apiserver", marks=pytest.mark.gauntlet),
        pytest.param(("kubelet",), id="kubelet", marks=pytest.mark.gauntlet),
    ],
)
def test_down_after_a_crash_leaves_nothing(before: dict[str, object], killed: tuple[str, ...]) -> None:
    node.up()
    run_a_pod()
    kill_daemons(killed)
    assert cgroups.processes(teardown.group(node.instance()))
    assert node.down()
    assert difference(before, snapshot()) == {}


@pytest.mark.drill
def test_down_without_its_records_leaves_nothing(before: dict[str, object]) -> None:
    node.up()
    run_a_pod()
    for file in named("node").pids.iterdir():
        file.unlink()
    assert node.down()
    assert difference(before, snapshot()) == {}


@pytest.mark.drill
def test_up_after_a_crash_works_and_down_again_leaves_nothing(before: dict[str, object]) -> None:
    node.up()
    run_a_pod()
    kill_daemons(node.DAEMONS)
    assert node.up()
    assert node.is_ready(node.instance())
    assert node.down()
    assert difference(before, snapshot()) == {}


@pytest.mark.drill
def test_a_failed_up_is_cleaned(before: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("lost")

    with monkeypatch.context() as patch:
        patch.setattr(node, "set_gpus", fail)
        with pytest.raises(RuntimeError):
            node.up()
    assert node.down()
    assert difference(before, snapshot()) == {}


def test_down_twice_is_harmless(no_node: None) -> None:
    node.down()
    assert not node.down()
