"""A store that cannot be published to is found out by the check, on real mounts that refuse one thing each."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.stores import Doing, Fault, store

from wardrobe_contracts.check import CheckConfig
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.inspection import Inspection
from wardrobe_contracts.result import RESULT_FILE, Result
from wardrobe_trainer.problems import TaskError
from wardrobe_trainer.store import require_suitable
from wardrobe_trainer.task import unforeseen

AT_ONCE = (0.0, 0.0)


def refusal(folder: Path) -> str:
    """What is said of a store, and that nothing of the try stays."""
    with pytest.raises(TaskError) as caught:
        require_suitable(folder, AT_ONCE)
    assert (caught.value.code, caught.value.reason) == (ExitCode.BAD_CONFIG, Reason.STORE_UNSUITABLE)
    assert list(folder.iterdir()) == []
    return str(caught.value)


def test_one_that_does_all_is_taken_and_nothing_stays_in_it(tmp_path: Path) -> None:
    with store(tmp_path / "store") as folder:
        require_suitable(folder / "runs" / "check", AT_ONCE)
        assert list((folder / "runs" / "check").iterdir()) == []
    require_suitable(tmp_path, AT_ONCE)


REFUSED: list[tuple[Doing, int, str]] = [
    ("rename folder", errno.EXDEV, "renaming the folder … to … failed: Invalid cross-device link (EXDEV)"),
    ("rename folder", errno.ENOTSUP, "renaming the folder … to … failed: Operation not supported (ENOTSUP)"),
    ("rename folder", errno.EPERM, "renaming the folder … to … failed: Operation not permitted (EPERM)"),
    ("rename folder", errno.EIO, "renaming the folder … to … failed: Input/output error (EIO)"),
    ("rename file", errno.ENOTSUP, "replacing a file at … failed: Operation not supported (ENOTSUP)"),
    ("sync file", errno.EIO, "syncing the file … failed: Input/output error (EIO)"),
    ("sync file", errno.EINVAL, "syncing the file … failed: Invalid argument (EINVAL)"),
    ("sync folder", errno.ENOTSUP, "syncing the folder … failed: Operation not supported (ENOTSUP)"),
    ("sync folder", errno.EINVAL, "syncing the folder … failed: Invalid argument (EINVAL)"),
    ("make folder", errno.EACCES, "making the folder … failed: Permission denied (EACCES)"),
]


@pytest.mark.parametrize(
    ("doing", "error", "says"), REFUSED, ids=[f"{what} {errno.errorcode[e]}" for what, e, _ in REFUSED]
)
def test_one_that_refuses_something_is_named_with_what_it_refused(
    tmp_path: Path, doing: Doing, error: int, says: str
) -> None:
    with store(tmp_path / "store", {doing: error}) as folder:
        said = refusal(folder)
        assert said.startswith(f"the claim wardrobe-store is 'fuse.tests at {folder}': ")
        assert all(part in said for part in says.split("…"))
        assert f"{folder}/.try." in said, "where it was tried"
        assert f"for user {os.getuid()}, such as NFS" in said


FAULTS: list[tuple[Fault, str]] = [
    ("replaces folders", "replaced a folder that was there"),  # the second of two pods would take away the first's
    ("keeps old names", "left the old name, or other content"),
]


@pytest.mark.parametrize(("fault", "says"), FAULTS)
def test_one_whose_rename_is_no_rename_is_named_with_what_it_did(tmp_path: Path, fault: Fault, says: str) -> None:
    with store(tmp_path / "store", fault=fault) as folder:
        assert says in refusal(folder)


@pytest.mark.parametrize(("error", "suits"), [(errno.EIO, True), (errno.EXDEV, False)])
def test_an_error_of_a_disk_may_pass_and_what_a_store_cannot_do_does_not(
    tmp_path: Path, error: int, *, suits: bool
) -> None:
    with store(tmp_path / "store", {"rename folder": error}, times=1) as folder:
        if suits:
            require_suitable(folder, AT_ONCE)
        else:
            refusal(folder)


def test_one_that_is_full_is_not_called_unsuitable(tmp_path: Path) -> None:
    """It may have room later, so that the check is made again."""
    with store(tmp_path / "store", size=8) as folder:
        with pytest.raises(OSError, match="No space left") as caught:
            require_suitable(folder, AT_ONCE)
        assert unforeseen("check", caught.value).reason is Reason.STORE_FAILED
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("doing", ["rename folder", "rename file"])
def test_the_check_says_so_before_it_reads_a_row(
    base_folder: Path, inspection: Inspection, tmp_path: Path, doing: Doing
) -> None:
    """As its pod runs it, also where the store cannot keep the record of it."""
    with store(tmp_path / "store", {doing: errno.EXDEV}) as folder:
        order = CheckConfig.model_validate(
            {
                "base": {"folder": str(base_folder), "fingerprint": inspection.fingerprint},
                "dataset_file": str(tmp_path / "absent.jsonl"),
                "source": "pvc://data/absent.jsonl",
                "sequence_length": 512,
                "validation_fraction": 0.2,
                "seed": 7,
                "output_folder": str(folder / "check"),
            }
        )
        variables = {
            "WARDROBE_CONFIG": order.model_dump_json(by_alias=True),
            "WARDROBE_TERMINATION_LOG": str(tmp_path / "message"),
        }
        command = [sys.executable, "-m", "wardrobe_trainer", "check"]
        ended = subprocess.run(command, env={**os.environ, **variables}, check=False)
        left = {path.name for path in (folder / "check").iterdir()}
    said = Result.model_validate_json((tmp_path / "message").read_text())
    assert ended.returncode == ExitCode.BAD_CONFIG
    assert said.reason is Reason.STORE_UNSUITABLE
    assert said.problem is not None
    assert "failed: Invalid cross-device link (EXDEV)" in said.problem.rule
    assert left == ({RESULT_FILE} if doing == "rename folder" else set())
