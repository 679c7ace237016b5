"""Folders, state, ports and process records."""

import os
import subprocess
from pathlib import Path

import pytest

from devcluster import instance, ports, processes
from devcluster.console import DevclusterError
from devcluster.processes import Record


@pytest.fixture(autouse=True)
def run_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WARDROBE_RUN", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a/b", "..", "a" * 25])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(DevclusterError):
        instance.named(name)


def test_folder_is_made_private_and_removed(run_root: Path) -> None:
    made = instance.named("cp-1")
    made.create()
    assert made.folder == run_root / "cp-1"
    assert made.pki.stat().st_mode & 0o077 == 0
    assert instance.all_instances() == [made]
    made.remove()
    assert instance.all_instances() == []


def test_state_survives_and_garbage_is_no_state() -> None:
    made = instance.named("cp-1")
    made.create()
    made.write_state({"ports": [1]})
    assert made.read_state() == {"ports": [1]}
    made.state_file.write_text("{")
    assert made.read_state() == {}


def test_ports_of_other_instances_are_not_picked() -> None:
    made = instance.named("cp-1")
    made.create()
    made.write_state({"ports": [ports.FIRST]})
    assert ports.taken_by_instances() == {ports.FIRST}
    everything_else = set(range(ports.FIRST + 1, ports.LAST + 1))
    with pytest.raises(DevclusterError):
        ports.pick(everything_else | ports.taken_by_instances())


def test_a_pid_given_to_another_process_is_not_ours() -> None:
    started = processes.start_time(os.getpid())
    assert started is not None
    assert processes.alive(Record("me", os.getpid(), started))
    assert not processes.alive(Record("me", os.getpid(), started - 1))


def test_spawn_records_and_stop_ends_the_whole_group(tmp_path: Path) -> None:
    script = "sleep 1000 & echo child $!; wait"
    record = processes.spawn("nap", ["/bin/sh", "-c", script], log=tmp_path / "log", records=tmp_path)
    assert processes.recorded(tmp_path) == [record]
    assert os.getsid(record.pid) == record.pid
    processes.stop([record], grace=2)
    assert not processes.alive(record)
    listing = subprocess.run(["ps", "-o", "args", "-s", str(record.pid)], capture_output=True, text=True, check=False)
    assert "sleep 1000" not in listing.stdout


def test_half_written_records_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"name": "a", "pid"')
    (tmp_path / "b.json").write_text('{"name": "b"}')
    assert processes.recorded(tmp_path) == []
