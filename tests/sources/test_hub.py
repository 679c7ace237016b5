"""A dataset on a hub, fetched by the trainer's own program and the hub's own library, from a hub's imitation."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support import hub_server
from support.fetching import CARDIOLOGY, NOBODY, SOURCE, Check, digest_of, failure, sha256
from support.hub_server import FILE, REPOSITORY, REVISION, TOKEN, Hub
from support.ports import free_port

from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.remote import HubFile

pytestmark = pytest.mark.sources

KNOWN = {"HF_TOKEN": TOKEN}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server.serving(CARDIOLOGY) as made:
        yield made


def at(port: int, **other: str) -> HubFile:
    """The file, seen through a port."""
    found = {"repository": REPOSITORY, "revision": REVISION, "path": FILE, "endpoint": f"http://127.0.0.1:{port}"}
    return HubFile.model_validate(found | other)


def test_what_is_checked_is_the_file_and_no_copy_of_it_stays(hub: Hub, check: Check) -> None:
    assert digest_of(check.result(at(hub.port))) == sha256(CARDIOLOGY)
    assert check.fetched == []


def test_no_copy_of_a_refused_dataset_stays_either(check: Check, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"messages": [{"role": "user", "content": "Why?"}]}\n')
    with hub_server.serving(rows) as hub:
        assert failure(check.result(at(hub.port))) == (ExitCode.BAD_DATA, Reason.ROLES_INVALID)
    assert check.fetched == []


def test_a_connection_that_breaks_is_made_again(hub: Hub, check: Check) -> None:
    hub.cuts = [200_000]
    assert digest_of(check.result(at(hub.port))) == sha256(CARDIOLOGY)
    assert len(hub.asked) == 2


def test_a_private_dataset_is_given_to_who_has_a_token(hub: Hub, check: Check) -> None:
    hub.private = True
    refused = check.result(at(hub.port))
    assert failure(refused) == (ExitCode.BAD_DATA, Reason.DATASET_NOT_FOUND)
    assert "or who asks may not see it" in refused.message
    assert "spec.dataset.credentials" in refused.message
    other = Check(check.folder.with_name("other"))
    assert digest_of(other.result(at(hub.port), KNOWN)) == sha256(CARDIOLOGY)
    assert TOKEN not in other.log


WRONG: dict[str, tuple[dict[str, str], tuple[int, str] | None, Mapping[str, str], str]] = {
    "revision": ({"revision": "f" * 40}, None, NOBODY, "DatasetNotFound: no such revision"),
    "file": ({"path": "rows.jsonl"}, None, NOBODY, "DatasetNotFound: no such file"),
    "terms": ({}, (403, "GatedRepo"), KNOWN, "CredentialsRefused: agreed to its terms"),
    "token": ({}, (403, ""), KNOWN, "CredentialsRefused: it says 403"),
}


@pytest.mark.parametrize(("where", "refusal", "known", "says"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named(
    check: Check, where: dict[str, str], refusal: tuple[int, str] | None, known: Mapping[str, str], says: str
) -> None:
    with hub_server.serving(CARDIOLOGY) as hub:
        hub.refusal = refusal
        result, (reason, _, words) = check.result(at(hub.port, **where), known), says.partition(": ")
    code, found = failure(result)
    assert (code, found.value) == (ExitCode.BAD_DATA, reason)
    assert words in result.message
    assert result.problem
    assert result.problem.field == f"spec.dataset.{'source' if found is Reason.DATASET_NOT_FOUND else 'credentials'}"
    assert result.problem.next_step
    assert found is Reason.CREDENTIALS_REFUSED or result.problem.value == SOURCE


def test_a_hub_that_is_away_is_asked_again_later(hub: Hub, check: Check) -> None:
    result = check.result(at(free_port()))
    assert failure(result) == (ExitCode.COMMUNICATION, Reason.SOURCE_UNREACHABLE)
    hub.refusal = (503, "")
    assert failure(check.result(at(hub.port))) == (ExitCode.COMMUNICATION, Reason.SOURCE_UNREACHABLE)
