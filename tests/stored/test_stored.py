"""What a release leaves in the store or the cluster is read by every later one: committed samples of each.

`samples/<kind>/<name>.json`. Those named first-light were written by First light's own code. A sample is never changed:
a new field brings a new one. What two running parts tell each other has its samples with the contracts.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from support import resources
from support.samples import lacks

from wardrobe.api.adapterdeployment import AdapterDeploymentResource
from wardrobe.api.meta import Metadata
from wardrobe.api.reasons import Waiting
from wardrobe.deployment.children.revision import Revision, read_revision, revision_manifest
from wardrobe.stage.record import BEGUN, read_record, record_manifest
from wardrobe_contracts.base import Record
from wardrobe_contracts.exits import ExitCode
from wardrobe_contracts.manifest import Manifest
from wardrobe_contracts.probes import Probes
from wardrobe_contracts.release import ModelManifest
from wardrobe_contracts.result import Result

SAMPLES = Path(__file__).parent / "samples"
FILES: dict[str, type[Record]] = {"adapter-manifest": Manifest, "probes": Probes, "model-manifest": ModelManifest}
"""Those in the store."""
OF_FILES = [path for kind in FILES for path in sorted((SAMPLES / kind).iterdir())]


def sample(kind: str, name: str) -> Any:
    return json.loads((SAMPLES / kind / f"{name}.json").read_text())


def of(path: Path) -> type[Record]:
    return FILES[path.parent.name]


@pytest.mark.parametrize("path", OF_FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_file_of_the_store_is_read_with_all_that_it_says(path: Path) -> None:
    found = of(path).model_validate_json(path.read_text())
    assert lacks(json.loads(found.model_dump_json(by_alias=True)), json.loads(path.read_text())) == []


@pytest.mark.parametrize("path", OF_FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_a_later_release_adds_to_one_is_skipped(path: Path) -> None:
    later = json.loads(path.read_text()) | {"later": {"a": [1]}}
    assert of(path).model_validate_json(json.dumps(later)) == of(path).model_validate_json(path.read_text())


def test_the_history_of_a_deployment() -> None:
    """Where a rollback leads: who cannot read it any more has lost every previous adapter."""
    stored = sample("revision", "two-departments")
    routed = {"cardiology": ["cardiology-v2", "cardiology-v1"], "neurology": ["neurology-v1"]}
    assert read_revision(stored) == Revision(3, routed)
    deployment = AdapterDeploymentResource.model_validate(
        resources.stored(resources.deployment(cardiology="cardiology-v2"))
    )
    assert revision_manifest(deployment, Revision(3, routed))["data"] == stored["data"]


def test_the_attempts_of_a_run() -> None:
    """Who cannot read them trains again what is done, and makes again what somebody deleted."""
    stored = sample("attempts", "stopped-and-published")
    record = read_record(stored)
    assert record.marks == {
        ("check", 1): ExitCode.SUCCEEDED.name,
        ("train", 1): Waiting.SUSPENDED,
        ("train", 2): ExitCode.SUCCEEDED.name,
        ("assess", 1): BEGUN,
    }
    assert {attempt: Result.model_validate_json(text).exit_code for attempt, text in record.results.items()} == {
        ("check", 1): ExitCode.SUCCEEDED,
        ("train", 1): ExitCode.PREEMPTED,
    }
    assert (record.made, record.overdue) == ("cardiology-v3", "2026-11-30T08:00:00Z")
    owner = Metadata.model_validate({"name": "heart", "namespace": "hospital", "uid": "1"})
    written = record_manifest("heart", "FineTuneJob", owner, record)
    assert written["data"] == stored["data"]
    assert written["metadata"]["annotations"] == stored["metadata"]["annotations"]
