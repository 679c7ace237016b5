"""The check as its pod runs it, of a dataset that it fetches first."""

import hashlib
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wardrobe_contracts.base import BaseLocation
from wardrobe_contracts.base_files import base_files
from wardrobe_contracts.check import CheckConfig, CheckReport
from wardrobe_contracts.digests import fingerprint
from wardrobe_contracts.exits import ExitCode, Reason
from wardrobe_contracts.paths import POD_UID_VARIABLE
from wardrobe_contracts.remote import HUB_CREDENTIALS, S3_CREDENTIALS, RemoteFile
from wardrobe_contracts.result import RESULT_FILE, Failed, Result, Succeeded

from .real_engines import MODEL, python
from .waiting import HANG

DATA = MODEL.parent / "data"
CARDIOLOGY, PAEDIATRICS = DATA / "cardiology.jsonl", DATA / "paediatrics.jsonl"
SOURCE = "as somebody wrote it"
NOBODY: Mapping[str, str] = {}


@dataclass(frozen=True)
class Check:
    """What stays of a run's checks, one pod after the other."""

    folder: Path

    def start(self, file: RemoteFile, known: Mapping[str, str], uid: str = "a-pod") -> subprocess.Popen[bytes]:
        """A pod with these credentials, and with none that this machine may have."""
        self.folder.mkdir(exist_ok=True)
        order = CheckConfig(
            base=BaseLocation(folder=str(MODEL), fingerprint=fingerprint(MODEL, base_files(MODEL))),
            dataset_file=str(self.folder / "fetched"),
            fetch=file,
            source=SOURCE,
            sequence_length=512,
            validation_fraction=0.2,
            seed=7,
            output_folder=str(self.folder),
        )
        own = {name: text for name, text in os.environ.items() if name not in {*S3_CREDENTIALS, *HUB_CREDENTIALS}}
        variables = own | {
            "WARDROBE_CONFIG": order.model_dump_json(by_alias=True, exclude_none=True),
            "WARDROBE_TERMINATION_LOG": str(self.folder / "message"),
            POD_UID_VARIABLE: uid,
            "HF_HOME": str(self.folder / "home"),
        }
        with (self.folder / "log").open("ab") as log:
            command = [str(python("trainer")), "-m", "wardrobe_trainer", "check"]
            return subprocess.Popen(command, env=variables | dict(known), stdout=log, stderr=subprocess.STDOUT)

    def result(self, file: RemoteFile, known: Mapping[str, str] = NOBODY, uid: str = "a-pod") -> Result:
        """How a pod ended."""
        self.start(file, known, uid).wait(HANG)
        return self.recorded

    def fetches(self, uid: str) -> Path:
        """Where a pod puts it."""
        return self.folder / f".fetched.{uid}" / "fetched"

    @property
    def recorded(self) -> Result:
        """By the pod that ended last."""
        return Result.model_validate_json((self.folder / RESULT_FILE).read_text())

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def fetched(self) -> list[str]:
        """What is there of files that were fetched."""
        return sorted(path.name for pattern in ("fetched*", ".fetched*") for path in self.folder.glob(pattern))


def digest_of(result: Result) -> str:
    """Of what was checked."""
    assert isinstance(result.outcome, Succeeded), result.message
    assert isinstance(result.outcome.payload, CheckReport)
    return result.outcome.payload.dataset_digest


def failure(result: Result) -> tuple[ExitCode, Reason]:
    """Class and reason."""
    assert isinstance(result.outcome, Failed), result.message
    return result.exit_code, result.reason


def sha256(file: Path) -> str:
    """As the report has it."""
    return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
