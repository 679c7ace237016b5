"""Control planes without a node: several at once, apart from each other, gone afterwards."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import outages
from support.waiting import HANG

from devcluster import controlplane, processes
from devcluster.console import DevclusterError
from devcluster.controlplane import ControlPlane
from devcluster.instance import all_instances, named
from devcluster.waiting import until

pytestmark = pytest.mark.controlplane

CRASHING = """
import os, signal
from devcluster import controlplane
plane = controlplane.start()
print(plane.instance.name, flush=True)
signal.pause()
"""


@pytest.fixture(autouse=True, scope="module")
def run_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WARDROBE_RUN", str(root))
        yield root


def processes_of(plane: ControlPlane) -> list[str]:
    """Command lines that name the control plane's folder, or its watchdog."""
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listing.stdout.splitlines() if plane.instance.name in line]


def test_two_at_once_know_nothing_of_each_other() -> None:
    with controlplane.start() as one, controlplane.start() as other:
        assert one.port != other.port
        one.run("create", "namespace", "only-here")
        assert "only-here" in one.run("get", "namespaces", "--output=name")
        assert "only-here" not in other.run("get", "namespaces", "--output=name")
        assert processes_of(one)
    for plane in (one, other):
        assert processes_of(plane) == []
        assert not plane.instance.exists()


def test_an_outage_keeps_data_and_address() -> None:
    with controlplane.start() as plane:
        plane.run("create", "namespace", "kept")
        outages.stop_apiserver(plane)
        with pytest.raises(DevclusterError):
            plane.run("get", "namespaces", "--request-timeout=2s")
        plane.start_apiserver()
        assert "kept" in plane.run("get", "namespaces", "--output=name")


def test_with_controllers_a_namespace_gets_its_service_account_and_a_job_its_pod() -> None:
    with controlplane.start(controller_manager=True, scheduler=True) as plane:
        plane.run("create", "job", "work", "--image=none")
        assert until(lambda: "pod/work" in plane.run("get", "pods", "--output=name"), seconds=HANG)
        assert until(lambda: "Unschedulable" in plane.run("get", "pods", "--output=yaml"), seconds=HANG)


def test_without_controllers_pods_can_be_made() -> None:
    with controlplane.start() as plane:
        plane.run("run", "lonely", "--image=none")
        assert plane.run("get", "pods", "--output=name").strip() == "pod/lonely"


def watchdog_of(name: str) -> int:
    listing = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True)
    (line,) = [line for line in listing.stdout.splitlines() if line.endswith(f"devcluster.watchdog {name}")]
    return int(line.split()[0])


def crash(*, watchdog_too: bool) -> str:
    """Kill a program that owns a control plane; returns the instance's name."""
    with subprocess.Popen([sys.executable, "-c", CRASHING], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        name = owner.stdout.readline().strip()
        if watchdog_too:
            os.kill(watchdog_of(name), signal.SIGKILL)
        owner.send_signal(signal.SIGKILL)
    return name


def test_the_owners_death_ends_it() -> None:
    name = crash(watchdog_too=False)
    assert until(lambda: not named(name).exists(), seconds=HANG)


def test_leftovers_of_a_crash_go_at_the_next_start() -> None:
    name = crash(watchdog_too=True)
    left = processes.recorded(named(name).pids)
    assert [record.name for record in left if processes.alive(record)] == ["apiserver", "etcd"]
    with controlplane.start():
        assert not named(name).exists()
        assert not [record for record in left if processes.alive(record)]


def test_a_detached_one_is_ended_by_name_and_its_name_is_taken_once() -> None:
    plane = controlplane.start("by-name", detached=True)
    with pytest.raises(DevclusterError, match="is there already"):
        controlplane.start("by-name")
    assert plane.run("get", "--raw=/readyz") == "ok"
    assert controlplane.stop("by-name")
    assert not controlplane.stop("by-name")
    assert "by-name" not in [instance.name for instance in all_instances()]
