"""A dataset in S3, fetched by the trainer's own program from a real server: whole, once, and as it was."""

import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support import s3_server
from support.fetching import CARDIOLOGY, NOBODY, PAEDIATRICS, SOURCE, Check, digest_of, failure, sha256
from support.ports import free_port
from support.s3_server import ACCESS, BUCKET, KEY, KNOWN, SECRET, Bucket, Line
from support.waiting import HANG, eventually

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.remote import S3File

pytestmark = pytest.mark.sources


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with s3_server.serving(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture
def line(bucket: Bucket) -> Iterator[Line]:
    """The way to the bucket, which has the cardiologists' rows."""
    bucket.put(CARDIOLOGY)
    with s3_server.line(bucket.port) as made:
        yield made


def at(port: int, **other: str) -> S3File:
    """The object, seen through a port."""
    return S3File.model_validate({"bucket": BUCKET, "key": KEY, "endpoint": f"http://127.0.0.1:{port}"} | other)


def test_what_is_checked_is_the_object_and_no_copy_of_it_stays(line: Line, check: Check) -> None:
    assert digest_of(check.result(at(line.port), KNOWN)) == sha256(CARDIOLOGY)
    assert {path.name for path in check.folder.iterdir()} >= {"train.jsonl", "heldout.jsonl"}
    assert check.fetched == []


def test_a_connection_that_breaks_is_taken_up_where_it_was(line: Line, check: Check) -> None:
    size = CARDIOLOGY.stat().st_size
    line.cut = size // 3
    assert digest_of(check.result(at(line.port), KNOWN)) == sha256(CARDIOLOGY)
    assert "taken up there" in check.log
    assert line.passed < 1.2 * size


def halfway(line: Line, check: Check, uid: str) -> subprocess.Popen[bytes]:
    """A pod that has half of the object, and waits for the rest."""
    line.cut, line.hold = CARDIOLOGY.stat().st_size // 2, True
    pod, part = check.start(at(line.port), KNOWN, uid), check.fetches(uid).with_suffix(".part")
    assert line.held.wait(HANG)
    eventually(lambda: part.exists() and part.stat().st_size > 0, what="a part of it")
    line.cut = None
    return pod


def test_another_pod_goes_on_where_one_was_that_was_told_to_stop(line: Line, check: Check) -> None:
    first = halfway(line, check, "first")
    first.terminate()
    assert first.wait(HANG) == ExitCode.PREEMPTED
    assert digest_of(check.result(at(line.port), KNOWN, "second")) == sha256(CARDIOLOGY)
    assert line.passed < 1.2 * CARDIOLOGY.stat().st_size
    assert check.fetched == []


def test_another_pod_goes_on_where_one_was_whose_server_went_away(line: Line, check: Check) -> None:
    size = CARDIOLOGY.stat().st_size
    line.cut, line.then = size // 2, 0
    assert failure(check.result(at(line.port), KNOWN, "first")) == (ExitCode.COMMUNICATION, Reason.SOURCE_UNREACHABLE)
    line.cut = line.then = None
    assert digest_of(check.result(at(line.port), KNOWN, "second")) == sha256(CARDIOLOGY)
    assert line.passed < 1.2 * size
    assert check.fetched == []


def test_a_pod_that_is_killed_costs_the_next_another_download(line: Line, check: Check) -> None:
    """Whether it still lives nobody can tell, and so nobody touches what it has written."""
    first = halfway(line, check, "first")
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert digest_of(check.result(at(line.port), KNOWN, "second")) == sha256(CARDIOLOGY)
    assert check.fetched == []


@pytest.mark.parametrize("told_to_stop", [True, False])
def test_an_old_pod_ends_as_the_new_one_did(line: Line, check: Check, *, told_to_stop: bool) -> None:
    """As where a node is not reached: its pod lives, and the Job has another, which ends first. What it had is gone."""
    old = halfway(line, check, "old")
    new = check.result(at(line.port), KNOWN, "new")
    assert digest_of(new) == sha256(CARDIOLOGY)
    if told_to_stop:
        old.terminate()
    else:
        line.go_on()
    assert old.wait(HANG) == ExitCode.SUCCEEDED
    assert check.recorded == new
    assert check.fetched == []


def test_an_object_that_is_replaced_meanwhile_is_never_mixed(line: Line, check: Check, bucket: Bucket) -> None:
    line.cut = CARDIOLOGY.stat().st_size // 2

    def replace() -> None:
        bucket.put(PAEDIATRICS)
        line.cut = None

    line.when_cut = replace
    assert digest_of(check.result(at(line.port), KNOWN)) == sha256(PAEDIATRICS)
    assert "fetched anew" in check.log


def test_an_object_that_is_always_another_one_is_said(line: Line, check: Check, bucket: Bucket) -> None:
    line.cut = CARDIOLOGY.stat().st_size // 4
    others = [PAEDIATRICS, CARDIOLOGY, PAEDIATRICS, CARDIOLOGY]
    line.when_cut = lambda: bucket.put(others.pop())
    result = check.result(at(line.port), KNOWN)
    assert failure(result) == (ExitCode.BAD_DATA, Reason.SOURCE_CHANGED)
    assert f"spec.dataset.source is '{SOURCE}'" in result.message


STRANGER, FORGETFUL = {**KNOWN, "AWS_ACCESS_KEY_ID": "nobody"}, {**KNOWN, "AWS_SECRET_ACCESS_KEY": "x"}
WRONG: dict[str, tuple[dict[str, str], Mapping[str, str], str]] = {
    "bucket": ({"bucket": "nowhere"}, KNOWN, "DatasetNotFound: no such bucket"),
    "key": ({"key": "cardiology.jsonl"}, KNOWN, "DatasetNotFound: no such key"),
    "user": ({}, STRANGER, "CredentialsRefused: XAdminUserNotFound"),
    "password": ({}, FORGETFUL, "CredentialsRefused: SignatureDoesNotMatch"),
    "no name": ({}, NOBODY, "CredentialsRefused: spec.dataset.credentials is '(not set)'"),
}


@pytest.mark.parametrize(("where", "known", "says"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named(
    line: Line, check: Check, where: dict[str, str], known: Mapping[str, str], says: str
) -> None:
    result, (reason, _, words) = check.result(at(line.port, **where), known), says.partition(": ")
    code, found = failure(result)
    assert (code, found.value) == (ExitCode.BAD_DATA, reason)
    assert words in result.message
    assert result.problem
    assert result.problem.field == f"spec.dataset.{'source' if found is Reason.DATASET_NOT_FOUND else 'credentials'}"
    assert result.problem.next_step
    assert SECRET not in check.log + result.message


def test_what_is_public_needs_no_credentials(bucket: Bucket, check: Check) -> None:
    bucket.put(CARDIOLOGY, "public", "--public")
    assert digest_of(check.result(at(bucket.port, bucket="public"))) == sha256(CARDIOLOGY)


def test_credentials_of_the_node_are_never_used(line: Line, check: Check, tmp_path: Path) -> None:
    """As a file of the image's or a role of the node's would bring them; who made the run has none."""
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id={ACCESS}\naws_secret_access_key={SECRET}\n")
    result = check.result(at(line.port), {"AWS_SHARED_CREDENTIALS_FILE": str(file)})
    assert failure(result) == (ExitCode.BAD_DATA, Reason.CREDENTIALS_REFUSED)


def test_a_server_that_is_away_is_asked_again_later(check: Check) -> None:
    result = check.result(at(free_port()), KNOWN)
    assert failure(result) == (ExitCode.COMMUNICATION, Reason.SOURCE_UNREACHABLE)
    assert result.exit_code.infrastructure
